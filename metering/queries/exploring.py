"""
Usage to look at: by hour or day, by meter, dimension or cost center, beside the stretch before.

What is shown is what is stored: the same sums that quantities, invoices and quotas are made of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from accounts.models import Account, CostCenter
from billing_site.kernel.periods import Period, local_date, local_midnight
from catalog.models import Aggregation, Meter
from metering.stores import Bucket, SeriesPoint, SeriesRequest, stream_series, sum_series

ZERO: Final = Decimal(0)
MAX_BUCKETS: Final = 750
# What these say of parts adds up to what they say of the whole.
ADDITIVE: Final = (Aggregation.SUM, Aggregation.COUNT)


@dataclass(frozen=True, slots=True)
class View:
    """
    What somebody wants to see: meters in a half-open period, by local hour or day of the account.

    `dimension` divides each meter by the values of a dimension, `by_center` by cost center; `center` narrows to the
    usage of one, `without_center` to usage that names none.
    """

    meters: tuple[Meter, ...]
    period: Period
    bucket: Bucket
    dimension: str = ""
    by_center: bool = False
    center: CostCenter | None = None
    without_center: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """
    One part of a meter's usage. `value` is that of the dimension, or the id of the cost center; None names none.

    `buckets` are the quantities by the start of their bucket, those without events left out; `earlier` is the quantity
    of the stretch before.
    """

    value: str | None
    quantity: Decimal
    event_count: int
    earlier: Decimal
    buckets: Mapping[datetime, Decimal]


@dataclass(frozen=True, slots=True)
class MeterSeries:
    """One meter: its quantity in the whole period, by its own aggregation, and its parts, the largest first."""

    meter: Meter
    quantity: Decimal
    event_count: int
    earlier: Decimal
    groups: tuple[Group, ...]

    @property
    def is_additive(self) -> bool:
        """Tell whether groups and buckets add up to the whole."""
        return self.meter.aggregation in ADDITIVE


@dataclass(frozen=True, slots=True)
class Exploration:
    """Meters with usage, in the order of the view; `starts` are all buckets of the period, empty ones too."""

    view: View
    starts: tuple[datetime, ...]
    series: tuple[MeterSeries, ...]


def explore_usage(*, account: Account, view: View, before: Period) -> Exploration:
    """
    Return what an account used, divided as the view asks, and what it used in `before`. Two statements.

    A bucket is the local hour or day of the account; the first and last are those parts of it within the period.
    """
    request = make_request(account, view)
    now = _arrange(sum_series(request))
    then = _arrange(sum_series(replace(request, period=before, bucket=None)))
    series = []
    for meter in view.meters:
        found = now.get(meter.id)
        if found is None or found.whole is None:
            continue
        past = then.get(meter.id, _Found())
        groups = [
            Group(value, point.quantity, point.event_count, past.get_quantity(value), found.buckets.get(value, {}))
            for value, point in found.groups.items()
        ]
        # Usage that names no value comes last, whatever its size.
        groups.sort(key=lambda group: (group.value is None, -group.quantity, group.value or ""))
        whole = found.whole
        earlier = past.whole.quantity if past.whole is not None else ZERO
        series.append(MeterSeries(meter, whole.quantity, whole.event_count, earlier, tuple(groups)))
    return Exploration(view, tuple(list_buckets(view.period, view.bucket, account.zone)), tuple(series))


def stream_usage(*, account: Account, view: View) -> Iterator[SeriesPoint]:
    """Yield the quantity of every group in every bucket, by meter and time, without holding them all."""
    yield from stream_series(make_request(account, view))


def make_request(account: Account, view: View) -> SeriesRequest:
    """Return what the store is asked for."""
    return SeriesRequest(
        account_id=account.id,
        meter_ids=tuple(meter.id for meter in view.meters),
        period=view.period,
        zone=account.timezone,
        bucket=view.bucket,
        dimension=view.dimension,
        by_center=view.by_center,
        center_id=None if view.center is None else view.center.pk,
        without_center=view.without_center,
    )


def list_buckets(period: Period, bucket: Bucket, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the start of every local hour or day that shares an instant with the period; the first may lie before."""
    if bucket == "day":
        day = local_date(period.start, zone)
        while (start := local_midnight(day, zone)) < period.end:
            yield start
            day += timedelta(days=1)
        return
    # Offsets of zones are not all whole hours: the hour begins where the local clock says so.
    local = period.start.astimezone(zone)
    start = period.start - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    while start < period.end:
        yield start
        start += timedelta(hours=1)


def count_buckets(period: Period, bucket: Bucket) -> int:
    """Return about how many buckets a period has."""
    return -(-period.duration // timedelta(hours=1 if bucket == "hour" else 24))


@dataclass(slots=True)
class _Found:
    """The points of one meter, put in their places."""

    whole: SeriesPoint | None = None
    groups: dict[str | None, SeriesPoint] = field(default_factory=dict)
    buckets: dict[str | None, dict[datetime, Decimal]] = field(default_factory=lambda: defaultdict(dict))

    def get_quantity(self, value: str | None) -> Decimal:
        point = self.groups.get(value)
        return ZERO if point is None else point.quantity


def _arrange(points: Sequence[SeriesPoint]) -> dict[UUID, _Found]:
    found: dict[UUID, _Found] = defaultdict(_Found)
    for point in points:
        entry = found[point.meter_id]
        if point.is_whole:
            entry.whole = point
        elif point.start is None:
            entry.groups[point.group] = point
        else:
            entry.buckets[point.group][point.start] = point.quantity
    return found
