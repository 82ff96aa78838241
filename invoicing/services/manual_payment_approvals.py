"""Payments by hand, alone up to the limit, with a second person above it. Source: ADR 0017 and 0053."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import Account
from accounts.services.account_locks import lock_account
from accounts.services.approval_limits import needs_second_person
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound
from billing_site.kernel.money import Money, format_decimal
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import ApprovalKind, Request, register_kind, request_approval
from invoicing.models import ManualPayment
from invoicing.services.manual_payments import (
    NewManualPayment,
    lock_payment,
    require_reversible,
    reverse_payment,
    write_payment,
)

RECORD_KIND: Final = "invoicing.manual_payment"
REVERSE_KIND: Final = "invoicing.manual_payment_reversal"
PERMISSION: Final = "invoicing.approve_manual_payment"


def register_manual_payment_approvals() -> None:
    """Tell the platform what approving does. Called when the app starts."""
    register_kind(ApprovalKind(RECORD_KIND, "Record a payment above the limit", PERMISSION, _record_approved))
    register_kind(ApprovalKind(REVERSE_KIND, "Reverse a payment above the limit", PERMISSION, _reverse_approved))


@transaction.atomic
def record_or_request(
    *, account: Account, new: NewManualPayment, at: datetime, actor: Actor, reason: str
) -> ManualPayment | Approval:
    """
    Record a payment, or above the limit ask another person to; return what came of it.

    What cannot be recorded is refused before anybody is asked; it is looked at again when it is approved.
    :raises DomainError: as `write_payment`. :raises ApprovalAlreadyPending: while a request for the account waits.
    """
    if not needs_second_person(amount=new.amount, actor=actor):
        return write_payment(account=account, new=new, at=at, actor=actor, reason=reason)
    _try(account, new, at=at, actor=actor, reason=reason)
    lock_account(account.pk)
    request = Request(
        RECORD_KIND,
        account,
        f"Record a payment of {_say(new.amount, new.currency)} by {account}",
        {"account": account.public_id, "payment": new.as_dict()},
        effect=Money(new.amount, new.currency),
        account_id=account.pk,
    )
    return request_approval(request, at=at, actor=actor, reason=reason)


@transaction.atomic
def reverse_or_request(
    *, payment_id: uuid.UUID, at: datetime, actor: Actor, reason: str, allow_negative: bool = False
) -> ManualPayment | Approval:
    """
    Reverse a payment, or above the limit ask another person to; return what came of it.

    :raises DomainError: as `reverse_payment`. :raises ApprovalAlreadyPending: while a request for the payment waits.
    """
    found = ManualPayment.objects.filter(pk=payment_id).first()
    if found is None:
        raise NotFound("manual_payment")
    if not needs_second_person(amount=found.amount, actor=actor):
        return reverse_payment(payment_id=payment_id, at=at, actor=actor, reason=reason, allow_negative=allow_negative)
    lock_account(found.account_id)
    payment = lock_payment(payment_id)
    require_reversible(payment, allow_negative=allow_negative)
    request = Request(
        REVERSE_KIND,
        payment,
        f"Reverse {payment} over {_say(payment.amount, payment.currency)} of {payment.account}",
        {"payment": payment.public_id, "allow_negative": allow_negative},
        effect=Money(payment.amount, payment.currency),
        account_id=payment.account_id,
    )
    return request_approval(request, at=at, actor=actor, reason=reason)


def find_paying_account(approval: Approval) -> Account | None:
    """Return the account whose payment is to be recorded, or None."""
    key = Account.parse_id(approval.subject_id)
    return None if key is None else Account.objects.select_related("test_clock").filter(pk=key).first()


def find_reversed_payment(approval: Approval) -> ManualPayment | None:
    """Return the payment that is to be reversed, or None."""
    key = ManualPayment.parse_id(approval.subject_id)
    return None if key is None else ManualPayment.objects.select_related("account").filter(pk=key).first()


def _try(account: Account, new: NewManualPayment, *, at: datetime, actor: Actor, reason: str) -> None:
    """Do it and take it back, so that what would be refused is refused now."""
    with transaction.atomic():
        write_payment(account=account, new=new, at=at, actor=actor, reason=reason)
        transaction.set_rollback(True)


def _say(amount: int, currency: str) -> str:
    return f"{format_decimal(amount, currency)} {currency.upper()}"


def _record_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    account = find_paying_account(approval)
    if account is None:
        raise NotFound("account")
    new = NewManualPayment.from_dict(approval.payload["payment"])
    payment = write_payment(account=account, new=new, at=at, actor=actor, reason=approval.reason, approval=approval)
    return {"manual_payment_id": payment.public_id}


def _reverse_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    payment = find_reversed_payment(approval)
    if payment is None:
        raise NotFound("manual_payment")
    allowed = bool(approval.payload["allow_negative"])
    reverse_payment(payment_id=payment.pk, at=at, actor=actor, reason=approval.reason, allow_negative=allowed)
    return {"manual_payment_id": payment.public_id}
