"""
Credit above the limit, which one person asks for and another gives.

Source: ADR 0017 and 0019.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import Account, CreditGrant
from accounts.services.account_locks import lock_open_account
from accounts.services.approval_limits import needs_second_person
from accounts.services.credit_grants import GRANT_KIND, check_terms, grant_credit
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound, ValidationFailed
from billing_site.kernel.money import Money, format_decimal
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import ApprovalKind, Request, register_kind, request_approval

PERMISSION: Final = "accounts.approve_credit_grant"


def register_credit_approvals() -> None:
    """Tell the platform how an approved grant is given. Called when the app starts."""
    register_kind(
        ApprovalKind(
            name=GRANT_KIND, title="Grant credit above the limit", permission=PERMISSION, execute=_grant_approved
        )
    )


@transaction.atomic
def grant_or_request(
    *,
    account: Account,
    amount: int,
    currency: str,
    at: datetime,
    actor: Actor,
    reason: str,
    name: str = "",
    expires_at: datetime | None = None,
    priority: int = 0,
    eligibility: Sequence[str] = (),
    tags: str = "",
) -> CreditGrant | Approval:
    """
    Give credit, or above the limit ask another person to; return the grant or the request.

    What cannot be given is refused before anybody is asked.
    :raises DomainError: as `grant_credit`. :raises ApprovalAlreadyPending: while a request for the account is open.
    """
    terms: dict[str, Any] = {
        "amount": amount,
        "currency": currency,
        "name": name,
        "expires_at": expires_at,
        "priority": priority,
        "eligibility": list(eligibility),
        "tags": tags,
    }
    if not needs_second_person(amount=amount, actor=actor):
        return grant_credit(account=account, **terms, at=at, actor=actor, reason=reason)
    checked, _ = check_terms(account=account, amount=amount, currency=currency, priority=priority, meters=eligibility)
    terms["currency"] = checked
    if expires_at is not None and expires_at <= at:
        raise ValidationFailed.of("/expires_at", "in_past", "The end must lie in the future.")
    locked = lock_open_account(account.pk)
    title = f"Grant {format_decimal(amount, checked)} {checked.upper()} of credit to {locked}"
    payload = {"account": account.public_id, **terms}
    request = Request(GRANT_KIND, account, title, payload, effect=Money(amount, checked), account_id=account.pk)
    return request_approval(request, at=at, actor=actor, reason=reason)


def find_account(approval: Approval) -> Account | None:
    """Return the account a request is about, or None."""
    key = Account.parse_id(approval.subject_id)
    return None if key is None else Account.objects.select_related("test_clock").filter(pk=key).first()


def _grant_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    account = find_account(approval)
    if account is None:
        raise NotFound("account")
    terms = {name: value for name, value in approval.payload.items() if name != "account"}
    if terms["expires_at"] is not None:
        terms["expires_at"] = datetime.fromisoformat(terms["expires_at"])
    grant = grant_credit(
        account=account,
        **terms,
        metadata={"approval_id": approval.public_id, "requested_by": approval.requested_by},
        once_key=f"approval:{approval.public_id}",
        at=account.clock_time or at,
        actor=actor,
        reason=approval.reason,
        approval=approval,
    )
    return {"credit_grant_id": grant.public_id}
