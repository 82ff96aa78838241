"""Methods saved without a payment. Their types are not in the contract's table; the state they bring is wanted."""

from __future__ import annotations

from typing import Final

from invoicing.gateways.orders import SetupState
from invoicing.models import SetupIntent
from invoicing.services.setup_intents import record_setup
from invoicing.webhooks.handling import Call, Handler, Handlers, Outcome, Provider


def fetch_setup(provider: Provider, ref: str) -> SetupState:
    """Return a setup as it is now."""
    return provider.fetch_setup(setup_ref=ref)


def apply_setup(call: Call, state: SetupState) -> Outcome:
    """Settle our setup by what the provider says of it."""
    rows = SetupIntent.objects.select_related("account__test_clock").filter(
        provider_type=call.provider, livemode=call.event.livemode
    )
    key = SetupIntent.parse_id(state.reference) if state.reference else None
    setup = rows.filter(pk=key).first() if key is not None else None
    setup = setup or rows.filter(provider_ref=state.ref).first()
    if setup is None:
        return Outcome(f"Not applied: setup {state.ref} was not begun here.", is_applied=False)
    settled = record_setup(setup_intent_id=setup.pk, state=state, at=call.now(setup.account), actor=call.actor)
    return Outcome(f"Setup {settled.public_id} is {settled.status}.", setup.account)


_SETTLE: Final = Handler(fetch_setup, apply_setup)
HANDLERS: Final[Handlers] = {
    f"setup_intent.{what}": _SETTLE for what in ("succeeded", "setup_failed", "canceled", "requires_action")
}
