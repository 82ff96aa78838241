"""How many events periods have and when the last was recorded: whether anything came since. From totals only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from billing_site.kernel.statements import prepared_cursor
from metering.stores.quantities import EDGES, REQUESTS, SPANS, QuantityRequest

# A period that is one UTC month is one counter; any other is days and hours, like a quantity.
_MONTHS: Final = """
    SELECT position, account_id, meter_id, to_bill, 'month' AS span, starts_at AS span_start, ends_at AS span_end
    FROM requests
    WHERE starts_at = date_trunc('month', starts_at, 'UTC')
      AND ends_at = date_trunc('month', starts_at + interval '32 days', 'UTC')
"""
_READ: Final = f"""
    WITH requests AS MATERIALIZED ({REQUESTS}),
    months AS MATERIALIZED ({_MONTHS}),
    parts AS MATERIALIZED (SELECT * FROM requests WHERE position NOT IN (SELECT position FROM months)),
    spans AS MATERIALIZED (
        SELECT * FROM months
        UNION ALL
        SELECT position, account_id, meter_id, to_bill, span, span_start, span_end
        FROM ({SPANS.format(requests="SELECT * FROM parts")}) s
    ),
    edges AS MATERIALIZED ({EDGES.format(requests="SELECT * FROM parts")})
    SELECT position, sum(events)::bigint, max(last_recorded_at)
    FROM (
        SELECT r.position, c.events - CASE WHEN r.to_bill THEN c.charged_events ELSE 0 END AS events,
               c.last_recorded_at
        FROM spans r
        JOIN usage_counters c ON c.account_id = r.account_id AND c.meter_id = r.meter_id AND c.span = r.span
            AND c.starts_at >= r.span_start AND c.starts_at < r.span_end
        UNION ALL
        SELECT r.position, e.weight, e.recorded_at
        FROM edges r
        JOIN usage_events e ON e.account_id = r.account_id AND e.meter_id = r.meter_id
            AND e.timestamp >= r.span_start AND e.timestamp < r.span_end AND NOT (e.charged AND r.to_bill)
    ) found
    GROUP BY position
"""  # noqa: S608 - constants of this module


@dataclass(frozen=True, slots=True)
class Watermark:
    """
    The events of a meter in a period, voided ones counted down again, and the newest moment one was recorded.

    What was charged when it happened is not counted, but may be the newest.
    """

    event_count: int = 0
    last_recorded_at: datetime | None = None


def read_watermarks(requests: Sequence[QuantityRequest]) -> list[Watermark]:
    """
    Return where each request stands, in the same order. One statement.

    Two equal watermarks of a period mean that nothing came in between: an event and what takes it back cancel out in
    the count, but not in the time.
    """
    found = [Watermark()] * len(requests)
    if not requests:
        return found
    with prepared_cursor() as cursor:
        cursor.execute(
            _READ,
            [
                list(range(len(requests))),
                [request.account_id for request in requests],
                [request.meter_id for request in requests],
                [request.period.start for request in requests],
                [request.period.end for request in requests],
                [request.to_bill for request in requests],
            ],
        )
        for position, events, recorded_at in cursor.fetchall():
            found[position] = Watermark(events, recorded_at)
    return found
