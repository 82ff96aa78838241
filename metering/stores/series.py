"""
Usage of an account over time, divided by what a meter's events name: the numbers behind charts and their tables.

Buckets are local hours or days of the zone that is asked for. What adds up is read from the roll-ups of UTC hours, the
rest and the edges of a period from events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection

from billing_site.kernel.periods import Period
from metering.models.usage_totals import NO_CENTER
from metering.stores.quantities import AGGREGATED, Bucket

_CHUNK: Final = 2_000
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SeriesRequest:
    """
    The usage of some meters by an account in a half-open period.

    `bucket` divides it by local time of `zone`; None does not. `dimension` divides it by the values of a dimension that
    the meters declare, `by_center` by cost center. With `center_id` only the usage of one center counts, with
    `without_center` only usage that names none.
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


# What a meter adds up comes from whole hours and the events at the edges of the period. Of all else each sum is
# aggregated from its events: groups and buckets do not make the whole.
_SERIES: Final = """
    SELECT e.meter_id, e.starts_at, e.grp, grouping(e.grp) = 1 AS is_whole,
           CASE m.aggregation WHEN 'count' THEN sum(e.events) ELSE sum(e.total) END, sum(e.events)::bigint
    FROM (
        SELECT meter_id, {hour_bucket} AS starts_at, {hour_group} AS grp, total, events
        FROM usage_rollups
        WHERE account_id = %(account)s AND meter_id = ANY({added}) AND span = 'hour'
          AND starts_at >= %(first_hour)s AND starts_at < %(end_hour)s {hour_filter}
        UNION ALL
        SELECT meter_id, {bucket}, {group}, value, weight FROM usage_events
        WHERE account_id = %(account)s AND meter_id = ANY({added})
          AND timestamp >= %(start)s AND timestamp < %(first_hour)s {filter}
        UNION ALL
        SELECT meter_id, {bucket}, {group}, value, weight FROM usage_events
        WHERE account_id = %(account)s AND meter_id = ANY({added})
          AND timestamp >= %(end_hour)s AND timestamp < %(end)s {filter}
    ) e JOIN meters m ON m.id = e.meter_id
    GROUP BY GROUPING SETS ({sets})
    HAVING sum(e.events) > 0
    UNION ALL
    SELECT e.meter_id, e.starts_at, e.grp, grouping(e.grp) = 1, {aggregated}, sum(e.weight)::bigint
    FROM (
        SELECT account_id, meter_id, value, weight, timestamp, id, actor_id, resource_id,
               {bucket} AS starts_at, {group} AS grp
        FROM usage_events
        WHERE account_id = %(account)s AND meter_id = ANY({other})
          AND timestamp >= %(start)s AND timestamp < %(end)s {filter}
    ) e JOIN meters m ON m.id = e.meter_id
    GROUP BY GROUPING SETS ({sets})
    HAVING sum(e.weight) > 0
    ORDER BY 1, 2 NULLS FIRST, 4 DESC, 3 NULLS LAST
"""
# Known before anything is read: the events of what adds up are not looked at.
_METERS: Final = "ARRAY(SELECT id FROM meters WHERE id = ANY(%(meters)s::uuid[]) AND aggregation {} ('sum', 'count'))"
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
    group, hour_group = "NULL::text", "NULL::text"
    if request.by_center:
        group, hour_group = "cost_center_id::text", "nullif(cost_center_id, %(no_center)s)::text"
    elif request.dimension:
        group = hour_group = "dimensions ->> %(dimension)s"
    narrowed, hour_narrowed = "", ""
    if request.center_id is not None:
        narrowed = hour_narrowed = "AND cost_center_id = %(center)s"
    elif request.without_center:
        narrowed, hour_narrowed = "AND cost_center_id IS NULL", "AND cost_center_id = %(no_center)s"
    cut = "NULL::timestamptz" if request.bucket is None else "date_trunc(%(bucket)s, {}, %(zone)s)"
    sql = _SERIES.format(
        aggregated=AGGREGATED,
        added=_METERS.format("IN"),
        other=_METERS.format("NOT IN"),
        bucket=cut.format("timestamp"),
        hour_bucket=cut.format("starts_at"),
        group=group,
        hour_group=hour_group,
        filter=narrowed,
        hour_filter=hour_narrowed,
        sets=sets,
    )
    hours = _find_whole_hours(request)
    return sql, {
        "account": request.account_id,
        "meters": list(request.meter_ids),
        "start": request.period.start,
        "first_hour": hours.start,
        "end_hour": hours.end,
        "end": request.period.end,
        "bucket": request.bucket,
        "zone": request.zone,
        "dimension": request.dimension,
        "center": request.center_id,
        "no_center": NO_CENTER,
    }


def _find_whole_hours(request: SeriesRequest) -> Period:
    """
    Return the whole UTC hours of the period, none where its buckets cut through them.

    Some zones are half an hour, or a quarter, away from UTC, all the time or a part of the year.
    """
    period, zone = request.period, ZoneInfo(request.zone)
    first = _floor(period.start + _HOUR - timedelta(microseconds=1))
    last = _floor(period.end)
    if first >= last:
        return Period(period.end, period.end)
    if request.bucket is not None:
        moment = first
        while moment < last + timedelta(days=28):
            offset = moment.astimezone(zone).utcoffset() or timedelta(0)
            if offset % _HOUR:
                return Period(period.end, period.end)
            moment += timedelta(days=28)
    return Period(first, last)


def _floor(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _read(row: Sequence[Any]) -> SeriesPoint:
    meter_id, start, group, is_whole, quantity, events = row
    return SeriesPoint(meter_id, start, group, is_whole, Decimal(quantity), events)
