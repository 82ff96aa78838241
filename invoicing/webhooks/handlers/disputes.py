"""Disputes: a payer's bank takes money back, or is asked whether it should."""

from __future__ import annotations

from typing import Final

from invoicing.gateways.orders import DisputeState
from invoicing.models import PaymentIntent
from invoicing.services.disputes import record_dispute
from invoicing.webhooks.handling import Call, Handler, Handlers, Outcome, Provider


def fetch_dispute(provider: Provider, ref: str) -> DisputeState:
    """Return a dispute as it is now."""
    return provider.fetch_dispute(dispute_ref=ref)


def apply_dispute(call: Call, state: DisputeState) -> Outcome:
    """Take over where the dispute stands; one of a payment nobody knows here is told by the service."""
    rows = PaymentIntent.objects.select_related("account__test_clock").filter(provider_type=call.provider)
    intent = rows.filter(provider_ref=state.payment_ref or "-").first()
    at = call.at if intent is None else call.now(intent.account)
    dispute = record_dispute(state=state, provider_type=call.provider, at=at, actor=call.actor)
    if dispute is None:
        return Outcome(f"Not applied: dispute {state.ref} is of no payment here.", is_applied=False)
    return Outcome(f"Dispute {dispute.public_id} is {dispute.status}.", dispute.account)


_FOLLOW: Final = Handler(fetch_dispute, apply_dispute)
HANDLERS: Final[Handlers] = {
    "charge.dispute.created": _FOLLOW,
    "charge.dispute.closed": _FOLLOW,
    # What comes between the two; their neutral type is their own.
    "charge.dispute.updated": _FOLLOW,
    "charge.dispute.funds_withdrawn": _FOLLOW,
    "charge.dispute.funds_reinstated": _FOLLOW,
}
