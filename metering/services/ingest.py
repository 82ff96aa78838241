"""
Recording usage: check everything, write all of it or nothing, count each key once per account and meter.

Usage is never refused for quota or balance: the work has happened. Source: contract chapters Meters and usage, Cost
centers.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction

from accounts.models import Account, CostCenter
from accounts.queries.cost_centers import CostCenterBook, load_named_centers
from accounts.services.cost_centers import hold_cost_centers
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import FieldError, ValidationFailed
from catalog.models import Meter
from metering.queries.meters import MeterNotFound, ResolvedMeter, load_meters
from metering.rating import UnitNotConvertible, convert_quantity
from metering.rating.units import QUANTITY_DECIMALS, count_decimals
from metering.services.touching import touch_accounts
from metering.stores import EventRow, find_events, hash_claims, insert_events, project_dimensions

logger = logging.getLogger(__name__)

MAX_AHEAD: Final = timedelta(minutes=5)
MAX_OBJECT_BYTES: Final = 16_384
_MAX_WHOLE_DIGITS: Final = 26  # numeric(38, 12)
_ZERO: Final = Decimal(0)
_LIMIT: Final = Decimal(10) ** _MAX_WHOLE_DIGITS
NO_SUCH_CENTER: Final = "The account has no such cost center."
_LENGTHS: Final = {"idempotency_key": 255, "resource_id": 255, "resource_type": 100, "actor_id": 255}


class NewUsageEvent(NamedTuple):
    """
    One event as its sender knows it.

    `meter` is an event name, metric type, service name or meter id. `quantity` is in `unit`, or in the meter's unit
    when that is empty. `timestamp` defaults to the account's present; without `idempotency_key` the event is counted
    whenever it is sent. `cost_center` is the id or code of one of the account's centers; empty, the one that metadata
    names as `cost_center`. The account comes with `test_clock` loaded.
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
    cost_center: str = ""


UnknownCenters = Literal["refuse", "keep"]
"""What becomes of an event whose center the account does not have, or has retired: refused, or kept without one."""


class RecordedUsage(NamedTuple):
    """What an event came to: the stored row (of the first event with its key), and whether this call wrote it."""

    account: Account
    meter: Meter
    row: EventRow
    created: bool


def record_usage_events(
    *, events: Sequence[NewUsageEvent], at: datetime, actor: Actor, unknown_centers: UnknownCenters = "refuse"
) -> list[RecordedUsage]:
    """
    Record all events, or none of them, and return what each came to, in order.

    A key that the account and meter already have changes nothing and returns the stored event; of the same key twice
    in `events` the first counts. Centers that are named cannot be removed before the events are stored.
    :raises ValidationFailed: with every wrong field of every event, as `/events/<index>/<field>`.
    :raises MeterNotFound: when nothing else is wrong than meters that do not exist.
    """
    rows, meters, findings = _check_events(events, at, unknown_centers)
    if findings:
        raise _refuse(findings, len(events))
    with transaction.atomic():
        rows = _hold_centers(rows, events, unknown_centers)
        ids = hash_claims([row[:3] for row in rows])
        inserted = insert_events(rows, ids=ids, at=at)
        # By the identity of the objects: every event of an account names the same one, and hashing UUIDs is slow.
        touch_accounts(
            {id(row.account_id): row.account_id for row, new in zip(rows, inserted, strict=True) if new}.values()
        )
        stored = rows if all(inserted) else _find_stored(rows, ids, inserted)
    logger.debug("usage recorded by %s: %d new of %d", actor, sum(inserted), len(events))
    return [
        RecordedUsage(event.account, meter, row, new)
        for event, meter, row, new in zip(events, meters, stored, inserted, strict=True)
    ]


def _find_stored(rows: Sequence[EventRow], ids: Sequence[str], inserted: Sequence[bool]) -> list[EventRow]:
    """Return for each row the one that holds its key: itself, the first in `rows` with it, or one stored before."""
    fresh = {id_: row for id_, row, new in zip(ids, rows, inserted, strict=True) if new}
    known = find_events({row.claim for id_, row in zip(ids, rows, strict=True) if id_ not in fresh})
    return [fresh.get(id_) or known.get(row.claim, row) for id_, row in zip(ids, rows, strict=True)]


def find_event_errors(*, events: Sequence[NewUsageEvent], at: datetime) -> list[FieldError]:
    """
    Return everything wrong with `events`, as `/events/<index>/<field>`, without recording any.

    One query, and one more when events name cost centers.
    """
    return _check_events(events, at, "refuse")[2]


