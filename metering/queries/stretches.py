"""The stretches of time that people look at usage by, where the account lives, and the one to compare each with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

from accounts.models import Account, Subscription
from billing_site.kernel.periods import Period, add_months, local_date, local_midnight
from metering.queries.periods import choose_period, get_calendar_month, get_default_period

StretchName = Literal["today", "week", "this", "last", "month", "custom"]
STRETCHES: Final[tuple[StretchName, ...]] = ("today", "week", "this", "last", "month", "custom")
_WEEK: Final = 7


@dataclass(frozen=True, slots=True)
class Stretch:
    """A named half-open period, and the one before it that it is compared with: as much of it as has passed."""

    name: StretchName
    period: Period
    before: Period


def find_stretch(
    name: StretchName,
    *,
    account: Account,
    subscription: Subscription | None,
    at: datetime,
    first: date | None = None,
    last: date | None = None,
) -> Stretch:
    """
    Return the stretch `name` means at `at`.

    `this` is the running billing period of `subscription`, else the calendar month, and `last` the one before it.
    `custom` are the days from `first` to `last`, both included, each today's when it is not given.
    :raises PeriodNotValid: when custom days are reversed or more than 400.
    """
    zone, today = account.zone, local_date(at, account.zone)
    if name == "this":
        period = get_default_period(account, subscription, at=at)
        return _compare(name, period, _find_earlier(period, account, subscription), at)
    if name == "last":
        running = get_default_period(account, subscription, at=at)
        period = _find_earlier(running, account, subscription)
        return _compare(name, period, _find_earlier(period, account, subscription), at)
    if name == "month":
        period = get_calendar_month(at, zone)
        return _compare(name, period, get_calendar_month(period.start - timedelta(seconds=1), zone), at)
    if name == "custom":
        given = [day for day in (first, last) if day is not None] or [today]
        first, last = given[0], given[-1]
    else:
        first, last = (today if name == "today" else today - timedelta(days=_WEEK - 1)), today
    start, end = local_midnight(first, zone), local_midnight(last + timedelta(days=1), zone)
    period = choose_period(start, end, default=Period(start, max(start, end)))
    earlier = Period(local_midnight(first - timedelta(days=period.count_days(zone)), zone), period.start)
    return _compare(name, period, earlier, at)


def _find_earlier(period: Period, account: Account, subscription: Subscription | None) -> Period:
    """Return the billing period before `period`; without a subscription the calendar month before it."""
    if subscription is not None:
        earlier = subscription.cycle.whole_period_at(period.start - timedelta(seconds=1))
        return Period(min(earlier.start, period.start), period.start)
    first = add_months(local_date(period.start, account.zone), -1)
    return Period(local_midnight(first, account.zone), period.start)


def _compare(name: StretchName, period: Period, earlier: Period, at: datetime) -> Stretch:
    """Return the stretch with as much of the earlier period as has passed of this one."""
    if at >= period.end:
        return Stretch(name, period, earlier)
    passed = max(timedelta(0), at - period.start)
    return Stretch(name, period, Period(earlier.start, min(earlier.end, earlier.start + passed)))
