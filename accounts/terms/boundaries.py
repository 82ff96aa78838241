"""
Where a subscription's billing boundaries lie.

Plain Python. Boundary number k is local midnight of the anchor date plus k intervals, always computed from the anchor.
Source: policies, rules 5 to 8.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from billing_site.kernel.periods import Interval, Period, billing_period, boundary_date, local_midnight

Alignment = Literal["anniversary", "calendar"]


def align_anchor(day: date, interval: Interval, alignment: Alignment) -> date:
    """Return the anchor for a paid cycle that begins on `day`: the day itself, or the start of its calendar unit."""
    if alignment == "anniversary":
        return day
    match interval.unit:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)


def boundary_at(index: int, *, anchor: date, interval: Interval, zone: ZoneInfo) -> datetime:
    """Return the instant of boundary number `index`, in UTC."""
    return local_midnight(boundary_date(anchor, interval, index), zone)


def period_at(index: int, *, anchor: date, interval: Interval, zone: ZoneInfo) -> Period:
    """Return period number `index`, from boundary `index` to the next, half-open."""
    return billing_period(anchor, interval, index, zone)
