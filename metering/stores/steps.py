"""
Usage to bill, step by step: what each stretch between two instants adds to the reading of a meter.

One statement for any number of requests, which reads counters and roll-ups of whole days and hours, and events only
where a step begins or ends within an hour, or where the aggregation asks for them. What was charged when it happened is
left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from billing_site.kernel.periods import Period
from metering.stores.quantities import NOT_VOIDED, STANDS


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


_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_REQUESTS: Final = """
    SELECT r.position, r.account_id, r.meter_id, r.starts_at, r.ends_at, r.cuts::timestamptz[] AS cuts,
           r.keys::jsonb AS keys, r.free_events, r.free_amount, m.aggregation
    FROM unnest(%s::int[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[],
                %s::bigint[], %s::numeric[])
        AS r (position, account_id, meter_id, starts_at, ends_at, cuts, keys, free_events, free_amount)
    JOIN meters m ON m.id = r.meter_id
"""
# Whole days, whole hours and single events that make up the period, none of the first two cut by a step.
_SPANS: Final = """
    SELECT s.position, s.span, s.span_start, s.span_end
    FROM unnest(%s::int[], %s::text[], %s::timestamptz[], %s::timestamptz[]) AS s (position, span, span_start, span_end)
"""
_WITHIN: Final = """
    e.account_id = r.account_id AND e.meter_id = r.meter_id
    AND e.timestamp >= r.starts_at AND e.timestamp < r.ends_at AND NOT e.charged
"""
_OF_SPAN: Final = """
    e.account_id = r.account_id AND e.meter_id = r.meter_id
    AND e.timestamp >= s.span_start AND e.timestamp < s.span_end AND NOT e.charged
"""
_VALUES: Final = """
    ARRAY(SELECT e.dimensions ->> k.name
          FROM jsonb_array_elements_text(r.keys) WITH ORDINALITY AS k (name, place) ORDER BY k.place)
"""
# The number of cuts at or before an event is the number of its step.
_STEP: Final = "width_bucket(e.timestamp, r.cuts)"
_ROLLED_STEP: Final = "width_bucket(e.starts_at, r.cuts)"
_IN_BUCKET: Final = """
    b.account_id = e.account_id AND b.meter_id = e.meter_id AND NOT b.charged
    AND b.timestamp >= e.starts_at AND b.timestamp < e.starts_at + ('1 ' || e.span)::interval
"""
_MEMBER: Final = "coalesce(nullif(e.actor_id, ''), nullif(e.resource_id, ''))"
# Sums, numbers and maxima come from counters; "last" is one row of each step; "unique" asks who was seen first when.
_STEPS: Final = f"""
    WITH r AS MATERIALIZED ({_REQUESTS}),
    s AS MATERIALIZED ({_SPANS}),
    parts AS (
        SELECT r.position, {_ROLLED_STEP} AS step, e.total - e.charged_total AS total,
               e.events - e.charged_events AS events,
               CASE WHEN r.aggregation <> 'max' THEN NULL WHEN e.charged_events = 0 THEN e.highest ELSE
                   (SELECT max(b.value) FROM usage_events b WHERE {_IN_BUCKET} AND {NOT_VOIDED.format(e="b")})
               END AS highest
        FROM s JOIN r ON r.position = s.position
        JOIN usage_counters e ON e.account_id = r.account_id AND e.meter_id = r.meter_id AND e.span = s.span
            AND e.starts_at >= s.span_start AND e.starts_at < s.span_end
        UNION ALL
        SELECT r.position, {_STEP}, e.value, e.weight, CASE WHEN r.aggregation = 'max' AND {STANDS} THEN e.value END
        FROM s JOIN r ON r.position = s.position JOIN usage_events e ON {_OF_SPAN}
        WHERE s.span = 'event'
    ),
    steps AS MATERIALIZED (
        SELECT position, step, sum(total) AS total, sum(events)::bigint AS events, max(highest) AS highest
        FROM parts GROUP BY position, step
    ),
    seen AS (
        SELECT m.position, width_bucket(m.first_at, r.cuts) AS step, count(*) AS members
        FROM (
            SELECT r.position, min(e.timestamp) AS first_at
            FROM r JOIN usage_events e ON {_WITHIN}
            WHERE r.aggregation = 'unique' AND {_MEMBER} IS NOT NULL AND {STANDS}
            GROUP BY r.position, {_MEMBER}
        ) m JOIN r ON r.position = m.position
        GROUP BY 1, 2
    )
    SELECT g.position, g.step,
           CASE r.aggregation
               WHEN 'count' THEN g.events
               WHEN 'max' THEN g.highest
               WHEN 'unique' THEN coalesce(seen.members, 0)
               WHEN 'last' THEN (
                   SELECT e.value FROM usage_events e
                   WHERE {_WITHIN} AND {STANDS} AND e.timestamp < r.cuts[g.step + 1]
                     AND e.timestamp >= CASE WHEN g.step = 0 THEN r.starts_at ELSE r.cuts[g.step] END
                   ORDER BY e.timestamp DESC, e.id DESC LIMIT 1)
               ELSE g.total
           END,
           g.events
    FROM steps g JOIN r ON r.position = g.position
    LEFT JOIN seen ON seen.position = g.position AND seen.step = g.step
    WHERE g.events > 0
    ORDER BY 1, 2
"""  # noqa: S608 - constants of the package
# From roll-ups, unless one was made before its meter declared all of the keys: then they do not know, but events do.
_DIVIDED: Final = f"""
    WITH r AS MATERIALIZED ({_REQUESTS}),
    s AS MATERIALIZED ({_SPANS}),
    rolled AS MATERIALIZED (
        SELECT r.position, {_ROLLED_STEP} AS step, e.dimension_set, e.dimensions, sum(e.total) AS total,
               sum(e.events) AS events
        FROM s JOIN r ON r.position = s.position
        JOIN usage_rollups e ON e.account_id = r.account_id AND e.meter_id = r.meter_id AND e.span = s.span
            AND e.starts_at >= s.span_start AND e.starts_at < s.span_end AND NOT e.charged
        GROUP BY 1, 2, 3, 4
    ),
    sets AS MATERIALIZED (
        SELECT e.position, e.dimension_set, {_VALUES} AS named,
               e.dimensions ?& ARRAY(SELECT jsonb_array_elements_text(r.keys)) AS knows
        FROM (SELECT DISTINCT position, dimension_set, dimensions FROM rolled) e JOIN r ON r.position = e.position
    ),
    ignorant AS MATERIALIZED (SELECT position FROM sets GROUP BY position HAVING NOT bool_and(knows)),
    parts AS (
        SELECT e.position, e.step, d.named, e.total, e.events
        FROM rolled e JOIN sets d ON d.position = e.position AND d.dimension_set = e.dimension_set
        WHERE e.position NOT IN (SELECT position FROM ignorant)
        UNION ALL
        SELECT r.position, {_STEP}, {_VALUES}, e.value, e.weight
        FROM s JOIN r ON r.position = s.position JOIN usage_events e ON {_OF_SPAN}
        WHERE s.span = 'event' AND r.position NOT IN (SELECT position FROM ignorant)
        UNION ALL
        SELECT r.position, {_STEP}, {_VALUES}, e.value, e.weight
        FROM r JOIN usage_events e ON {_WITHIN}
        WHERE r.position IN (SELECT position FROM ignorant)
    )
    SELECT p.position, p.step, CASE r.aggregation WHEN 'count' THEN sum(p.events) ELSE sum(p.total) END,
           sum(p.events)::bigint, p.named
    FROM parts p JOIN r ON r.position = p.position
    GROUP BY p.position, r.aggregation, p.step, p.named
    HAVING sum(p.events) > 0
    ORDER BY 1, 2
"""  # noqa: S608 - constants of the package
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
        asked = [EventStepRequest(requests[index]) for index in places]
        values = [*_bind(places, asked), *_bind_spans(places, requests)]
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            for position, step, quantity, events, *named in cursor.fetchall():
                names = tuple(named[0]) if named else ()
                found[position].append(StepQuantity(step, Decimal(quantity), events, names))
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


def _bind_spans(places: Sequence[int], requests: Sequence[StepRequest]) -> list[list[Any]]:
    spans = [(place, *span) for place in places for span in divide(requests[place])]
    return [list(column) for column in zip(*spans, strict=True)] if spans else [[], [], [], []]


def divide(request: StepRequest) -> list[tuple[str, datetime, datetime]]:
    """
    Return the spans that make up the period, in order: whole UTC days, whole hours, and `event` for what is left.

    Each step is divided by itself, so that no day and no hour lies in two; neighbours of one kind become one.
    """
    period = request.period
    bounds = [period.start, *(cut for cut in request.cuts if period.start < cut < period.end), period.end]
    found: list[tuple[str, datetime, datetime]] = []
    for start, end in pairwise(bounds):
        for span, first, last in _divide_step(start, end):
            if found and found[-1][0] == span:
                found[-1] = (span, found[-1][1], last)
            else:
                found.append((span, first, last))
    return found


def _divide_step(start: datetime, end: datetime) -> Iterator[tuple[str, datetime, datetime]]:
    first_hour, last_hour = _round_up(start, _HOUR), _round_down(end, _HOUR)
    if first_hour >= last_hour:
        yield "event", start, end
        return
    first_day, last_day = _round_up(first_hour, _DAY), _round_down(last_hour, _DAY)
    parts = [("event", start, first_hour)]
    if first_day < last_day:
        parts += [("hour", first_hour, first_day), ("day", first_day, last_day), ("hour", last_day, last_hour)]
    else:
        parts += [("hour", first_hour, last_hour)]
    yield from (part for part in [*parts, ("event", last_hour, end)] if part[1] < part[2])


def _round_down(moment: datetime, unit: timedelta) -> datetime:
    return moment - (moment - _EPOCH) % unit


def _round_up(moment: datetime, unit: timedelta) -> datetime:
    return moment + (_EPOCH - moment) % unit