def _check_events(
    events: Sequence[NewUsageEvent], at: datetime, unknown_centers: UnknownCenters
) -> tuple[list[EventRow], list[Meter], list[FieldError]]:
    """Return the rows to write and their meters, and what is wrong; only without the latter are the rows complete."""
    centers = _Centers(events)
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
        center, finding = centers.find(event) if centers.named else (None, None)
        if finding is not None and unknown_centers == "refuse":
            wrong.append(finding)
        if found is None:
            wrong.append(("meter", "meter_not_found", f"There is no meter {event.meter[:100]!r}."))
        elif not wrong:
            try:
                rows.append(_make_row(event, found, present, center))
                meters.append(found.meter)
            except UnitNotConvertible as error:
                wrong.append(("unit", "unit_not_convertible", f"{error}."))
            except OverflowError:
                wrong.append(("quantity", "out_of_range", "The quantity is too large."))
        findings += [FieldError(f"/events/{index}/{field}", code, detail) for field, code, detail in wrong]
    return rows, meters, findings


class _Centers:
    """The cost centers that events name: looked up together, each name once."""

    def __init__(self, events: Sequence[NewUsageEvent]) -> None:
        self.named: dict[UUID, set[str]] = {}
        for event in events:
            if event.cost_center or event.metadata:
                name = _name_center(event)
                if isinstance(name, str) and name:
                    self.named.setdefault(event.account.id, set()).add(name)
                elif name is not None:
                    self.named.setdefault(event.account.id, set())
        self._book: CostCenterBook = load_named_centers({key: names for key, names in self.named.items() if names})
        self._found: dict[tuple[UUID, str], CostCenter | None] = {}

    def find(self, event: NewUsageEvent) -> tuple[UUID | None, tuple[str, str, str] | None]:
        """Return the center an event counts on, or (field, code, detail) of why the one it names does not do."""
        name = _name_center(event)
        if not name:
            return None, None
        field = "cost_center" if event.cost_center else "metadata/cost_center"
        if not isinstance(name, str):
            return None, (field, "unknown_cost_center", "A cost center is named by the text of its id or code.")
        key = (event.account.id, name)
        if key not in self._found:
            self._found[key] = self._book.get(*key)
        center = self._found[key]
        if center is None:
            return None, (field, "unknown_cost_center", NO_SUCH_CENTER)
        if not center.is_active:
            return None, (field, "inactive_cost_center", f"The cost center {center.code!r} is not active.")
        return center.pk, None


def _name_center(event: NewUsageEvent) -> Any:
    """Return what the event names as its center: its field, else its metadata; None or nothing for none."""
    return event.cost_center or event.metadata.get("cost_center")


def _hold_centers(
    rows: list[EventRow], events: Sequence[NewUsageEvent], unknown_centers: UnknownCenters
) -> list[EventRow]:
    """Keep the named centers until the events are stored; one that was removed meanwhile is unknown after all."""
    named = {row.cost_center_id for row in rows if row.cost_center_id is not None}
    gone = named - hold_cost_centers(named) if named else None
    if not gone:
        return rows
    if unknown_centers == "refuse":
        detail = "A cost center was removed while its usage arrived."
        found = next(index for index, row in enumerate(rows) if row.cost_center_id in gone)
        field = "cost_center" if events[found].cost_center else "metadata/cost_center"
        raise ValidationFailed(detail, errors=[FieldError(f"/events/{found}/{field}", "unknown_cost_center", detail)])
    return [row._replace(cost_center_id=None) if row.cost_center_id in gone else row for row in rows]


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
    return len(msgspec.json.encode(content)) <= MAX_OBJECT_BYTES


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
    return wrong


def _make_row(event: NewUsageEvent, found: ResolvedMeter, present: datetime, center: UUID | None) -> EventRow:
    unit = event.unit or found.implied_unit
    quantity = event.quantity
    if unit and unit != found.meter.unit:
        quantity = convert_quantity(quantity, unit=unit, target=found.meter.unit)
        if quantity and quantity.adjusted() >= _MAX_WHOLE_DIGITS:
            raise OverflowError
    declared = found.meter.dimensions
    return EventRow(
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
        center,
        rolled_dimensions=project_dimensions(declared, event.dimensions) if declared else {},
    )


__all__ = ["MeterNotFound", "NewUsageEvent", "RecordedUsage", "record_usage_events"]
