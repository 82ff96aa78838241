"""The states of setups of payment methods."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from invoicing.gateways.local import LocalGateway
from invoicing.gateways.orders import SetupState
from invoicing.models import SetupIntent
from invoicing.models.setup_intent import SETUP_TRANSITIONS
from invoicing.services.setup_intents import NewSetup, cancel_setup, create_setup, record_setup
from tests.support import world
from tests.support.states import StateTable

_BY: Final[dict[str, Any]] = {"at": world.NOVEMBER + timedelta(days=14), "actor": world.TESTER}
_METHOD: Final = "pm_local_visa_1"


def _record(row: SetupIntent, status: str) -> SetupIntent:
    """Hear of the provider where the setup stands; only the first word of an ended one counts."""
    row.refresh_from_db()
    needs_method = status == "requires_confirmation"
    if not needs_method:
        SetupIntent.objects.filter(pk=row.pk).exclude(status__in=("succeeded", "canceled")).update(method_ref="")
    told = "requires_payment_method" if needs_method else status
    state = SetupState(
        ref=f"seti_of_{row.public_id}",
        status=told,
        method_ref=_METHOD if status in ("succeeded",) or needs_method else "",
    )
    return record_setup(setup_intent_id=row.pk, state=state, **_BY)


def _arrange(state: str, _to: str) -> SetupIntent:
    setup = create_setup(account=world.open_account(), new=NewSetup(), gateway=LocalGateway(), **_BY)
    if state != "requires_payment_method":
        _record(setup, state)
    setup.refresh_from_db()
    return setup


def _cancel(row: SetupIntent) -> object:
    return cancel_setup(setup_intent_id=row.pk, gateway=LocalGateway(), **_BY)


def _hold(before: str, after: str) -> str:
    if before == after:
        return ""
    if before in ("succeeded", "canceled"):
        return "setup_intents_ends_once"
    return {"succeeded": "setup_intents_succeeded_has_method", "canceled": "setup_intents_canceled_has_time"}.get(
        after, ""
    )


_STATES: Final = tuple(SETUP_TRANSITIONS)
_TOLD: Final = tuple(state for state in _STATES if state != "canceled")
SETUPS: Final = StateTable(
    model=SetupIntent,
    transitions=SETUP_TRANSITIONS,
    arrange=_arrange,
    moves={
        "canceled": _cancel,
        **{state: (lambda row, state=state: _record(row, state)) for state in _TOLD},  # type: ignore[misc]
    },
    quiet=frozenset(
        {
            *((state, state) for state in _TOLD),
            *((ended, state) for ended in ("succeeded", "canceled") for state in _TOLD),
        }
    ),
    held=_hold,
    allows=SetupIntent.can_become,
)
