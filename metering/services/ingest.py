"""
Recording usage: check everything, write all of it or nothing, count each key once per account and meter.

Usage is never refused for quota or balance: the work has happened. Source: contract chapter Meters and usage.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec
from django.db import transaction

from accounts.models import Account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import FieldError, ValidationFailed
from billing_site.kernel.ids import new_uuid
from catalog.models import Meter
from metering.queries.meters import MeterNotFound, ResolvedMeter, load_meters
from metering.rating import UnitNotConvertible, convert_quantity
from metering.rating.units import QUANTITY_DECIMALS, count_decimals
from metering.stores import Claim, EventRow, find_events, insert_events

logger = logging.getLogger(__name__)

MAX_AHEAD: Final = timedelta(minutes=5)
MAX_OBJECT_BYTES: Final = 16_384
_MAX_WHOLE_DIGITS: Final = 26  # numeric(38, 12)
_ZERO: Final = Decimal(0)
_LIMIT: Final = Decimal(10) ** _MAX_WHOLE_DIGITS
_LENGTHS: Final = {"idempotency_key": 255, "resource_id": 255, "resource_type": 100, "actor_id": 255}


class NewUsageEvent(NamedTuple):
    """
    One event as its sender knows it.

    `meter` is an event name, metric type, service name or meter id. `quantity` is in `unit`, or in the meter's unit
    when that is empty. `timestamp` defaults to the account's present; without `idempotency_key` the event is counted
    whenever it is sent. The account comes with `test_clock` loaded.
    """

    account: Account
    meter: str
    quantity: Decimal
    unit: str = ""
    timestamp: datetime | None = None
    idempotency_key: str = ""
    resource_id: str = ""
    resource_type: str = ""
    actor_id: str = ""
    dimensions: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class RecordedUsage(NamedTuple):
    """What an event came to: the stored row (of the first event with its key), and whether this call wrote it."""

    account: Account
    meter: Meter
    row: EventRow
    created: bool


def record_usage_events(*, events: Sequence[NewUsageEvent], at: datetime, actor: Actor) -> list[RecordedUsage]:
    """
    Record all events, or none of them, and return what each came to, in order.

    A key that the account and meter already have changes nothing and returns the stored event; of the same key twice
    in `events` the first counts.
    :raises ValidationFailed: with every wrong field of every event, as `/events/<index>/<field>`.
    :raises MeterNotFound: when nothing else is wrong than meters that do not exist.
    """
    rows, meters, findings = _check_events(events, at)
    if findings:
        raise _refuse(findings, len(events))
    # Of the same key twice, later events stand for the first.
    first: dict[Claim, int] = {}
    for index, row in enumerate(rows):
        first.setdefault(row.claim, index)
    unique = rows if len(first) == len(rows) else [rows[index] for index in first.values()]
    with transaction.atomic():
        inserted = insert_events(unique)
        known = find_events([row.claim for row, new in zip(unique, inserted, strict=True) if not new])
    logger.debug("usage recorded by %s: %d new of %d", actor, sum(inserted), len(events))
    if not known and len(first) == len(rows):
        return [
            RecordedUsage(event.account, meter, row, True)
            for event, meter, row in zip(events, meters, rows, strict=True)
        ]
    return [
        RecordedUsage(event.account, meter, stored, stored is row)
        for event, meter, row in zip(events, meters, rows, strict=True)
        for stored in (known.get(row.claim) or rows[first[row.claim]],)
    ]


def find_event_errors(*, events: Sequence[NewUsageEvent], at: datetime) -> list[FieldError]:
    """Return everything wrong with `events`, as `/events/<index>/<field>`, without recording any. One query."""
    return _check_events(events, at)[2]


def _check_events(
    events: Sequence[NewUsageEvent], at: datetime
) -> tuple[list[EventRow], list[Meter], list[FieldError]]:
    """Return the rows to write and their meters, and what is wrong; only without the latter are the rows complete."""
    book = load_meters(org_ids={event.account.org_id for event in events}, references={event.meter for event in events})
    resolved: dict[tuple[str, str], ResolvedMeter | None] = {}
    rows: list[EventRow] = []
    meters: list[Meter] = []
    findings: list[FieldError] = []
    for index, event in enumerate(events):
        name = (event.account.org_id, event.meter)
        if name not in resolved:
            resolved[name] = book.get(org_id=name[0], reference=name[1])
        found = resolved[name]
        present = event.account.clock_time or at
        wrong = [] if _is_plainly_right(event, present) else _find_wrong_fields(event, present)
        if found is None:
            wrong.append(("meter", "meter_not_found", f"There is no meter {event.meter[:100]!r}."))
        elif not wrong:
            try:
                rows.append(_make_row(event, found, present))
                meters.append(found.meter)
            except UnitNotConvertible as error:
                wrong.append(("unit", "unit_not_convertible", f"{error}."))
            except OverflowError:
                wrong.append(("quantity", "out_of_range", "The quantity is too large."))
        findings += [FieldError(f"/events/{index}/{field}", code, detail) for field, code, detail in wrong]
    return rows, meters, findings


def _refuse(findings: list[FieldError], total: int) -> ValidationFailed | MeterNotFound:
    wrong = len({finding.pointer.split("/")[2] for finding in findings})
    detail = findings[0].detail if total == 1 else f"{wrong} of {total} events cannot be recorded; none was."
    if all(finding.code == "meter_not_found" for finding in findings):
        return MeterNotFound(detail, errors=findings)
    return ValidationFailed(detail, errors=findings)


def _is_plainly_right(event: NewUsageEvent, present: datetime) -> bool:
    """Tell in a microsecond that an ordinary event is right; a doubtful one is looked at closely."""
    quantity, moment = event.quantity, event.timestamp
    return (
        quantity.is_finite()
        and _ZERO <= quantity < _LIMIT
        and quantity.as_tuple().exponent >= -QUANTITY_DECIMALS  # type: ignore[operator]
        and (moment is None or (moment.tzinfo is not None and moment <= present))
        and len(event.idempotency_key) <= 255
        and len(event.resource_id) <= 255
        and len(event.resource_type) <= 100
        and len(event.actor_id) <= 255
        and not event.dimensions
        and (not event.metadata or _is_small(event.metadata))
    )


def _is_small(content: dict[str, Any]) -> bool:
    return "cost_center" not in content and len(msgspec.json.encode(content)) <= MAX_OBJECT_BYTES


def _find_wrong_fields(event: NewUsageEvent, present: datetime) -> list[tuple[str, str, str]]:
    """Return (field, code, detail) of everything wrong with an event whatever its meter."""
    wrong = []
    quantity = event.quantity
    if not quantity.is_finite():
        wrong.append(("quantity", "invalid", "A quantity is a decimal number."))
    elif quantity < 0:
        wrong.append(("quantity", "min_value", "A quantity cannot be negative."))
    elif quantity and quantity.adjusted() >= _MAX_WHOLE_DIGITS:
        wrong.append(("quantity", "out_of_range", "The quantity is too large."))
    elif quantity and (quantity.adjusted() < -QUANTITY_DECIMALS or count_decimals(quantity) > QUANTITY_DECIMALS):
        wrong.append(("quantity", "too_precise", f"At most {QUANTITY_DECIMALS} decimals are kept."))
    moment = event.timestamp
    if moment is not None:
        if moment.tzinfo is None:
            wrong.append(("timestamp", "invalid", "A time needs an offset, such as 2026-03-01T00:00:00Z."))
        elif moment > present + MAX_AHEAD:
            wrong.append(("timestamp", "in_future", "The time lies more than 5 minutes ahead."))
    for field, limit in _LENGTHS.items():
        if len(getattr(event, field)) > limit:
            wrong.append((field, "max_length", f"At most {limit} characters."))
    for field in ("dimensions", "metadata"):
        content = getattr(event, field)
        if content and len(msgspec.json.encode(content)) > MAX_OBJECT_BYTES:
            wrong.append((field, "too_large", f"Keep it under {MAX_OBJECT_BYTES:,} bytes of JSON."))
    # Cost centers are named by accounts that have some; no account has one that matches.
    if "cost_center" in event.metadata:
        wrong.append(("metadata/cost_center", "unknown_cost_center", "The account has no such cost center."))
    return wrong


def _make_row(event: NewUsageEvent, found: ResolvedMeter, present: datetime) -> EventRow:
    unit = event.unit or found.implied_unit
    quantity = event.quantity
    if unit and unit != found.meter.unit:
        quantity = convert_quantity(quantity, unit=unit, target=found.meter.unit)
        if quantity and quantity.adjusted() >= _MAX_WHOLE_DIGITS:
            raise OverflowError
    return EventRow(
        new_uuid(),
        event.account.id,
        found.meter.id,
        event.idempotency_key or uuid.uuid4().hex,
        quantity,
        event.timestamp.astimezone(UTC) if event.timestamp else present,
        present,
        event.resource_id,
        event.resource_type,
        event.actor_id,
        event.dimensions,
        event.metadata,
    )


__all__ = ["MeterNotFound", "NewUsageEvent", "RecordedUsage", "record_usage_events"]
