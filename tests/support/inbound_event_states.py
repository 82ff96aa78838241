"""The state table of webhooks that came in; see `tests.support.state_tables`."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from invoicing.models import InboundEvent, InboundEventStatus
from invoicing.models.inbound_event import INBOUND_EVENT_TRANSITIONS
from invoicing.services.inbound_events import (
    MAX_ATTEMPTS,
    NewEvent,
    claim_event,
    handle_again,
    hold_claim,
    record_failure,
    settle_event,
    store_event,
)
from tests.factories.platform import AT
from tests.support import world
from tests.support.states import StateTable


def new_event(event_id: str = "evt_1", object_id: str = "sub_1", **values: object) -> NewEvent:
    """Return an event of the local provider."""
    given: dict[str, object] = {
        "provider": "local",
        "event_id": event_id,
        "type": "customer.subscription.updated",
        "neutral_type": "subscription.updated",
        "object_kind": "subscription",
        "object_id": object_id,
        "livemode": False,
        "api_version": "",
        "occurred_at": AT,
        "body": b"{}",
        **values,
    }
    return NewEvent(**given)  # type: ignore[arg-type]


def _arrange(state: str, _to: str) -> InboundEvent:
    store_event(new_event(), at=AT)
    event = InboundEvent.objects.get()
    if state != "pending":
        INBOUND_EVENTS.moves[state](event)
    return event


def _settle(row: InboundEvent, status: InboundEventStatus) -> None:
    """As the worker does, where there is something to claim."""
    claim = claim_event(event_id=row.pk, at=AT)
    event = None if claim is None else hold_claim(claim, at=AT)
    if event is not None:
        settle_event(event, status=status, outcome="done", account=None, at=AT)


def _park(row: InboundEvent) -> None:
    at = AT
    for _ in range(MAX_ATTEMPTS):
        claim = claim_event(event_id=row.pk, at=at)
        if claim is None:
            return
        record_failure(claim, error="it rains", at=at)
        at += timedelta(hours=5)


def _hold(before: str, after: str) -> str:
    if before == after:
        return ""
    if after not in INBOUND_EVENT_TRANSITIONS[before]:
        return "inbound_events_moves"
    if after == "pending":
        return "" if before == "parked" else "inbound_events_handled_has_time"
    return "inbound_events_parked_has_error" if after == "parked" else "inbound_events_end_has_outcome"


INBOUND_EVENTS: Final = StateTable(
    model=InboundEvent,
    transitions=INBOUND_EVENT_TRANSITIONS,
    arrange=_arrange,
    moves={
        "pending": lambda row: handle_again(event_id=row.pk, at=AT, actor=world.TESTER),
        "handled": lambda row: _settle(row, InboundEventStatus.HANDLED),
        "stored": lambda row: _settle(row, InboundEventStatus.STORED),
        "parked": _park,
    },
    # What is not pending cannot be claimed, so nothing is written.
    quiet=frozenset(
        (before, after) for before in ("handled", "stored", "parked") for after in ("handled", "stored", "parked")
    ),
    held=_hold,
    allows=InboundEvent.can_become,
)
