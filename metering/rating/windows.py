"""
The stretch of time a quota counts in. Plain Python.

Source: contract chapter Quotas (Windows).
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final

from billing_site.kernel.periods import Period, add_months

_ALWAYS: Final = Period(datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


def get_bucket(window: str, *, at: datetime, billing_period: Period | None = None) -> Period:
    """
    Return the half-open bucket of `window` around `at`: a UTC calendar bucket, weeks from Monday.

    `billing_period` is the subscription's; without one it is the calendar month. `total` is all time.
    :raises ValueError: for an unknown window.
    """
    moment = at.astimezone(UTC)
    if window == "total":
        return _ALWAYS
    if window == "billing_period" and billing_period is not None:
        return billing_period
    if window == "minute":
        start = moment.replace(second=0, microsecond=0)
        return Period(start, start + timedelta(minutes=1))
    if window == "hour":
        start = moment.replace(minute=0, second=0, microsecond=0)
        return Period(start, start + timedelta(hours=1))
    day = moment.date()
    if window == "day":
        last = day + timedelta(days=1)
    elif window == "week":
        day -= timedelta(days=day.weekday())
        last = day + timedelta(days=7)
    elif window in ("month", "billing_period"):
        day = day.replace(day=1)
        last = add_months(day, 1)
    else:
        raise ValueError(f"there is no window {window!r}")
    return Period(datetime.combine(day, time(), UTC), datetime.combine(last, time(), UTC))
