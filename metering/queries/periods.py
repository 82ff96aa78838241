"""The period a usage question means when it names none."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from accounts.models import Account, Subscription
from accounts.models.subscription import RUNNING_STATUSES
from billing_site.kernel.errors import PeriodNotValid
from billing_site.kernel.periods import Period, add_months, local_date, local_midnight

MAX_PERIOD: Final = timedelta(days=400)


def list_running_subscriptions(account: Account) -> list[Subscription]:
    """Return the account's running subscriptions with account and plan, the oldest first."""
    rows = Subscription.objects.filter(account=account, status__in=RUNNING_STATUSES)
    return list(rows.select_related("account", "plan_version__plan").order_by("id"))


def get_calendar_month(at: datetime, zone: ZoneInfo) -> Period:
    """Return the month around `at`, from local midnight to local midnight."""
    day = local_date(at, zone)
    first = date(day.year, day.month, 1)
    return Period(local_midnight(first, zone), local_midnight(add_months(first, 1), zone))


def get_default_period(account: Account | None, subscription: Subscription | None, *, at: datetime) -> Period:
    """Return the current billing period of `subscription`, else the calendar month of the account (UTC for none)."""
    if subscription is not None:
        return subscription.current_period
    return get_calendar_month(at, account.zone if account is not None else ZoneInfo("UTC"))


def choose_period(start: datetime | None, end: datetime | None, *, default: Period) -> Period:
    """
    Return the half-open period from `start` to `end`, each taken from `default` where it is not given.

    :raises PeriodNotValid: when it is reversed or longer than 400 days.
    """
    start = (start or default.start).astimezone(UTC)
    end = (end or default.end).astimezone(UTC)
    if end < start:
        raise PeriodNotValid("The period ends before it starts.")
    if end - start > MAX_PERIOD:
        raise PeriodNotValid(f"A period is at most {MAX_PERIOD.days} days long.")
    return Period(start, end)
