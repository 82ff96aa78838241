"""Payments recorded by hand, and their states."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from accounts.models import Account
from invoicing.models import Invoice, ManualPayment
from invoicing.models.manual_payment import MANUAL_PAYMENT_TRANSITIONS
from invoicing.services.manual_payments import NewManualPayment, reverse_payment, write_payment
from tests.support import world
from tests.support.states import StateTable

AT: Final = world.NOVEMBER + timedelta(days=14)
_BY: Final[dict[str, Any]] = {"at": AT, "actor": world.TESTER}


def describe(amount: int, *parts: tuple[Invoice, int], **further: Any) -> NewManualPayment:
    """Return a cheque over `amount` that pays these parts."""
    values: dict[str, Any] = {"method": "cheque", "currency": "usd", "received_on": AT.date()} | further
    return NewManualPayment(amount=amount, parts=[(each.public_id, share) for each, share in parts], **values)


def record(account: Account, amount: int, *parts: tuple[Invoice, int], **further: Any) -> ManualPayment:
    """Record a cheque."""
    return write_payment(account=account, new=describe(amount, *parts, **further), reason="came by post", **_BY)


def bounce(payment: ManualPayment, **options: Any) -> ManualPayment:
    """Take a payment back."""
    return reverse_payment(payment_id=payment.pk, reason="bounced", **_BY, **options)


def _arrange(state: str, _to: str) -> ManualPayment:
    payment = record(world.open_account(), 700)
    if state == "reversed":
        bounce(payment)
    return payment


def _hold(before: str, after: str) -> str:
    if before == after:
        return ""
    return "manual_payments_known_ways" if before == "reversed" else "manual_payments_reversed_is_booked"


MANUAL_PAYMENTS: Final = StateTable(
    model=ManualPayment,
    transitions=MANUAL_PAYMENT_TRANSITIONS,
    arrange=_arrange,
    moves={"reversed": bounce},
    held=_hold,
    allows=ManualPayment.can_become,
)
