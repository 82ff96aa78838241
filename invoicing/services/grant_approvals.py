"""Plans given away above the limit, which one person asks for and another gives. Source: ADR 0017."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import Account
from accounts.services.account_locks import lock_open_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound
from billing_site.kernel.money import Money
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import ApprovalKind, Request, register_kind, request_approval
from invoicing.services.subscription_grants import (
    DEFAULT_MONTHS,
    GRANT_KIND,
    GrantedPlan,
    check_terms,
    compute_worth,
    grant_subscription,
    needs_approval,
)

PERMISSION: Final = "accounts.approve_subscription_grant"


def register_grant_approvals() -> None:
    """Tell the platform how an approved plan is given. Called when the app starts."""
    register_kind(ApprovalKind(GRANT_KIND, "Give a plan away", PERMISSION, _grant_approved))


@transaction.atomic
def grant_or_request(
    *, account: Account, plan_key: str, at: datetime, actor: Actor, reason: str, months: int = DEFAULT_MONTHS
) -> GrantedPlan | Approval:
    """
    Give a plan away, or above the limit ask another person to; return what was given or the request.

    :raises DomainError: as `grant_subscription`. :raises ApprovalAlreadyPending: while a request for the account waits.
    """
    version = check_terms(account=account, plan_key=plan_key, months=months)
    worth = compute_worth(account=account, version=version, months=months)
    if not needs_approval(worth=worth, actor=actor):
        return grant_subscription(account=account, plan_key=plan_key, months=months, at=at, actor=actor, reason=reason)
    locked = lock_open_account(account.pk)
    request = Request(
        GRANT_KIND,
        locked,
        f"Give {version.name} to {locked} for {months} months",
        {"account": locked.public_id, "plan_id": version.plan.key, "months": months},
        effect=None if worth is None else Money(worth, locked.currency),
        account_id=locked.pk,
    )
    return request_approval(request, at=at, actor=actor, reason=reason)


def find_account(approval: Approval) -> Account | None:
    """Return the account a request is about, or None."""
    key = Account.parse_id(approval.subject_id)
    return None if key is None else Account.objects.select_related("test_clock").filter(pk=key).first()


def _grant_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    account = find_account(approval)
    if account is None:
        raise NotFound("account")
    granted = grant_subscription(
        account=account,
        plan_key=approval.payload["plan_id"],
        months=approval.payload["months"],
        at=account.clock_time or at,
        actor=actor,
        reason=approval.reason,
        granted_by=str(approval.requested_by),
        approval=approval,
    )
    return {"subscription_id": granted.subscription.public_id}
