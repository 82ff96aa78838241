"""Single events: set-based insert that claims keys, look-up by key, raw list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models import QuerySet

from metering.models import UsageEvent

Claim = tuple[UUID, UUID, str]
"""What counts once: account, meter and idempotency key."""


class EventRow(NamedTuple):
    """One checked event, in the order of the columns it is written to. `value` is in the meter's unit."""

    id: UUID
    account_id: UUID
    meter_id: UUID
    idempotency_key: str
    value: Decimal
    timestamp: datetime
    recorded_at: datetime
    resource_id: str = ""
    resource_type: str = ""
    actor_id: str = ""
    dimensions: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    cost_center_id: UUID | None = None

    @property
    def claim(self) -> Claim:
        return (self.account_id, self.meter_id, self.idempotency_key)


StoredEvent = EventRow
"""A row as it lies in the store."""

_COLUMNS = ", ".join(EventRow._fields)

# Rows arrive as one array per column: one statement and one plan whatever their number. A conflict waits for the
# transaction that holds the key, so a key that was not free is a committed one.
INSERT = f"""
    INSERT INTO usage_events ({_COLUMNS})
    SELECT * FROM unnest(
        %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::numeric[], %s::timestamptz[], %s::timestamptz[],
        %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::jsonb[], %s::uuid[]
    )
    ON CONFLICT (account_id, meter_id, idempotency_key) DO NOTHING
"""  # noqa: S608 - column names of the class above

_FIND_IDS = """
    SELECT id FROM usage_events WHERE id = ANY(%s::uuid[])
"""

# One account and meter with all its keys. Joined to a list of keys instead, a table without statistics yet (a fresh
# one, for a minute) is read once per key by the wrong index; so it is read at most once.
_FIND = f"""
    (SELECT {_COLUMNS} FROM usage_events
     WHERE account_id = %s::uuid AND meter_id = %s::uuid AND idempotency_key = ANY(%s::text[]))
"""  # noqa: S608 - column names of the class above
_GROUPS_AT_ONCE: Final = 200


def insert_events(rows: Sequence[EventRow]) -> list[bool]:
    """
    Write the rows whose key is free and tell for each, in order, whether it was written.

    One statement. Of rows with the same account, meter and key at most one is written. Rows are written in the order
    of their keys, so that parallel batches with the same keys wait for each other and do not deadlock.
    """
    if not rows:
        return []
    with connection.cursor() as cursor:
        cursor.execute(INSERT, write_columns(sorted(rows, key=attrgetter("claim"))))
        if cursor.rowcount in (0, len(rows)):
            return [cursor.rowcount > 0] * len(rows)
        cursor.execute(_FIND_IDS, [_write_uuids([row.id for row in rows])])
        inserted = {id_ for (id_,) in cursor.fetchall()}
    return [row.id in inserted for row in rows]


def insert_charged_event(row: EventRow) -> None:
    """
    Write an event whose price was charged when it happened, so that no invoice bills it.

    :raises IntegrityError: if its key is taken.
    """
    UsageEvent(**row._asdict(), charged=True).save(force_insert=True)


def write_columns(rows: Sequence[EventRow]) -> list[str]:
    """
    Return the rows as one array literal per column.

    Written by hand: adapting each value on its own costs more than PostgreSQL's insert.
    """
    ids, accounts, meters, keys, values, timestamps, recorded, *more = zip(*rows, strict=True)
    *texts, dimensions, metadata, centers = more
    return [
        _write_uuids(ids),
        _write_uuids(accounts),
        _write_uuids(meters),
        _write_texts(keys),
        f"{{{','.join(map(str, values))}}}",
        _write_instants(timestamps),
        _write_instants(recorded),
        *map(_write_texts, texts),
        _write_texts(list(map(_as_json, dimensions))),
        _write_texts(list(map(_as_json, metadata))),
        _write_optional_uuids(centers),
    ]


def _write_uuids(values: Iterable[UUID]) -> str:
    # Accounts and meters repeat: most values are the same object as the one before.
    known: dict[UUID, str] = {}
    return f"{{{','.join([known.get(value) or known.setdefault(value, value.hex) for value in values])}}}"


def _write_optional_uuids(values: Sequence[UUID | None]) -> str:
    return f"{{{','.join(['NULL' if value is None else value.hex for value in values])}}}"


def _write_instants(values: Iterable[datetime]) -> str:
    known: dict[datetime, str] = {}
    return f"{{{','.join([known.get(value) or known.setdefault(value, value.isoformat()) for value in values])}}}"


def _write_texts(values: Sequence[str]) -> str:
    # U+0000 is the one character that PostgreSQL text cannot hold, so it can only be the separator.
    text = "\0".join(values).replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return f'{{"{text}"}}'


def find_events(claims: Iterable[Claim]) -> dict[Claim, StoredEvent]:
    """Return the stored events that hold these keys, by (account, meter, key). One statement up to 200 pairs."""
    keys: dict[tuple[UUID, UUID], list[str]] = defaultdict(list)
    for account_id, meter_id, key in claims:
        keys[account_id, meter_id].append(key)
    groups = [(account_id, meter_id, _write_texts(texts)) for (account_id, meter_id), texts in keys.items()]
    found: dict[Claim, StoredEvent] = {}
    for start in range(0, len(groups), _GROUPS_AT_ONCE):
        chunk = groups[start : start + _GROUPS_AT_ONCE]
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join([_FIND] * len(chunk)), [value for group in chunk for value in group])
            for values in cursor.fetchall():
                *plain, dimensions, metadata, center = values
                row = EventRow._make([*plain, _from_json(dimensions), _from_json(metadata), center])
                found[row.claim] = row
    return found


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


def _as_json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode() if value else "{}"


def _from_json(value: str | dict[str, Any]) -> dict[str, Any]:
    # Django's connection hands jsonb over as text.
    return msgspec.json.decode(value, type=dict[str, Any]) if isinstance(value, str) else value
