"""Single events: look-up by key or id, raw list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from metering.models import UsageEvent
from metering.stores.rows import Claim, EventRow, StoredEvent, from_json, make_event_id, write_uuids

_COLUMNS: Final = EventRow._fields[:-1]
_LISTED: Final = ", ".join(f"e.{name}" for name in _COLUMNS)
_SELECT: Final = f"SELECT {_LISTED} FROM usage_events e"  # noqa: S608 - column names of the row
_LOCATE: Final = "SELECT timestamp FROM usage_keys WHERE id = %s ORDER BY recorded_on DESC LIMIT 1"
# The key tells the time, the time tells the day's partition.
_FIND: Final = f"""
    SELECT {_LISTED}
    FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[]) AS i (id, account_id, meter_id)
    CROSS JOIN LATERAL (
        SELECT timestamp FROM usage_keys k WHERE k.id = i.id ORDER BY recorded_on DESC LIMIT 1
    ) k
    JOIN usage_events e ON e.account_id = i.account_id AND e.meter_id = i.meter_id
        AND e.timestamp = k.timestamp AND e.id = i.id
"""  # noqa: S608 - column names of the row


def find_events(claims: Iterable[Claim]) -> dict[Claim, StoredEvent]:
    """
    Return the stored events that hold these keys, by (account, meter, key). One statement.

    Of a key that was counted again after the look-back, the later event.
    """
    wanted = {make_event_id(*claim): claim for claim in claims}
    if not wanted:
        return {}
    accounts, meters, _ = zip(*wanted.values(), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [write_uuids(wanted), write_uuids(accounts), write_uuids(meters)])
        rows = [_read(values) for values in cursor.fetchall()]
    return {row.claim: row for row in rows}


def _read(values: Sequence[object]) -> StoredEvent:
    fields = dict(zip(_COLUMNS, values, strict=True))
    for name in ("dimensions", "metadata"):
        fields[name] = from_json(fields[name])  # type: ignore[arg-type]
    return EventRow(**fields)  # type: ignore[arg-type]


def list_events(
    *,
    account_id: UUID,
    meter_ids: Sequence[UUID] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    cost_center_id: UUID | None = None,
) -> QuerySet[UsageEvent]:
    """Return the raw events of an account with `start <= timestamp < end`, newest first, meters joined."""
    events = UsageEvent.objects.filter(account_id=account_id)
    if meter_ids is not None:
        events = events.filter(meter_id__in=meter_ids)
    if start is not None:
        events = events.filter(timestamp__gte=start)
    if end is not None:
        events = events.filter(timestamp__lt=end)
    if cost_center_id is not None:
        events = events.filter(cost_center_id=cost_center_id)
    return events.select_related("meter").order_by("-timestamp", "-id")


def find_event(id_: UUID) -> StoredEvent | None:
    """
    Return the event with this id, or None.

    Its key tells where it lies; of a key that is older than the look-back only a search through every day does.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOCATE, [id_])
        located = cursor.fetchone()
        condition = "e.id = %s" if located is None else "e.id = %s AND e.timestamp = %s"
        values = [id_] if located is None else [id_, located[0]]
        cursor.execute(f"{_SELECT} WHERE {condition} ORDER BY e.timestamp DESC LIMIT 1", values)
        row = cursor.fetchone()
    return None if row is None else _read(row)
