"""Usage behind a quantity by cost center: what the period cost of a meter is split by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection

from billing_site.kernel.periods import Period
from metering.stores.quantities import AGGREGATED


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


# Sums come from the index alone; "last" and "unique" read the events.
_CENTERS: Final = f"""
    WITH r AS MATERIALIZED (
        SELECT r.position, r.account_id, r.meter_id, r.starts_at, r.ends_at, m.aggregation
        FROM unnest(%s::int[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[])
            AS r (position, account_id, meter_id, starts_at, ends_at)
        JOIN meters m ON m.id = r.meter_id
    )
    SELECT r.position, g.cost_center_id,
           CASE r.aggregation WHEN 'count' THEN g.events WHEN 'max' THEN g.highest ELSE g.total END, g.events
    FROM r CROSS JOIN LATERAL (
        SELECT cost_center_id, sum(value) AS total, max(value) AS highest, count(*) AS events
        FROM usage_events
        WHERE account_id = r.account_id AND meter_id = r.meter_id
          AND timestamp >= r.starts_at AND timestamp < r.ends_at AND NOT charged
        GROUP BY cost_center_id
    ) g
    WHERE r.aggregation IN ('sum', 'count', 'max')
    UNION ALL
    SELECT r.position, g.cost_center_id, g.quantity, g.events
    FROM r AS r CROSS JOIN LATERAL (
        SELECT e.cost_center_id, {AGGREGATED} AS quantity, count(*) AS events
        FROM usage_events e CROSS JOIN (SELECT r.aggregation) m
        WHERE e.account_id = r.account_id AND e.meter_id = r.meter_id
          AND e.timestamp >= r.starts_at AND e.timestamp < r.ends_at AND NOT e.charged
        GROUP BY e.cost_center_id, m.aggregation
    ) g
    WHERE r.aggregation IN ('last', 'unique')
    ORDER BY 1, 2 NULLS LAST
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
