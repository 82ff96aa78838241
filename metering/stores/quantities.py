"""Quantities of meters in periods, by the meter's own aggregation, for thousands of requests in one statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from django.db import connection

from billing_site.kernel.periods import Period
from billing_site.kernel.statements import prepared_cursor

Bucket = Literal["day", "hour"]
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class QuantityRequest:
    """
    How much of a meter an account used in a half-open period.

    With `to_bill`, without what was charged when it happened.
    """

    account_id: UUID
    meter_id: UUID
    period: Period
    to_bill: bool = False


@dataclass(frozen=True, slots=True)
class Quantity:
    """
    What a meter says: the aggregated quantity in its unit, and the events behind it.

    `last_event_at` is the newest timestamp, `last_recorded_at` the newest moment one of them was recorded.
    """

    quantity: Decimal = ZERO
    event_count: int = 0
    last_event_at: datetime | None = None
    last_recorded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BucketQuantity:
    """One meter in one UTC day or hour."""

    meter_id: UUID
    start: datetime
    quantity: Decimal
    event_count: int


@dataclass(frozen=True, slots=True)
class MeterTotal:
    """One meter over many accounts."""

    quantity: Decimal
    event_count: int


NOT_VOIDED = """
    {e}.weight = 1 AND NOT EXISTS (
        SELECT FROM usage_events v
        WHERE v.account_id = {e}.account_id AND v.meter_id = {e}.meter_id AND v.timestamp = {e}.timestamp
          AND v.corrects = {e}.id
    )
