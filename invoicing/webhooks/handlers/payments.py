"""Payments of ours: intents, collections, top-ups."""

from __future__ import annotations

from typing import Final

from invoicing.gateways.orders import PaymentState
from invoicing.models import PaymentIntent
from invoicing.services.charging import record_payment
from invoicing.webhooks.handling import Call, Handler, Handlers, Outcome, Provider


def fetch_payment(provider: Provider, ref: str) -> PaymentState:
    """Return a payment as it is now."""
    return provider.fetch_payment(payment_ref=ref)


def apply_payment(call: Call, state: PaymentState) -> Outcome:
    """Settle our payment by what the provider says of it."""
    intent = find_intent(provider=call.provider, reference=state.reference, payment_ref=state.ref)
    if intent is None or intent.livemode != call.event.livemode:
        return _explain_unknown(call, state)
    account = intent.account
    settled = record_payment(intent_id=intent.pk, state=state, at=call.now(account), actor=call.actor)
    return Outcome(f"Payment {settled.public_id} is {settled.status}.", account)


def find_intent(*, provider: str, reference: str, payment_ref: str) -> PaymentIntent | None:
    """Return our payment: the one its metadata names, else the one that has the provider's name of it."""
    rows = PaymentIntent.objects.select_related("account__test_clock").filter(provider_type=provider)
    key = PaymentIntent.parse_id(reference) if reference else None
    found = rows.filter(pk=key).first() if key is not None else None
    if found is None and payment_ref:
        found = rows.filter(provider_ref=payment_ref).first()
    return found


def _explain_unknown(call: Call, state: PaymentState) -> Outcome:
    """A payment that none of our rows asked for: of the provider's own invoices, or of somebody else's shop."""
    account = call.find_account(metadata_ref=state.account_id, customer_ref=state.customer_ref)
    is_ours = bool(state.reference or state.account_id)
    if account is None or is_ours:
        outcome = call.unmatched(f"payment {state.ref}", is_ours=is_ours, has_money=state.amount_received > 0)
        return outcome if account is None else Outcome(outcome.text, account, is_applied=False)
    return Outcome(f"Not applied: payment {state.ref} was not asked for here.", account, is_applied=False)


_SETTLE: Final = Handler(fetch_payment, apply_payment)
HANDLERS: Final[Handlers] = {
    f"payment_intent.{what}": _SETTLE
    for what in (
        *("succeeded", "payment_failed"),
        # Beyond the contract's table: their neutral type is their own, the state they bring is wanted all the same.
        *("canceled", "processing", "requires_action", "amount_capturable_updated"),
    )
}
