"""Quantities of meters in periods, by the meter's own aggregation, for thousands of requests in one statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from django.db import connection

from billing_site.kernel.periods import Period

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


# Each aggregation reads what it needs and no more: sums come from the index alone, "last" is one row, "unique" sorts.
# "unique" counts who acted, else what was acted on; an event that names neither counts nothing.
_SUM_QUANTITIES = """
    WITH requests AS MATERIALIZED (
        SELECT r.position, r.account_id, r.meter_id, r.starts_at, r.ends_at, r.to_bill, m.aggregation
        FROM unnest(%s::int[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::bool[])
            AS r (position, account_id, meter_id, starts_at, ends_at, to_bill)
        JOIN meters m ON m.id = r.meter_id
    )
    SELECT r.position,
           CASE r.aggregation WHEN 'count' THEN e.events WHEN 'max' THEN e.highest ELSE e.total END,
           e.events, e.last_event_at, e.last_recorded_at
    FROM requests r
    CROSS JOIN LATERAL (
        SELECT count(*) AS events, sum(value) AS total, max(value) AS highest,
               max(timestamp) AS last_event_at, max(recorded_at) AS last_recorded_at
        FROM usage_events
        WHERE account_id = r.account_id AND meter_id = r.meter_id
          AND timestamp >= r.starts_at AND timestamp < r.ends_at AND NOT (charged AND r.to_bill)
    ) e
    WHERE r.aggregation IN ('sum', 'count', 'max') AND e.events > 0
    UNION ALL
    SELECT r.position, newest.value, e.events, e.last_event_at, e.last_recorded_at
    FROM requests r
    CROSS JOIN LATERAL (
        SELECT value FROM usage_events
        WHERE account_id = r.account_id AND meter_id = r.meter_id
          AND timestamp >= r.starts_at AND timestamp < r.ends_at AND NOT (charged AND r.to_bill)
        ORDER BY timestamp DESC, id DESC LIMIT 1
    ) newest
    CROSS JOIN LATERAL (
        SELECT count(*) AS events, max(timestamp) AS last_event_at, max(recorded_at) AS last_recorded_at
        FROM usage_events
        WHERE account_id = r.account_id AND meter_id = r.meter_id
          AND timestamp >= r.starts_at AND timestamp < r.ends_at AND NOT (charged AND r.to_bill)
    ) e
    WHERE r.aggregation = 'last'
    UNION ALL
    SELECT r.position, e.members, e.events, e.last_event_at, e.last_recorded_at
    FROM requests r
    CROSS JOIN LATERAL (
        SELECT count(DISTINCT coalesce(nullif(actor_id, ''), nullif(resource_id, ''))) AS members,
               count(*) AS events, max(timestamp) AS last_event_at, max(recorded_at) AS last_recorded_at
        FROM usage_events
        WHERE account_id = r.account_id AND meter_id = r.meter_id
          AND timestamp >= r.starts_at AND timestamp < r.ends_at AND NOT (charged AND r.to_bill)
    ) e
    WHERE r.aggregation = 'unique' AND e.events > 0
"""

AGGREGATED = """
    CASE m.aggregation
        WHEN 'count' THEN count(*)
        WHEN 'max' THEN max(e.value)
        WHEN 'last' THEN (array_agg(e.value ORDER BY e.timestamp DESC, e.id DESC)
                          FILTER (WHERE m.aggregation = 'last'))[1]
        WHEN 'unique' THEN count(DISTINCT coalesce(nullif(e.actor_id, ''), nullif(e.resource_id, '')))
                           FILTER (WHERE m.aggregation = 'unique')
        ELSE sum(e.value)
    END
"""

_SUM_BUCKETS = f"""
    SELECT e.meter_id, date_trunc(%s, e.timestamp, 'UTC') AS starts_at, {AGGREGATED}, count(*)
    FROM usage_events e JOIN meters m ON m.id = e.meter_id
    WHERE e.account_id = %s AND e.meter_id = ANY(%s::uuid[]) AND e.timestamp >= %s AND e.timestamp < %s
    GROUP BY e.meter_id, m.aggregation, starts_at
    ORDER BY e.meter_id, starts_at
"""  # noqa: S608 - a constant of this module

_SUM_OVER_ACCOUNTS = f"""
    SELECT {AGGREGATED}, count(*)
    FROM usage_events e JOIN meters m ON m.id = e.meter_id
    WHERE e.meter_id = %s AND e.timestamp >= %s AND e.timestamp < %s
      AND (%s::text IS NULL OR e.account_id IN (SELECT id FROM accounts WHERE org_id = %s))
    GROUP BY m.aggregation
"""  # noqa: S608 - a constant of this module


def sum_quantities(requests: Sequence[QuantityRequest]) -> dict[QuantityRequest, Quantity]:
    """
    Return the quantity of every request, zero where nothing happened.

    One statement for all of them. Periods are half-open. `last` is the newest event by timestamp, then id; `unique`
    counts distinct actors, else resources. Source: contract chapter Meters and usage.
    """
    quantities = dict.fromkeys(requests, Quantity())
    if not requests:
        return quantities
    with connection.cursor() as cursor:
        cursor.execute(
            _SUM_QUANTITIES,
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


def sum_buckets(*, account_id: UUID, meter_ids: Iterable[UUID], period: Period, bucket: Bucket) -> list[BucketQuantity]:
    """Return the quantities of an account per meter and UTC day or hour; buckets without events are left out."""
    with connection.cursor() as cursor:
        cursor.execute(_SUM_BUCKETS, [bucket, account_id, list(meter_ids), period.start, period.end])
        return [
            BucketQuantity(meter_id, start, Decimal(quantity), events)
            for meter_id, start, quantity, events in cursor.fetchall()
        ]


def sum_over_accounts(*, meter_id: UUID, period: Period, org_id: str | None = None) -> MeterTotal:
    """Return what all accounts (of one organization) used of a meter, aggregated over all their events together."""
    with connection.cursor() as cursor:
        cursor.execute(_SUM_OVER_ACCOUNTS, [meter_id, period.start, period.end, org_id, org_id])
        row = cursor.fetchone()
    return MeterTotal(Decimal(row[0]), row[1]) if row else MeterTotal(ZERO, 0)