"""
STANDS: Final = NOT_VOIDED.format(e="e")
"""Of the events `e`: those that count, neither voided nor a voiding. Sums and numbers of events need no such care."""

# A period is whole days, whole hours before and after them, and what is left at its edges, which is read from events.
REQUESTS: Final = """
    SELECT r.*, m.aggregation, m.dimensions AS declared,
           least(date_trunc('hour', r.starts_at + interval '1 hour' - interval '1 microsecond', 'UTC'), r.ends_at)
               AS first_hour,
           date_trunc('hour', r.ends_at, 'UTC') AS end_hour
    FROM unnest(%s::int[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::bool[])
        AS r (position, account_id, meter_id, starts_at, ends_at, to_bill)
    JOIN meters m ON m.id = r.meter_id
"""
SPANS: Final = """
    SELECT r.*, d.first_day, d.end_day, s.span, s.span_start, s.span_end
    FROM ({requests}) r
    CROSS JOIN LATERAL (
        SELECT date_trunc('day', r.first_hour + interval '1 day' - interval '1 microsecond', 'UTC') AS first_day,
               date_trunc('day', r.end_hour, 'UTC') AS end_day
    ) d
    CROSS JOIN LATERAL (
        SELECT 'day' AS span, d.first_day AS span_start, d.end_day AS span_end WHERE d.first_day < d.end_day
        UNION ALL
        SELECT 'hour', r.first_hour, CASE WHEN d.first_day < d.end_day THEN d.first_day ELSE r.end_hour END
        UNION ALL
        SELECT 'hour', d.end_day, r.end_hour WHERE d.first_day < d.end_day
    ) s
    WHERE s.span_start < s.span_end
"""
# The same with whole months of the calendar where there are any: a month that closes is one row of counters.
_COUNTED_SPANS: Final = """
    SELECT s.position, s.account_id, s.meter_id, s.to_bill, p.span, p.span_start, p.span_end
    FROM spans s
    CROSS JOIN LATERAL (
        SELECT date_trunc('month', s.span_start + interval '1 month' - interval '1 microsecond', 'UTC') AS first_month,
               date_trunc('month', s.span_end, 'UTC') AS end_month
    ) m
    CROSS JOIN LATERAL (
        SELECT s.span, s.span_start, s.span_end WHERE s.span <> 'day' OR m.first_month >= m.end_month
        UNION ALL
        SELECT 'month', m.first_month, m.end_month WHERE s.span = 'day' AND m.first_month < m.end_month
        UNION ALL
        SELECT 'day', s.span_start, m.first_month WHERE s.span = 'day' AND m.first_month < m.end_month
        UNION ALL
        SELECT 'day', m.end_month, s.span_end WHERE s.span = 'day' AND m.first_month < m.end_month
    ) p (span, span_start, span_end)
    WHERE p.span_start < p.span_end
"""
EDGES: Final = """
    SELECT r.*, s.span_start, s.span_end
    FROM ({requests}) r
    CROSS JOIN LATERAL (
        SELECT r.starts_at AS span_start, r.first_hour AS span_end
        UNION ALL
        SELECT r.end_hour, r.ends_at WHERE r.first_hour <= r.end_hour
    ) s
    WHERE s.span_start < s.span_end
"""

_OF_REQUEST: Final = """
    e.account_id = r.account_id AND e.meter_id = r.meter_id
    AND e.timestamp >= r.starts_at AND e.timestamp < r.ends_at AND NOT (e.charged AND r.to_bill)
"""
_MEMBER: Final = "coalesce(nullif(e.actor_id, ''), nullif(e.resource_id, ''))"
_EDGE_SUMS: Final = f"""
    UNION ALL
    SELECT r.position, e.value, e.weight, 0, CASE WHEN r.aggregation = 'max' AND {STANDS} THEN e.value END,
           e.timestamp, e.recorded_at
    FROM edges r
    JOIN usage_events e ON e.account_id = r.account_id AND e.meter_id = r.meter_id
        AND e.timestamp >= r.span_start AND e.timestamp < r.span_end AND NOT (e.charged AND r.to_bill)
"""  # noqa: S608 - a constant of this module

# "last" is one row of the events; "unique" is who was active on whole days, and the events at the edges. It counts who
# acted, else what was acted on; an event that names neither counts nothing.
_SUM_QUANTITIES: Final = f"""
    WITH requests AS MATERIALIZED ({REQUESTS}),
    spans AS MATERIALIZED ({SPANS.format(requests="SELECT * FROM requests")}),
    edges AS MATERIALIZED ({EDGES.format(requests="SELECT * FROM requests")}),
    sums AS MATERIALIZED (
        SELECT position, sum(total) AS total, sum(events)::bigint AS events, sum(charged_events) AS left_out,
               max(highest) AS highest, max(last_event_at) AS last_event_at, max(last_recorded_at) AS last_recorded_at
        FROM (
            SELECT r.position, c.total, c.events, c.charged_events, c.highest, c.last_event_at, c.last_recorded_at
            FROM ({_COUNTED_SPANS}) r
            CROSS JOIN LATERAL (
                SELECT sum(c.total - CASE WHEN r.to_bill THEN c.charged_total ELSE 0 END) AS total,
                       sum(c.events - CASE WHEN r.to_bill THEN c.charged_events ELSE 0 END) AS events,
                       sum(CASE WHEN r.to_bill THEN c.charged_events ELSE 0 END) AS charged_events,
                       max(c.highest) AS highest, max(c.last_event_at) AS last_event_at,
                       max(c.last_recorded_at) AS last_recorded_at
                FROM usage_counters c
                WHERE c.account_id = r.account_id AND c.meter_id = r.meter_id AND c.span = r.span
                  AND c.starts_at >= r.span_start AND c.starts_at < r.span_end
            ) c
            WHERE c.events IS NOT NULL
            {{edges}}
        ) parts
        GROUP BY position
    )
    SELECT r.position,
           CASE r.aggregation
               WHEN 'sum' THEN s.total
               WHEN 'count' THEN s.events
               WHEN 'max' THEN CASE WHEN s.left_out = 0 THEN s.highest ELSE
                   (SELECT max(e.value) FROM usage_events e WHERE {_OF_REQUEST} AND {STANDS}) END
               WHEN 'last' THEN (SELECT e.value FROM usage_events e WHERE {_OF_REQUEST} AND {STANDS}
                                 ORDER BY e.timestamp DESC, e.id DESC LIMIT 1)
               ELSE (SELECT count(DISTINCT member) FROM (
                        SELECT m.member FROM spans d
                        JOIN usage_members m ON m.account_id = d.account_id AND m.meter_id = d.meter_id
                            AND m.day >= (d.span_start AT TIME ZONE 'UTC')::date
                            AND m.day < (d.span_end AT TIME ZONE 'UTC')::date
                        WHERE d.position = r.position AND d.span = 'day'
                        UNION ALL
                        SELECT {_MEMBER} FROM spans d
                        JOIN usage_events e ON e.account_id = d.account_id AND e.meter_id = d.meter_id
                            AND e.timestamp >= d.span_start AND e.timestamp < d.span_end
                        WHERE d.position = r.position AND d.span = 'hour' AND {STANDS}
                        UNION ALL
                        SELECT {_MEMBER} FROM edges d
                        JOIN usage_events e ON e.account_id = d.account_id AND e.meter_id = d.meter_id
                            AND e.timestamp >= d.span_start AND e.timestamp < d.span_end
                        WHERE d.position = r.position AND {STANDS}
                     ) members)
           END,
           s.events, s.last_event_at, s.last_recorded_at
    FROM requests r JOIN sums s ON s.position = r.position
    WHERE s.events > 0
"""  # noqa: S608 - constants of this module
_SUM_WHOLE_HOURS: Final = _SUM_QUANTITIES.format(edges="")
_SUM_ANY: Final = _SUM_QUANTITIES.format(edges=_EDGE_SUMS)

AGGREGATED: Final = f"""
    CASE m.aggregation
        WHEN 'count' THEN sum(e.weight)
        WHEN 'max' THEN max(e.value) FILTER (WHERE m.aggregation = 'max' AND {STANDS})
        WHEN 'last' THEN (array_agg(e.value ORDER BY e.timestamp DESC, e.id DESC)
                          FILTER (WHERE m.aggregation = 'last' AND {STANDS}))[1]
        WHEN 'unique' THEN count(DISTINCT {_MEMBER}) FILTER (WHERE m.aggregation = 'unique' AND {STANDS})
        ELSE sum(e.value)
    END
"""
"""The quantity of a group of events `e` by the aggregation of their meter `m`."""

# Buckets from counters; what they cannot tell ("last", "unique") from events.
_SUM_BUCKETS: Final = f"""
    SELECT * FROM (
        SELECT c.meter_id, c.starts_at,
               CASE m.aggregation WHEN 'count' THEN sum(c.events) WHEN 'max' THEN max(c.highest) ELSE sum(c.total) END
                   AS quantity,
               sum(c.events)::bigint AS events
        FROM usage_counters c JOIN meters m ON m.id = c.meter_id
        WHERE c.account_id = %(account)s AND c.meter_id = ANY(%(meters)s::uuid[]) AND c.span = %(bucket)s
          AND c.starts_at >= %(start)s AND c.starts_at < %(end)s AND m.aggregation IN ('sum', 'count', 'max')
          AND %(whole)s
        GROUP BY c.meter_id, m.aggregation, c.starts_at
        UNION ALL
        SELECT e.meter_id, date_trunc(%(bucket)s, e.timestamp, 'UTC') AS starts_at, {AGGREGATED}, sum(e.weight)
        FROM usage_events e JOIN meters m ON m.id = e.meter_id
        WHERE e.account_id = %(account)s AND e.meter_id = ANY(%(meters)s::uuid[])
          AND e.timestamp >= %(start)s AND e.timestamp < %(end)s
          AND NOT (%(whole)s AND m.aggregation IN ('sum', 'count', 'max'))
        GROUP BY e.meter_id, m.aggregation, 2
    ) buckets
    WHERE events > 0
    ORDER BY meter_id, starts_at
"""  # noqa: S608 - a constant of this module

# Days, and hours at the edges; the aggregations that do not add up, and edges within an hour, from events.
_SUM_OVER_ACCOUNTS: Final = f"""
    SELECT {AGGREGATED}, sum(e.weight)
    FROM usage_events e JOIN meters m ON m.id = e.meter_id
    WHERE e.meter_id = %(meter)s AND e.timestamp >= %(start)s AND e.timestamp < %(end)s
      AND (%(org)s::text IS NULL OR e.account_id IN (SELECT id FROM accounts WHERE org_id = %(org)s))
    GROUP BY m.aggregation
"""  # noqa: S608 - a constant of this module
_SUM_COUNTERS_OVER_ACCOUNTS: Final = """
    SELECT CASE m.aggregation WHEN 'count' THEN sum(c.events) WHEN 'max' THEN max(c.highest) ELSE sum(c.total) END,
           sum(c.events)::bigint
    FROM usage_counters c JOIN meters m ON m.id = c.meter_id
    WHERE c.meter_id = %(meter)s AND m.aggregation IN ('sum', 'count', 'max')
      AND (%(org)s::text IS NULL OR c.account_id IN (SELECT id FROM accounts WHERE org_id = %(org)s))
      AND ((c.span = 'day' AND c.starts_at >= %(first_day)s AND c.starts_at < %(end_day)s)
           OR (c.span = 'hour' AND ((c.starts_at >= %(start)s AND c.starts_at < %(first_day)s)
                                    OR (c.starts_at >= %(end_day)s AND c.starts_at < %(end)s))))
    GROUP BY m.aggregation
"""


def sum_quantities(requests: Sequence[QuantityRequest]) -> dict[QuantityRequest, Quantity]:
    """
    Return the quantity of every request, zero where nothing happened.

    One statement for all of them, which reads counters of months, days and hours, and events only within an hour at the
    edge of a period and for the newest value. Periods are half-open. `last` is the newest event by timestamp, then id;
    `unique` counts distinct actors, else resources. Source: contract chapter Meters and usage.
    """
    quantities = dict.fromkeys(requests, Quantity())
    if not requests:
        return quantities
    whole = all(is_whole_hour(each.period.start) and is_whole_hour(each.period.end) for each in requests)
    with prepared_cursor() as cursor:
        cursor.execute(
            _SUM_WHOLE_HOURS if whole else _SUM_ANY,
            [
                list(range(len(requests))),
                [request.account_id for request in requests],
                [request.meter_id for request in requests],
                [request.period.start for request in requests],
                [request.period.end for request in requests],
                [request.to_bill for request in requests],
            ],
        )
        for position, quantity, events, last_event_at, last_recorded_at in cursor.fetchall():
            quantities[requests[position]] = Quantity(Decimal(quantity), events, last_event_at, last_recorded_at)
    return quantities


def is_whole_hour(moment: datetime) -> bool:
    """Tell whether a period that starts or ends here needs no look at single events."""
    return moment.minute == moment.second == moment.microsecond == 0 and moment.utcoffset() == timedelta(0)


def sum_buckets(*, account_id: UUID, meter_ids: Iterable[UUID], period: Period, bucket: Bucket) -> list[BucketQuantity]:
    """Return the quantities of an account per meter and UTC day or hour; buckets without events are left out."""
    edges = (period.start, period.end)
    whole = all(is_whole_hour(edge) and (bucket == "hour" or edge.astimezone(UTC).hour == 0) for edge in edges)
    with connection.cursor() as cursor:
        cursor.execute(
            _SUM_BUCKETS,
            {
                "account": account_id,
                "meters": list(meter_ids),
                "bucket": bucket,
                "start": period.start,
                "end": period.end,
                "whole": whole,
            },
        )
        return [
            BucketQuantity(meter_id, start, Decimal(quantity), events)
            for meter_id, start, quantity, events in cursor.fetchall()
        ]


def sum_over_accounts(*, meter_id: UUID, period: Period, org_id: str | None = None) -> MeterTotal:
    """Return what all accounts (of one organization) used of a meter, aggregated over all their events together."""
    values: dict[str, Any] = {"meter": meter_id, "org": org_id, "start": period.start, "end": period.end}
    row = None
    with connection.cursor() as cursor:
        if is_whole_hour(period.start) and is_whole_hour(period.end):
            first, last = _ceil_day(period.start), period.end.astimezone(UTC).replace(hour=0)
            days = {"first_day": min(first, period.end), "end_day": last} if first <= last else {}
            without_days = {"first_day": period.end, "end_day": period.end}
            cursor.execute(_SUM_COUNTERS_OVER_ACCOUNTS, values | (days or without_days))
            row = cursor.fetchone()
        if row is None:
            cursor.execute(_SUM_OVER_ACCOUNTS, values)
            row = cursor.fetchone()
    return MeterTotal(Decimal(row[0]), row[1]) if row and row[1] else MeterTotal(ZERO, 0)


def _ceil_day(moment: datetime) -> datetime:
    day = moment.astimezone(UTC).replace(hour=0)
    return day if day == moment else day + timedelta(days=1)
