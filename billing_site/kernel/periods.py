"""
Periods, intervals and anchors.

Plain Python: no Django, no I/O, no clock. Instants are aware UTC datetimes; periods are half-open. The account's zone
is used only to find its local midnight. Source: policies.md, Time (rules 5 to 8).
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal, cast, get_args
from zoneinfo import ZoneInfo

IntervalUnit = Literal["day", "week", "month", "year"]
INTERVAL_UNITS: tuple[str, ...] = get_args(IntervalUnit)


class PeriodInvalid(ValueError):
    """The end is before the start, or an instant is not aware."""


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A half-open stretch of time `[start, end)`, aware UTC; an instant in another zone is converted."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise PeriodInvalid("a period needs aware instants")
        # Two instants in one zone would be subtracted by their wall clocks, an hour off when the clocks change between.
        if self.start.tzinfo is not UTC or self.end.tzinfo is not UTC:
            object.__setattr__(self, "start", self.start.astimezone(UTC))
            object.__setattr__(self, "end", self.end.astimezone(UTC))
        if self.end < self.start:
            raise PeriodInvalid(f"period ends {self.end} before it starts {self.start}")

    def __contains__(self, instant: object) -> bool:
        return isinstance(instant, datetime) and self.start <= instant < self.end

    @property
    def duration(self) -> timedelta:
        return self.end - self.start

    def overlaps(self, other: Period) -> bool:
        """Tell whether the two share an instant; touching periods do not."""
        return self.start < other.end and other.start < self.end

    def count_days(self, zone: ZoneInfo) -> int:
        """Return the number of local calendar days between start and end, which is what proration counts."""
        return (local_date(self.end, zone) - local_date(self.start, zone)).days


@dataclass(frozen=True, slots=True)
class Interval:
    """A billing interval: `count` times `unit`."""

    unit: IntervalUnit
    count: int = 1

    def __post_init__(self) -> None:
        if self.unit not in INTERVAL_UNITS:
            raise ValueError(f"unknown interval {self.unit!r}")
        if self.count < 1:
            raise ValueError("an interval counts one or more")

    @classmethod
    def parse(cls, unit: str, count: int = 1) -> Interval:
        """:raises ValueError: for an unknown unit or a count below one."""
        return cls(cast(IntervalUnit, unit), count)

    def __str__(self) -> str:
        return self.unit if self.count == 1 else f"{self.count} {self.unit}s"


@lru_cache(maxsize=4096)
def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """
    Return the instant at which `day` begins in `zone`, in UTC.

    Where clocks jump over midnight the day begins at the jump; where midnight comes twice, at the first.
    """
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """Return the calendar day of `instant` in `zone`."""
    return _local_date(instant.astimezone(UTC), zone)


# Of instants in UTC only: in a zone, the two instants of a wall clock that is turned back count as equal.
@lru_cache(maxsize=4096)
def _local_date(instant: datetime, zone: ZoneInfo) -> date:
    return instant.astimezone(zone).date()


def add_months(day: date, months: int) -> date:
    """Return the same day `months` later, clamped to the end of the month (31 January + 1 = 28 or 29 February)."""
    index = day.year * 12 + (day.month - 1) + months
    year, month = index // 12, index % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def boundary_date(anchor: date, interval: Interval, index: int) -> date:
    """
    Return boundary number `index` counted from `anchor` (number 0; negative ones lie before it).

    Always computed from the anchor, never from the previous boundary, so that a short month does not move later ones.
    Source: policies.md 7.
    """
    steps = interval.count * index
    match interval.unit:
        case "day":
            return anchor + timedelta(days=steps)
        case "week":
            return anchor + timedelta(weeks=steps)
        case "month":
            return add_months(anchor, steps)
        case "year":
            return add_months(anchor, 12 * steps)


@lru_cache(maxsize=4096)
def boundary_index(anchor: date, interval: Interval, day: date) -> int:
    """Return the number of the last boundary on or before `day`."""
    match interval.unit:
        case "day" | "week":
            width = interval.count * (7 if interval.unit == "week" else 1)
            return (day - anchor).days // width
        case "month" | "year":
            width = interval.count * (12 if interval.unit == "year" else 1)
            months = (day.year - anchor.year) * 12 + day.month - anchor.month
            index = months // width
            while boundary_date(anchor, interval, index) > day:
                index -= 1
            while boundary_date(anchor, interval, index + 1) <= day:
                index += 1
            return index


@lru_cache(maxsize=4096)
def billing_period(anchor: date, interval: Interval, index: int, zone: ZoneInfo) -> Period:
    """Return period number `index` after `anchor`, from local midnight to local midnight."""
    return Period(
        local_midnight(boundary_date(anchor, interval, index), zone),
        local_midnight(boundary_date(anchor, interval, index + 1), zone),
    )


def billing_period_containing(anchor: date, interval: Interval, instant: datetime, zone: ZoneInfo) -> Period:
    """Return the billing period that `instant` falls into."""
    return billing_period(anchor, interval, boundary_index(anchor, interval, local_date(instant, zone)), zone)
