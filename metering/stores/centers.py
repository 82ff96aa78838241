"""Usage behind a quantity by cost center: what the period cost of a meter is split by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection

from billing_site.kernel.periods import Period
from metering.models import NO_CENTER
from metering.stores.quantities import AGGREGATED, EDGES, SPANS, STANDS


@dataclass(frozen=True, slots=True)
class CenterRequest:
    """
    The usage of a meter by an account in a half-open period, to be divided by cost center.

    Without what was charged when it happened: that is on no bill.
    """

    account_id: UUID
    meter_id: UUID
    period: Period


class CenterQuantity(NamedTuple):
    """What the events of one center come to by the meter's own aggregation; None: those that name no center."""

    center_id: UUID | None
    quantity: Decimal
    event_count: int


# Sums come from roll-ups; "last" and "unique" read the events.
_CENTERS: Final = f"""
    WITH asked AS MATERIALIZED (
        SELECT r.*, m.aggregation,
               least(date_trunc('hour', r.starts_at + interval '1 hour' - interval '1 microsecond', 'UTC'), r.ends_at)
                   AS first_hour,
               date_trunc('hour', r.ends_at, 'UTC') AS end_hour
        FROM unnest(%s::int[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[])
            AS r (position, account_id, meter_id, starts_at, ends_at)
        JOIN meters m ON m.id = r.meter_id
    ),
    requests AS MATERIALIZED (SELECT * FROM asked WHERE aggregation IN ('sum', 'count', 'max')),
    spans AS MATERIALIZED ({SPANS.format(requests="SELECT * FROM requests")}),
    edges AS MATERIALIZED ({EDGES.format(requests="SELECT * FROM requests")}),
    parts AS (
        SELECT r.position, nullif(e.cost_center_id, '{NO_CENTER}') AS center, e.total, e.events, e.highest
        FROM spans r
        JOIN usage_rollups e ON e.account_id = r.account_id AND e.meter_id = r.meter_id AND e.span = r.span
            AND e.starts_at >= r.span_start AND e.starts_at < r.span_end AND NOT e.charged
        UNION ALL
        SELECT r.position, e.cost_center_id, e.value, e.weight,
               CASE WHEN r.aggregation = 'max' AND {STANDS} THEN e.value END
        FROM edges r
        JOIN usage_events e ON e.account_id = r.account_id AND e.meter_id = r.meter_id
            AND e.timestamp >= r.span_start AND e.timestamp < r.span_end AND NOT e.charged
    ),
    centers AS (
        SELECT p.position, p.center,
               CASE r.aggregation WHEN 'count' THEN sum(p.events) WHEN 'max' THEN max(p.highest) ELSE sum(p.total) END
                   AS quantity,
               sum(p.events)::bigint AS events
        FROM parts p JOIN requests r ON r.position = p.position
        GROUP BY p.position, r.aggregation, p.center
        UNION ALL
        SELECT r.position, g.center, g.quantity, g.events
        FROM asked r CROSS JOIN LATERAL (
            SELECT e.cost_center_id AS center, {AGGREGATED} AS quantity, sum(e.weight)::bigint AS events
            FROM usage_events e CROSS JOIN (SELECT r.aggregation) m
            WHERE e.account_id = r.account_id AND e.meter_id = r.meter_id
              AND e.timestamp >= r.starts_at AND e.timestamp < r.ends_at AND NOT e.charged
            GROUP BY e.cost_center_id, m.aggregation
        ) g
        WHERE r.aggregation IN ('last', 'unique')
    )
    SELECT position, center, quantity, events FROM centers WHERE events > 0 ORDER BY 1, 2 NULLS LAST
"""  # noqa: S608 - a constant of the package


def sum_centers(requests: Sequence[CenterRequest]) -> list[list[CenterQuantity]]:
    """
    Return what each center used, for each request in the same order. One statement.

    Centers without events are left out; they come in the order they were made, usage without one last. Only what a
    meter sums or counts adds up to its quantity: an actor may be active for two centers.
    """
    found: list[list[CenterQuantity]] = [[] for _ in requests]
    if requests:
        with connection.cursor() as cursor:
            cursor.execute(
                _CENTERS,
                [
                    list(range(len(requests))),
                    [request.account_id for request in requests],
                    [request.meter_id for request in requests],
                    [request.period.start for request in requests],
                    [request.period.end for request in requests],
                ],
            )
            for position, center_id, quantity, events in cursor.fetchall():
                found[position].append(CenterQuantity(center_id, Decimal(quantity), events))
    return found
