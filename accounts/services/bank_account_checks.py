"""
Bank accounts that two people confirmed: only to a verified method is money sent.

A card is verified by a hold; nothing like it can be done with a bank account, so somebody looks at a proof (a bank's
letter, a test payment) and somebody else agrees. Source: contract chapter Payouts; ADR 0017 and 0053.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import PaymentMethod, PaymentMethodType
from accounts.queries.payment_methods import describe_payment_method
from accounts.services.account_locks import lock_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.platform.models import Approval
from billing_site.platform.services import events
from billing_site.platform.services.approvals import ApprovalKind, Request, register_kind, request_approval

VERIFICATION_KIND: Final = "accounts.bank_account_verification"
VERIFICATION_PERMISSION: Final = "accounts.approve_bank_account"


def register_bank_account_approvals() -> None:
    """Tell the platform what confirming a bank account does. Called when the app starts."""
    register_kind(ApprovalKind(VERIFICATION_KIND, "Confirm a bank account", VERIFICATION_PERMISSION, _confirm_approved))


def can_be_confirmed(method: PaymentMethod) -> bool:
    """Tell whether it is an attached bank account that nobody confirmed yet."""
    return method.type == PaymentMethodType.BANK_ACCOUNT and method.is_attached and method.verified_at is None


@transaction.atomic
def request_confirmation(*, method: PaymentMethod, at: datetime, actor: Actor, reason: str) -> Approval:
    """
    Ask another person to confirm that a bank account is its account's; `reason` says what was looked at.

    :raises InvalidState: unless it is an attached bank account that is not confirmed. :raises ValidationFailed: without
        a reason. :raises ApprovalAlreadyPending: while it was asked for already.
    """
    locked = _lock(method)
    request = Request(
        VERIFICATION_KIND,
        locked,
        f"Confirm the bank account {locked} of {locked.account}",
        {"payment_method": locked.public_id, "provider_ref": locked.provider_ref},
        account_id=locked.account_id,
    )
    return request_approval(request, at=at, actor=actor, reason=reason)


def find_confirmed_method(approval: Approval) -> PaymentMethod | None:
    """Return the method a request is about, or None."""
    key = PaymentMethod.parse_id(approval.subject_id)
    rows = PaymentMethod.objects.select_related("account__test_clock")
    return None if key is None else rows.filter(pk=key).first()


def _lock(method: PaymentMethod) -> PaymentMethod:
    lock_account(method.account_id)
    rows = PaymentMethod.objects.select_for_update(of=("self",), no_key=True).select_related("account__test_clock")
    locked = rows.get(pk=method.pk)
    if not can_be_confirmed(locked):
        raise InvalidState("Only an attached bank account that is not confirmed can be.", current_status=locked.status)
    return locked


def _confirm_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    method = find_confirmed_method(approval)
    if method is None:
        raise NotFound("payment_method")
    locked = _lock(method)
    at = locked.account.clock_time or at
    before = describe_payment_method(locked)
    locked.verified_at = at
    locked.save(update_fields=["verified_at", "updated_at"])
    events.emit(
        "payment_method.verified",
        subject=locked,
        account_id=locked.account_id,
        at=at,
        actor=actor,
        data=describe_payment_method(locked),
        previous={"verified_at": before["verified_at"]},
        reason=approval.reason,
    )
    return {"payment_method_id": locked.public_id}
