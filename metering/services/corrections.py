"""
Correcting usage: an event is taken back, or something else counts instead. Nothing stored is ever changed.

What was invoiced already stays as it is: the correction counts in usage from now on. Source: ADR 0037.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import IntegrityError, transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, FieldError, ValidationFailed
from billing_site.kernel.ids import encode_id
from billing_site.platform.services.events import emit
from metering.models import UsageCorrection, UsageEvent
from metering.services.ingest import NewUsageEvent, find_event_errors
from metering.stores import EventRow, insert_events, insert_voiding, make_voiding, project_dimensions

_ONCE: Final = "usage_corrections_event_once"


class UsageEventNotCorrectable(DomainError):
    code, title, status = "usage_event_not_correctable", "This event cannot be corrected", 409


class UsageEventAlreadyCorrected(DomainError):
    code, title, status = "usage_event_already_corrected", "This event was corrected before", 409


class UsageKeyTaken(DomainError):
    code, title, status = "usage_key_taken", "Another event was counted under this key", 409


@dataclass(frozen=True, slots=True)
class CorrectedUsage:
    """What a correction came to: `replacement` is the event that counts instead, if there is one."""

    correction: UsageCorrection
    void: EventRow
    replacement: EventRow | None = None


@transaction.atomic
def void_usage_event(*, event: UsageEvent, at: datetime, actor: Actor, reason: str) -> CorrectedUsage:
    """
    Take an event back, with a reason, and return what was stored. It comes with account and meter.

    :raises UsageEventNotCorrectable: for a correction, and for what was charged when it happened.
    :raises UsageEventAlreadyCorrected: when it was voided or amended before.
    """
    return _correct(event, None, at=at, actor=actor, reason=reason)


@transaction.atomic
def amend_usage_event(
    *, event: UsageEvent, quantity: Decimal, at: datetime, actor: Actor, reason: str, idempotency_key: str = ""
) -> CorrectedUsage:
    """
    Take an event back and count `quantity`, in the meter's unit, in its place, in one transaction.

    The new event has everything else of the old one, and a key of its own.
    :raises UsageEventNotCorrectable: for a correction, for what was charged, and when nothing would change.
    :raises UsageEventAlreadyCorrected: when it was voided or amended before.
    :raises UsageKeyTaken: when the key was counted already.
    :raises ValidationFailed: for a quantity or key that no event may have.
    """
    if quantity == event.value:
        raise UsageEventNotCorrectable("The event says this quantity already.")
    _check(event, quantity, idempotency_key, at)
    return _correct(event, quantity, at=at, actor=actor, reason=reason, key=idempotency_key)


def why_not_correctable(event: UsageEvent) -> str:
    """Return why an event cannot be corrected, as a sentence; empty when it can be unless it was before."""
    if event.weight < 0:
        return "It is a correction itself: what it took back is recorded again with a key of its own."
    if event.charged:
        return "It was charged to the prepaid balance when it happened: give that money back instead."
    return ""


def _correct(
    event: UsageEvent, quantity: Decimal | None, *, at: datetime, actor: Actor, reason: str, key: str = ""
) -> CorrectedUsage:
    if refusal := why_not_correctable(event):
        raise UsageEventNotCorrectable(refusal)
    if not reason.strip():
        raise ValidationFailed.of("/reason", "required", "Say why.")
    declared = event.meter.dimensions
    stored = read_row(event)
    void = make_voiding(stored, declared=declared, recorded_at=at)
    correction = UsageCorrection(
        account_id=event.account_id,
        meter_id=event.meter_id,
        event_id=event.pk,
        timestamp=event.timestamp,
        void_id=void.id,
        value=event.value,
        reason=reason.strip(),
        actor=str(actor),
        corrected_at=at,
    )
    replacement: EventRow | None = None
    if quantity is not None:
        replacement = stored._replace(
            idempotency_key=key or f"amend:{correction.public_id}",
            value=quantity,
            recorded_at=at,
            rolled_dimensions=project_dimensions(declared, event.dimensions),
        )
        correction.replacement_id, correction.replacement_value = replacement.id, quantity
    _claim(correction)
    if not insert_voiding(void, aggregation=event.meter.aggregation, at=at):
        raise UsageEventAlreadyCorrected
    if replacement is not None and not insert_events([replacement], at=at)[0]:
        raise UsageKeyTaken(f"Another event was counted under the key {replacement.idempotency_key!r}.")
    _tell(event, correction, at=at, actor=actor)
    return CorrectedUsage(correction, void, replacement)


def read_row(event: UsageEvent) -> EventRow:
    """Return an event as the store takes it."""
    return EventRow(**{name: getattr(event, name) for name in EventRow._fields[:-1]})


def _check(event: UsageEvent, quantity: Decimal, key: str, at: datetime) -> None:
    """:raises ValidationFailed: with `/quantity` and `/idempotency_key`, for what ingest would refuse."""
    wanted = NewUsageEvent(
        account=event.account, meter=event.meter.public_id, quantity=quantity, idempotency_key=key, timestamp=at
    )
    found = [
        FieldError(f"/{finding.pointer.split('/', 3)[3]}", finding.code, finding.detail)
        for finding in find_event_errors(events=[wanted], at=at)
    ]
    if found:
        raise ValidationFailed(found[0].detail, errors=found)


def _claim(correction: UsageCorrection) -> None:
    try:
        with transaction.atomic():
            correction.save(force_insert=True)
    except IntegrityError as error:
        if _ONCE in str(error):
            raise UsageEventAlreadyCorrected from error
        raise


def _tell(event: UsageEvent, correction: UsageCorrection, *, at: datetime, actor: Actor) -> None:
    amended = correction.replacement_id is not None
    data: dict[str, Any] = {
        "correction_id": correction.public_id,
        "meter": event.meter.event_name,
        "timestamp": event.timestamp,
        "idempotency_key": event.idempotency_key,
        "quantity": correction.replacement_value if amended else Decimal(0),
        "unit": event.meter.unit,
        "void_id": encode_id(UsageEvent.id_prefix, correction.void_id),
    }
    if correction.replacement_id is not None:
        data["replacement_id"] = encode_id(UsageEvent.id_prefix, correction.replacement_id)
    emit(
        "usage_event.amended" if amended else "usage_event.voided",
        subject=event,
        account_id=event.account_id,
        at=at,
        actor=actor,
        data=data,
        previous={"quantity": correction.value},
        reason=correction.reason,
    )
