"""
Usage to bill, step by step: what each stretch between two instants adds to the reading of a meter.

One statement for any number of requests, whatever the number of events. What was charged when it happened is left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from billing_site.kernel.periods import Period
from metering.stores.quantities import STANDS


@dataclass(frozen=True, slots=True)
class StepRequest:
    """
    The usage of a meter in a half-open period, cut into steps: step k ends before `cuts[k]`.

    `cuts` ascend and the last is not before the end of the period. `dimensions` divide each step by their values.
    """

    account_id: UUID
    meter_id: UUID
    period: Period
    cuts: tuple[datetime, ...]
    dimensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventStepRequest:
    """
    As `StepRequest`, for a price that counts event by event and has a free allowance for the first of them.

    The allowance lasts for at most `free_events` events (None: any number) and `free_amount` of their values (None: any
    amount), for each set of dimension values by itself. Without an allowance `free_events` is zero.
    """

    request: StepRequest
    free_events: int | None = 0
    free_amount: Decimal | None = None


class StepQuantity(NamedTuple):
    """
    What step number `step` adds, and the events behind it.

    For a meter that sums or counts the quantity of the step; for `max` the highest, for `last` the last value in it;
    for `unique` those who were not seen in an earlier step.
    """

    step: int
    quantity: Decimal
    event_count: int
    values: tuple[str | None, ...] = ()


class StepEvents(NamedTuple):
    """
    `times` events of a step with the same value, price and dimension values.

    With `place`, a single event that a free allowance may cover: its place among all events of the request in order of
    time, then id. Without one it is certain that the allowance was used up before.
    """

    step: int
    place: int | None
    value: Decimal
    unit_amount: str | None
    values: tuple[str | None, ...]
    times: int


_REQUESTS: Final = """
    SELECT r.position, r.account_id, r.meter_id, r.starts_at, r.ends_at, r.cuts::timestamptz[] AS cuts,
           r.keys::jsonb AS keys, r.free_events, r.free_amount, m.aggregation
    FROM unnest(%s::int[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[],
                %s::bigint[], %s::numeric[])
        AS r (position, account_id, meter_id, starts_at, ends_at, cuts, keys, free_events, free_amount)
    JOIN meters m ON m.id = r.meter_id
"""
_WITHIN: Final = """
    e.account_id = r.account_id AND e.meter_id = r.meter_id
    AND e.timestamp >= r.starts_at AND e.timestamp < r.ends_at AND NOT e.charged
"""
_VALUES: Final = """
    ARRAY(SELECT e.dimensions ->> k.name
          FROM jsonb_array_elements_text(r.keys) WITH ORDINALITY AS k (name, place) ORDER BY k.place)
"""
# The number of cuts at or before an event is the number of its step.
_STEP: Final = "width_bucket(e.timestamp, r.cuts)"
_STEPS: Final = f"""
    WITH r AS MATERIALIZED ({_REQUESTS})
    SELECT r.position, g.step, CASE r.aggregation WHEN 'count' THEN g.events ELSE g.total END, g.events
    FROM r CROSS JOIN LATERAL (
        SELECT {_STEP} AS step, sum(e.weight) AS events, sum(e.value) AS total
        FROM usage_events e WHERE {_WITHIN} GROUP BY 1
    ) g
    WHERE r.aggregation IN ('sum', 'count')
    UNION ALL
    SELECT r.position, g.step, g.highest, g.events
    FROM r CROSS JOIN LATERAL (
        SELECT {_STEP} AS step, count(*) AS events, max(e.value) AS highest
        FROM usage_events e WHERE {_WITHIN} AND {STANDS} GROUP BY 1
    ) g
    WHERE r.aggregation = 'max'
    UNION ALL
    SELECT r.position, g.step, g.quantity, g.events
    FROM r CROSS JOIN LATERAL (
        SELECT {_STEP} AS step, (array_agg(e.value ORDER BY e.timestamp DESC, e.id DESC))[1] AS quantity,
               count(*) AS events
        FROM usage_events e WHERE {_WITHIN} AND {STANDS} GROUP BY 1
    ) g
    WHERE r.aggregation = 'last'
    UNION ALL
    SELECT r.position, g.step, g.quantity, g.events
    FROM r CROSS JOIN LATERAL (
        SELECT s.step, count(*) FILTER (WHERE s.member IS NOT NULL AND s.place = 1) AS quantity, count(*) AS events
        FROM (
            SELECT {_STEP} AS step, m.member,
                   row_number() OVER (PARTITION BY m.member ORDER BY e.timestamp, e.id) AS place
            FROM usage_events e
            CROSS JOIN LATERAL (SELECT coalesce(nullif(e.actor_id, ''), nullif(e.resource_id, '')) AS member) m
            WHERE {_WITHIN} AND {STANDS}
        ) s
        GROUP BY s.step
    ) g
    WHERE r.aggregation = 'unique'
    ORDER BY 1, 2
"""  # noqa: S608 - constants of this module
_DIVIDED: Final = f"""
    WITH r AS MATERIALIZED ({_REQUESTS})
    SELECT r.position, g.step, CASE r.aggregation WHEN 'count' THEN g.events ELSE g.total END, g.events, g.named
    FROM r CROSS JOIN LATERAL (
        SELECT {_STEP} AS step, {_VALUES} AS named, sum(e.value) AS total, sum(e.weight) AS events
        FROM usage_events e WHERE {_WITHIN} GROUP BY 1, 2
    ) g
    ORDER BY 1, 2
"""  # noqa: S608 - constants of this module
# Only a request with an allowance looks at the order of its events.
_EVENTS: Final = f"""
    WITH r AS MATERIALIZED ({_REQUESTS})
    SELECT r.position, {_STEP}, NULL::bigint, e.value, e.metadata ->> 'unit_amount', {_VALUES}, count(*)
    FROM r JOIN usage_events e ON {_WITHIN}
    WHERE r.free_events = 0 AND {STANDS}
    GROUP BY 1, 2, 4, 5, 6
    UNION ALL
    SELECT o.position, o.step, CASE WHEN o.may_be_free THEN o.place END, o.value, o.unit_amount, o.named, count(*)
    FROM (
        SELECT n.*, coalesce(n.nth <= n.free_events, true) AND coalesce(n.before < n.free_amount, true) AS may_be_free
        FROM (
            SELECT r.position, {_STEP} AS step, e.value, e.metadata ->> 'unit_amount' AS unit_amount, k.named,
                   r.free_events, r.free_amount,
                   row_number() OVER (PARTITION BY r.position ORDER BY e.timestamp, e.id) AS place,
                   row_number() OVER part AS nth, sum(e.value) OVER part - e.value AS before
            FROM r JOIN usage_events e ON {_WITHIN}
            CROSS JOIN LATERAL (SELECT {_VALUES} AS named) k
            WHERE r.free_events IS DISTINCT FROM 0 AND {STANDS}
            WINDOW part AS (PARTITION BY r.position, k.named ORDER BY e.timestamp, e.id ROWS UNBOUNDED PRECEDING)
        ) n
    ) o
    GROUP BY 1, 2, 3, 4, 5, 6
    ORDER BY 1, 2, 3 NULLS LAST, 4, 5, 6
"""  # noqa: S608 - constants of this module


def sum_steps(requests: Sequence[StepRequest]) -> list[list[StepQuantity]]:
    """
    Return what each step of each request adds, ascending; steps without events are left out. At most two statements.

    Requests with dimensions come one row per set of their values; their meters sum or count.
    """
    found: list[list[StepQuantity]] = [[] for _ in requests]
    for statement, places in (
        (_STEPS, [index for index, each in enumerate(requests) if not each.dimensions]),
        (_DIVIDED, [index for index, each in enumerate(requests) if each.dimensions]),
    ):
        if not places:
            continue
        with connection.cursor() as cursor:
            cursor.execute(statement, _bind(places, [EventStepRequest(requests[index]) for index in places]))
            for position, step, quantity, events, *named in cursor.fetchall():
                values = tuple(named[0]) if named else ()
                found[position].append(StepQuantity(step, Decimal(quantity), events, values))
    return found


def list_event_steps(requests: Sequence[EventStepRequest]) -> list[list[StepEvents]]:
    """
    Return the events of each request by step, first what may be free, in order of time. One statement.

    Equal events that no allowance covers are one row for each step.
    """
    found: list[list[StepEvents]] = [[] for _ in requests]
    if requests:
        with connection.cursor() as cursor:
            cursor.execute(_EVENTS, _bind(range(len(requests)), requests))
            for position, step, place, value, unit_amount, named, times in cursor.fetchall():
                found[position].append(StepEvents(step, place, value, unit_amount, tuple(named), times))
    return found


def _bind(places: Sequence[int], asked: Sequence[EventStepRequest]) -> list[list[Any]]:
    requests = [each.request for each in asked]
    return [
        list(places),
        [each.account_id for each in requests],
        [each.meter_id for each in requests],
        [each.period.start for each in requests],
        [each.period.end for each in requests],
        [f"{{{','.join(cut.isoformat() for cut in each.cuts)}}}" for each in requests],
        [json.dumps(each.dimensions) for each in requests],
        [each.free_events for each in asked],
        [each.free_amount for each in asked],
    ]
