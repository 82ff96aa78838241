"""
Usage of an account over time, divided by what a meter's events name: the numbers behind charts and their tables.

Buckets are local hours or days of the zone that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from billing_site.kernel.periods import Period
from metering.stores.quantities import AGGREGATED, Bucket

_CHUNK: Final = 2_000


@dataclass(frozen=True, slots=True)
class SeriesRequest:
    """
    The usage of some meters by an account in a half-open period.

    `bucket` divides it by local time of `zone`; None does not. `dimension` divides it by the values of a dimension,
    `by_center` by cost center. With `center_id` only the usage of one center counts, with `without_center` only usage
    that names none.
    """

    account_id: UUID
    meter_ids: tuple[UUID, ...]
    period: Period
    zone: str
    bucket: Bucket | None = None
    dimension: str = ""
    by_center: bool = False
    center_id: UUID | None = None
    without_center: bool = False


class SeriesPoint(NamedTuple):
    """
    What a meter comes to, by its own aggregation.

    `start` is that of the bucket, None for the whole period. `group` is the value of the dimension or the id of the
    center, None where events name none; it means nothing when `is_whole`: then all groups are aggregated together.
    """

    meter_id: UUID
    start: datetime | None
    group: str | None
    is_whole: bool
    quantity: Decimal
    event_count: int


# Each sum is aggregated from its events: of what a meter does not add up, groups and buckets do not make the whole.
_SERIES: Final = """
    SELECT e.meter_id, e.starts_at, e.grp, grouping(e.grp) = 1, {aggregated}, sum(e.weight)
    FROM (
        SELECT account_id, meter_id, value, weight, timestamp, id, actor_id, resource_id,
               {bucket} AS starts_at, {group} AS grp
        FROM usage_events
        WHERE account_id = %(account)s AND meter_id = ANY(%(meters)s::uuid[])
          AND timestamp >= %(start)s AND timestamp < %(end)s {filter}
    ) e JOIN meters m ON m.id = e.meter_id
    GROUP BY GROUPING SETS ({sets})
    ORDER BY e.meter_id, e.starts_at NULLS FIRST, grouping(e.grp) DESC, e.grp NULLS LAST
"""
_TOTALS: Final = "(e.meter_id, m.aggregation), (e.meter_id, m.aggregation, e.grp)"
_UNDIVIDED: Final = "(e.meter_id, m.aggregation, e.starts_at), (e.meter_id, m.aggregation, e.starts_at, e.grp)"
_BUCKETS: Final = "(e.meter_id, m.aggregation, e.starts_at, e.grp)"


def sum_series(request: SeriesRequest) -> list[SeriesPoint]:
    """
    Return the usage of each meter in the whole period, of each group in it, and of each group in each bucket.

    Meters, groups and buckets without events are left out. One statement.
    """
    sets = _UNDIVIDED if request.bucket is None else f"{_TOTALS}, {_BUCKETS}"
    sql, values = _write(request, sets)
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [_read(row) for row in cursor.fetchall()]


def stream_series(request: SeriesRequest) -> Iterator[SeriesPoint]:
    """Yield the usage of each group in each bucket, by meter and time. One statement, never all at once."""
    sql, values = _write(request, _BUCKETS)
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, values)
        while rows := cursor.fetchmany(_CHUNK):
            for row in rows:
                yield _read(row)


def _write(request: SeriesRequest, sets: str) -> tuple[str, dict[str, Any]]:
    """Return the statement and its values; only constants of this module become part of its text."""
    group, narrowed = "NULL::text", ""
    if request.by_center:
        group = "cost_center_id::text"
    elif request.dimension:
        group = "dimensions ->> %(dimension)s"
    if request.center_id is not None:
        narrowed = "AND cost_center_id = %(center)s"
    elif request.without_center:
        narrowed = "AND cost_center_id IS NULL"
    bucket = "NULL::timestamptz" if request.bucket is None else "date_trunc(%(bucket)s, timestamp, %(zone)s)"
    sql = _SERIES.format(aggregated=AGGREGATED, bucket=bucket, group=group, filter=narrowed, sets=sets)
    return sql, {
        "account": request.account_id,
        "meters": list(request.meter_ids),
        "start": request.period.start,
        "end": request.period.end,
        "bucket": request.bucket,
        "zone": request.zone,
        "dimension": request.dimension,
        "center": request.center_id,
    }


def _read(row: Sequence[Any]) -> SeriesPoint:
    meter_id, start, group, is_whole, quantity, events = row
    return SeriesPoint(meter_id, start, group, is_whole, Decimal(quantity), events)
