"""Money that a provider gave back, be it asked for here or by hand over there."""

from __future__ import annotations

from typing import Final

from invoicing.gateways.orders import RefundState
from invoicing.models import PaymentIntent
from invoicing.services.refund_settling import record_refund
from invoicing.webhooks.handling import Call, Handler, Handlers, Outcome, Provider


def fetch_refund(provider: Provider, ref: str) -> tuple[RefundState, ...]:
    """Return one refund."""
    return (provider.fetch_refund(refund_ref=ref),)


def fetch_refunds_of_charge(provider: Provider, ref: str) -> tuple[RefundState, ...]:
    """Return every refund of a charge: the event does not say which one was made."""
    charge = provider.fetch_charge(charge_ref=ref)
    return tuple(provider.fetch_refund(refund_ref=each) for each in charge.refund_refs)


def apply_refunds(call: Call, states: tuple[RefundState, ...]) -> Outcome:
    """Settle each refund as the provider has it; those of payments nobody knows here are told by the service."""
    if not states:
        return Outcome("Not applied: nothing was given back of the charge.", is_applied=False)
    account, told = None, []
    for state in states:
        intent = (
            PaymentIntent.objects.select_related("account__test_clock")
            .filter(provider_type=call.provider, provider_ref=state.payment_ref or "-")
            .first()
        )
        at = call.at if intent is None else call.now(intent.account)
        refund = record_refund(state=state, provider_type=call.provider, at=at, actor=call.actor)
        if refund is None:
            told.append(f"Not applied: refund {state.ref} is of no payment here.")
            continue
        account = refund.account
        told.append(f"Refund {refund.public_id} is {refund.status}.")
    return Outcome(" ".join(told), account, is_applied=account is not None)


_SETTLE: Final = Handler(fetch_refund, apply_refunds)
HANDLERS: Final[Handlers] = {
    "charge.refunded": Handler(fetch_refunds_of_charge, apply_refunds),
    "charge.refund.updated": _SETTLE,
    # What newer versions of Stripe's API send for all refunds; their neutral type is their own.
    "refund.created": _SETTLE,
    "refund.updated": _SETTLE,
    "refund.failed": _SETTLE,
}
