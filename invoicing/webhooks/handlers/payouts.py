"""Money out: ours, and what the provider pays to our own bank by itself."""

from __future__ import annotations

from typing import Final

from invoicing.gateways.orders import PayoutState
from invoicing.services.payout_settling import record_payout
from invoicing.webhooks.handling import Call, Handler, Handlers, Outcome, Provider


def fetch_payout(provider: Provider, ref: str) -> PayoutState:
    """Return a payout as it is now."""
    return provider.fetch_payout(payout_ref=ref)


def apply_payout(call: Call, state: PayoutState) -> Outcome:
    """Bring the payout to where the provider says it stands."""
    payout = record_payout(
        state=state,
        at=call.at,
        actor=call.actor,
        provider_type=call.provider,
        livemode=call.event.livemode,
    )
    return Outcome(f"Payout {payout.public_id} is {payout.status}.", payout.account)


_FOLLOW: Final = Handler(fetch_payout, apply_payout)
HANDLERS: Final[Handlers] = {
    "payout.paid": _FOLLOW,
    "payout.failed": _FOLLOW,
    # Beyond the contract's table; their neutral type is their own.
    "payout.canceled": _FOLLOW,
    "payout.updated": _FOLLOW,
}
