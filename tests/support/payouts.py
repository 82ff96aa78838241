"""Payees with money and a verified destination, and the states of payouts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from accounts.models import Account, PaymentMethod
from accounts.services.bank_account_checks import request_confirmation
from accounts.services.payment_methods import NewPaymentMethod
from accounts.services.settlements import request_settlement_change
from billing_site.kernel.actors import Actor
from billing_site.kernel.money import Money
from billing_site.platform.services.approvals import approve
from invoicing.gateways.orders import PayoutState
from invoicing.models import Payout
from invoicing.models.payout import PAYOUT_TRANSITIONS
from invoicing.services.payment_methods import attach_payment_method
from invoicing.services.payout_sending import cancel_payout, send_payout
from invoicing.services.payout_settling import record_payout
from invoicing.services.payouts import PayoutRequest, create_payout
from tests.support import world
from tests.support.states import StateTable

AT: Final = world.NOVEMBER
ADA: Final = Actor("staff", "ada")
BOB: Final = Actor("staff", "bob")
_BY: Final[dict[str, Any]] = {"at": AT, "actor": ADA}


def attach_bank_account(account: Account, token: str = "btok_us", *, confirmed: bool = True) -> PaymentMethod:
    """Attach a bank account of the local provider; two people confirm that it is the payee's."""
    new = NewPaymentMethod(type="bank_account", provider_type="local", provider_ref=token)
    method = attach_payment_method(account=account, new=new, **_BY).method
    if confirmed:
        asked = request_confirmation(method=method, reason="bank's letter seen", **_BY)
        approve(approval_id=asked.pk, at=AT, actor=BOB)
        method.refresh_from_db()
    return method


def owe(account: Account, amount: int, *, currency: str = "usd", source: str = "received") -> None:
    """Put money on a settlement balance, as two people do."""
    asked = request_settlement_change(
        account=account, amount=amount, currency=currency, source=source, reason="sales of October", **_BY
    )
    approve(approval_id=asked.pk, at=AT, actor=BOB)


def make_payee(handle: str = "acme", *, owed: int = 5000, token: str = "btok_us") -> tuple[Account, PaymentMethod]:
    """Return an account to which money is owed, and its confirmed bank account."""
    account = world.open_account(handle)
    method = attach_bank_account(account, token)
    if owed:
        owe(account, owed)
    return account, method


def ask_payout(account: Account | None, method: PaymentMethod, amount: int = 2000, **further: Any) -> Payout:
    """Ask for a payout; nothing is sent yet."""
    request = PayoutRequest(amount, further.pop("currency", "usd"), method.type, method.public_id, **further)
    return create_payout(account=account, request=request, **_BY)


def tell(payout: Payout, status: str, **further: Any) -> Payout:
    """Let the provider say where a payout stands."""
    money = Money(payout.amount, payout.currency)
    state = PayoutState(ref=payout.provider_ref or f"po_{payout.pk.hex}", status=status, amount=money, **further)
    return record_payout(state=state, payout_id=payout.pk, at=AT + timedelta(hours=1), provider_type="local")


def _arrange(state: str, _to: str) -> Payout:
    payout = ask_payout(*make_payee())
    if state == "canceled":
        cancel_payout(payout_id=payout.pk, **_BY)
    elif state != "pending":
        send_payout(payout_id=payout.pk, **_BY)
        if state != "in_transit":
            tell(Payout.objects.get(pk=payout.pk), state)
    return payout


def _tell(row: Payout, status: str) -> Payout:
    return tell(Payout.objects.get(pk=row.pk), status)


def _hold(before: str, after: str) -> str:
    if before == after:
        return ""
    if after not in PAYOUT_TRANSITIONS[before]:
        return "payouts_known_ways"
    if before == "paid":
        return ""
    return "" if after == "in_transit" else "payouts_ended_has_time"


_ENDS: Final = ("paid", "failed", "canceled")
PAYOUTS: Final = StateTable(
    model=Payout,
    transitions=PAYOUT_TRANSITIONS,
    arrange=_arrange,
    moves={
        "in_transit": lambda row: _tell(row, "in_transit"),
        "paid": lambda row: _tell(row, "paid"),
        "failed": lambda row: _tell(row, "failed"),
        "canceled": lambda row: cancel_payout(payout_id=row.pk, **_BY),
    },
    # What the provider tells late is older news.
    quiet=frozenset(
        {
            *((before, "in_transit") for before in ("in_transit", *_ENDS)),
            *((before, "paid") for before in _ENDS),
            *((before, "failed") for before in ("failed", "canceled")),
        }
    ),
    through={("pending", "paid"): "in_transit"},
    held=_hold,
    allows=Payout.can_become,
)
