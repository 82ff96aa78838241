"""
Usage to bill behind a quantity: by the dimensions a price names, and event by event where a price asks for it.

What was charged when it happened is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from billing_site.kernel.periods import Period
from metering.stores.quantities import EDGES, SPANS, STANDS

_CHUNK: Final = 2_000


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """The usage of a meter in a half-open period, divided by the values of these dimensions."""

    account_id: UUID
    meter_id: UUID
    period: Period
    dimensions: tuple[str, ...] = ()


class QuantityGroup(NamedTuple):
    """
    What one set of dimension values comes to. `values` stand in the order of the request, None where one is absent.

    The quantity is the number of events for a meter that counts, else the sum of their values.
    """

    values: tuple[str | None, ...]
    quantity: Decimal
    event_count: int
    last_recorded_at: datetime


class StreamedEvent(NamedTuple):
    """One event of request number `position`, in order of time, then id. `unit_amount` is text as it was sent."""

    position: int
    value: Decimal
    unit_amount: str | None
    values: tuple[str | None, ...]
    recorded_at: datetime


_REQUESTS: Final = """
    SELECT r.position, r.account_id, r.meter_id, r.starts_at, r.ends_at, r.keys::jsonb AS keys
    FROM unnest(%s::int[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::text[])
        AS r (position, account_id, meter_id, starts_at, ends_at, keys)
"""
# The dimension values in the order of the keys, null where an event does not name one.
_VALUES: Final = """
    ARRAY(SELECT e.dimensions ->> k.name
          FROM jsonb_array_elements_text(r.keys) WITH ORDINALITY AS k (name, place) ORDER BY k.place)
"""
# From roll-ups, unless one was made before its meter declared all of the keys: then they do not know, but events do.
_GROUPS: Final = f"""
    WITH asked AS MATERIALIZED ({_REQUESTS}),
    requests AS MATERIALIZED (
        SELECT a.*, m.aggregation,
               least(date_trunc('hour', a.starts_at + interval '1 hour' - interval '1 microsecond', 'UTC'), a.ends_at)
                   AS first_hour,
               date_trunc('hour', a.ends_at, 'UTC') AS end_hour
        FROM asked a JOIN meters m ON m.id = a.meter_id
    ),
    spans AS MATERIALIZED ({SPANS.format(requests="SELECT * FROM requests")}),
    edges AS MATERIALIZED ({EDGES.format(requests="SELECT * FROM requests")}),
    rolled AS MATERIALIZED (
        SELECT r.position, {_VALUES} AS dimension_values, e.total, e.events, e.last_recorded_at,
               e.dimensions ?& ARRAY(SELECT jsonb_array_elements_text(r.keys)) AS knows
        FROM spans r
        JOIN usage_rollups e ON e.account_id = r.account_id AND e.meter_id = r.meter_id AND e.span = r.span
            AND e.starts_at >= r.span_start AND e.starts_at < r.span_end AND NOT e.charged
    ),
    ignorant AS MATERIALIZED (SELECT position FROM rolled GROUP BY position HAVING NOT bool_and(knows)),
    parts AS (
        SELECT position, dimension_values, total, events, last_recorded_at
        FROM rolled WHERE position NOT IN (SELECT position FROM ignorant)
        UNION ALL
        SELECT r.position, {_VALUES}, e.value, e.weight, e.recorded_at
        FROM edges r
        JOIN usage_events e ON e.account_id = r.account_id AND e.meter_id = r.meter_id
            AND e.timestamp >= r.span_start AND e.timestamp < r.span_end AND NOT e.charged
        WHERE r.position NOT IN (SELECT position FROM ignorant)
        UNION ALL
        SELECT r.position, {_VALUES}, e.value, e.weight, e.recorded_at
        FROM requests r
        JOIN usage_events e ON e.account_id = r.account_id AND e.meter_id = r.meter_id
            AND e.timestamp >= r.starts_at AND e.timestamp < r.ends_at AND NOT e.charged
        WHERE r.position IN (SELECT position FROM ignorant)
    )
    SELECT p.position, p.dimension_values,
           CASE r.aggregation WHEN 'count' THEN sum(p.events) ELSE sum(p.total) END, sum(p.events)::bigint,
           max(p.last_recorded_at)
    FROM parts p JOIN requests r ON r.position = p.position
    GROUP BY p.position, r.aggregation, p.dimension_values
    HAVING sum(p.events) > 0
    ORDER BY p.position, p.dimension_values
"""  # noqa: S608 - constants of this module
_EVENTS: Final = f"""
    SELECT r.position, e.value, e.metadata ->> 'unit_amount', {_VALUES}, e.recorded_at
    FROM ({_REQUESTS}) r
    JOIN usage_events e ON e.account_id = r.account_id AND e.meter_id = r.meter_id
        AND e.timestamp >= r.starts_at AND e.timestamp < r.ends_at AND NOT e.charged
    WHERE {STANDS}
    ORDER BY r.position, e.timestamp, e.id
"""  # noqa: S608 - constants of this module


def sum_groups(requests: Sequence[GroupRequest]) -> list[list[QuantityGroup]]:
    """Return the groups of each request, in the same order; nothing where nothing happened. One statement."""
    found: list[list[QuantityGroup]] = [[] for _ in requests]
    if requests:
        with connection.cursor() as cursor:
            cursor.execute(_GROUPS, _bind(requests))
            for position, values, quantity, events, recorded_at in cursor.fetchall():
                found[position].append(QuantityGroup(tuple(values), Decimal(quantity), events, recorded_at))
    return found


def stream_events(requests: Sequence[GroupRequest]) -> Iterator[StreamedEvent]:
    """Yield the events of all requests, those of one together, in order of time. One statement, never all at once."""
    if not requests:
        return
    with connection.chunked_cursor() as cursor:
        cursor.execute(_EVENTS, _bind(requests))
        while rows := cursor.fetchmany(_CHUNK):
            for position, value, unit_amount, values, recorded_at in rows:
                yield StreamedEvent(position, value, unit_amount, tuple(values), recorded_at)


def _bind(requests: Sequence[GroupRequest]) -> list[list[Any]]:
    return [
        list(range(len(requests))),
        [request.account_id for request in requests],
        [request.meter_id for request in requests],
        [request.period.start for request in requests],
        [request.period.end for request in requests],
        [json.dumps(request.dimensions) for request in requests],
    ]
