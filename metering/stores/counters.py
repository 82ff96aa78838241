"""Counters for quotas: what an account used of a meter in a UTC calendar window, whatever the number of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from django.db import connection

from billing_site.kernel.statements import prepared_cursor

Window = Literal["minute", "hour", "day", "week", "month", "total"]
ZERO: Final = Decimal(0)

_READ: Final = """
    SELECT r.position, c.total, c.events, c.highest
    FROM unnest(%s::int[], %s::uuid[], %s::uuid[], %s::text[], %s::timestamptz[])
        AS r (position, account_id, meter_id, span, starts_at)
    CROSS JOIN LATERAL (
        SELECT sum(total) AS total, sum(events)::bigint AS events, max(highest) AS highest
        FROM usage_counters
        WHERE account_id = r.account_id AND meter_id = r.meter_id AND span = r.span AND starts_at = r.starts_at
    ) c
    WHERE c.events IS NOT NULL
"""

_CHUNK: Final = 5_000
# A row that a writer is adding to at the moment is left to the next run: nobody waits for the other.
_DELETE_MINUTES: Final = """
    DELETE FROM usage_counters c USING (
        SELECT account_id, meter_id, span, starts_at, shard FROM usage_counters
        WHERE span = 'minute' AND starts_at < %s
        LIMIT %s FOR UPDATE SKIP LOCKED
    ) old
    WHERE (c.account_id, c.meter_id, c.span, c.starts_at, c.shard)
        = (old.account_id, old.meter_id, old.span, old.starts_at, old.shard)
"""


@dataclass(frozen=True, slots=True)
class CounterRequest:
    """
    What an account used of a meter in the bucket of `window` that starts at `starts_at` (UTC; `total`: 1970).

    Minutes are counted only of events that arrived within ten minutes of when they happened.
    """

    account_id: UUID
    meter_id: UUID
    window: Window
    starts_at: datetime


@dataclass(frozen=True, slots=True)
class CounterUse:
    """The sum of the values, the number of events, and the highest value."""

    total: Decimal = ZERO
    events: int = 0
    highest: Decimal = ZERO


def read_counters(requests: Sequence[CounterRequest]) -> dict[CounterRequest, CounterUse]:
    """Return every counter, zero where nothing happened. One statement; a few rows for each, however many events."""
    uses = dict.fromkeys(requests, CounterUse())
    if not requests:
        return uses
    with prepared_cursor() as cursor:
        cursor.execute(
            _READ,
            [
                list(range(len(requests))),
                [request.account_id for request in requests],
                [request.meter_id for request in requests],
                [request.window for request in requests],
                [request.starts_at for request in requests],
            ],
        )
        for position, total, events, highest in cursor.fetchall():
            uses[requests[position]] = CounterUse(total, events, highest)
    return uses


def delete_minutes_before(moment: datetime, *, chunks: int = 200) -> int:
    """
    Delete counters of minutes that began before `moment`, some thousands at a time, and return how many rows.

    At most `chunks` times; what is left waits for the next call.
    """
    total = 0
    with connection.cursor() as cursor:
        for _ in range(chunks):
            cursor.execute(_DELETE_MINUTES, [moment, _CHUNK])
            total += cursor.rowcount
            if cursor.rowcount < _CHUNK:
                break
    return total
