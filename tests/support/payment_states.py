"""The states of payments: whatever the provider says, only what may follow is taken over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from billing_site.kernel.money import Money
from invoicing.gateways.orders import PaymentState
from invoicing.models import PaymentIntent
from invoicing.models.payment_intent import INTENT_TRANSITIONS
from invoicing.services.charging import record_payment
from invoicing.services.payment_intents import NewIntent, create_intent
from tests.support import world
from tests.support.states import StateTable

_BY: Final[dict[str, Any]] = {"at": world.NOVEMBER + timedelta(days=14), "actor": world.TESTER}


def _tell(status: str) -> Any:
    def tell(row: PaymentIntent) -> object:
        state = PaymentState(
            ref=row.provider_ref or "pay_states",
            status=status,
            amount=Money(500, "usd"),
            amount_capturable=500 if status == "requires_capture" else 0,
            amount_received=500 if status == "succeeded" else 0,
            decline_reason="insufficient_funds" if status == "requires_payment_method" else "",
        )
        return record_payment(intent_id=row.pk, state=state, **_BY)

    return tell


def _arrange(state: str, _to: str) -> PaymentIntent:
    account = world.open_account()
    intent = create_intent(account=account, new=NewIntent(amount=500, currency="usd"), **_BY)
    if state != "requires_payment_method":
        _tell(state)(intent)
    intent.refresh_from_db()
    return intent


def _hold(before: str, after: str) -> str:
    if before == after:
        return ""
    if after not in INTENT_TRANSITIONS[before]:
        return "payment_intents_ends_once"
    if after == "succeeded":
        return "payment_intents_succeeded_has_money"
    return "payment_intents_canceled_has_time" if after == "canceled" else ""


PAYMENTS: Final = StateTable(
    model=PaymentIntent,
    transitions=INTENT_TRANSITIONS,
    arrange=_arrange,
    moves={status: _tell(status) for status in INTENT_TRANSITIONS},
    held=_hold,
    quiet=frozenset(
        (before, after)
        for before, others in INTENT_TRANSITIONS.items()
        for after in INTENT_TRANSITIONS
        if after not in others
    ),
    allows=PaymentIntent.can_become,
)
