"""
The worker of the inbox: claim, read the object anew, do one thing about it, mark it as handled.

Between the claim and its end nothing is locked while the provider is asked. Whoever rings (the door, the end of the
event before, the sweep, an operator) does the same, in any process, any number of times.
Source: contract chapter Webhooks in; ADR 0052.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from django.db import transaction

from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from billing_site.platform.logs import redact_text
from invoicing.gateways.port import ObjectUnknown
from invoicing.gateways.registry import get_gateway
from invoicing.models import InboundEvent, InboundEventStatus
from invoicing.services.inbound_events import (
    Claim,
    claim_event,
    hold_claim,
    list_due,
    record_failure,
    settle_event,
)
from invoicing.webhooks.handlers import HANDLERS
from invoicing.webhooks.handling import Call, Handler, Outcome, Provider

logger = logging.getLogger(__name__)
_SWEEP_LIMIT: Final = 200


def handle_event(*, event_id: UUID, handlers: Mapping[str, Handler] | None = None) -> bool:
    """
    Handle one event if it is due and nobody else does, and tell whether it was settled.

    Never call it in a transaction. Failures are recorded on the event, not raised.
    """
    claim = claim_event(at=clock.now(), event_id=event_id)
    return claim is not None and _handle(claim, HANDLERS if handlers is None else handlers)


def sweep_events(*, limit: int = _SWEEP_LIMIT, handlers: Mapping[str, Handler] | None = None) -> int:
    """
    Handle what is due, first come first, and what waited for it; return how many events were settled.

    Ends after about `limit` events, and when nothing that is left can be settled now.
    """
    settled, progress = 0, True
    while progress and settled < limit:
        due = list_due(at=clock.now(), limit=limit - settled)
        done = sum(handle_event(event_id=event_id, handlers=handlers) for event_id in due)
        settled, progress = settled + done, bool(done)
    return settled


def _handle(claim: Claim, handlers: Mapping[str, Handler]) -> bool:
    event = claim.event
    try:
        return _work(claim, handlers)
    except Exception as error:  # whatever is wrong with one event, the others are handled
        shown = describe_error(error)
        if isinstance(error, DomainError):
            logger.warning("webhook %s (%s) failed: %s", event.public_id, event.type, shown)
        else:
            logger.exception("webhook %s (%s) failed", event.public_id, event.type)
        record_failure(claim, error=shown, at=clock.now())
        return False


def _work(claim: Claim, handlers: Mapping[str, Handler]) -> bool:
    event = claim.event
    handler = handlers.get(event.type)
    if handler is None:
        return _settle(claim, Outcome("Kept: nothing here follows events of this type.", is_applied=False))
    if not event.object_id:
        return _settle(claim, Outcome("Not applied: the event names no object.", is_applied=False))
    provider = cast(Provider, get_gateway(event.provider, livemode=event.livemode))
    try:
        found = handler.fetch(provider, event.object_id)
    except ObjectUnknown:
        text = f"Not applied: {event.provider} has no such {event.object_kind or 'object'}, or not any more."
        return _settle(claim, Outcome(text, is_applied=False))
    return _apply(claim, handler, found)


@transaction.atomic
def _apply(claim: Claim, handler: Handler, found: Any) -> bool:
    at = clock.now()
    event = hold_claim(claim, at=at)
    if event is None:
        return False  # somebody else has it
    call = Call(event, at, Actor("system", f"{event.provider}-webhook"))
    return _write(event, handler.apply(call, found), at)


@transaction.atomic
def _settle(claim: Claim, outcome: Outcome) -> bool:
    at = clock.now()
    event = hold_claim(claim, at=at)
    return event is not None and _write(event, outcome, at)


def _write(event: InboundEvent, outcome: Outcome, at: datetime) -> bool:
    status = InboundEventStatus.HANDLED if outcome.is_applied else InboundEventStatus.STORED
    settle_event(event, status=status, outcome=outcome.text, account=outcome.account, at=at)
    return True


def describe_error(error: Exception) -> str:
    """Return why an attempt failed, short and without secrets; of what nobody foresaw only the kind and the text."""
    if isinstance(error, DomainError):
        return redact_text(f"{error.code}: {error.detail}")[:500]
    return redact_text(f"{type(error).__name__}: {error}")[:500]
