"""
Where a subscription's billing boundaries lie.

Plain Python. Boundary number k is local midnight of the anchor date plus k intervals, always computed from the anchor.
Source: policies, rules 5 to 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from billing_site.kernel.periods import (
    Interval,
    Period,
    billing_period,
    boundary_date,
    local_date,
    local_midnight,
)

Alignment = Literal["anniversary", "calendar"]


@dataclass(frozen=True, slots=True)
class StartTerms:
    """
    How a subscription begins.

    `current_period` is the trial or period 0. `next_boundary` is the number of the boundary to be billed next and
    `next_billing_at` its instant.
    """

    anchor_date: date
    current_period: Period
    next_boundary: int
    next_billing_at: datetime
    trial_end: datetime | None = None


def start_terms(
    *,
    start: datetime,
    zone: ZoneInfo,
    interval: Interval,
    alignment: Alignment = "anniversary",
    trial_days: int = 0,
    bills_in_advance: bool = False,
) -> StartTerms:
    """
    Return the terms of a subscription that starts at `start`.

    Without a trial the anchor is the local date of `start` and period 0 begins at that day's local midnight. With one,
    the anchor is the local date `trial_days` later, where the trial ends and boundary 0 is billed. `bills_in_advance`:
    there is a fee in advance, so boundary 0 is billed at the start; otherwise boundary 1 is the first.
    :raises ValueError: for negative trial days.
    Source: policies, rules 6 to 8.
    """
    if trial_days < 0:
        raise ValueError("a trial has zero or more days")
    first_day = local_date(start, zone)
    if trial_days:
        paid_from = first_day + timedelta(days=trial_days)
        trial_end = local_midnight(paid_from, zone)
        return StartTerms(
            anchor_date=align_anchor(paid_from, interval, alignment),
            current_period=Period(local_midnight(first_day, zone), trial_end),
            next_boundary=0,
            next_billing_at=trial_end,
            trial_end=trial_end,
        )
    anchor = align_anchor(first_day, interval, alignment)
    period = Period(local_midnight(first_day, zone), period_at(1, anchor=anchor, interval=interval, zone=zone).start)
    return StartTerms(
        anchor_date=anchor,
        current_period=period,
        next_boundary=0 if bills_in_advance else 1,
        next_billing_at=start if bills_in_advance else period.end,
    )


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
