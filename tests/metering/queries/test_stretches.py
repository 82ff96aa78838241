"""Named stretches of time, by the account's own calendar, and what each is compared with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from billing_site.kernel.errors import PeriodNotValid
from billing_site.kernel.periods import Period
from metering.queries.stretches import Stretch, StretchName, find_stretch
from tests.factories.metering import AT, make_account, make_meter, make_subscription

pytestmark = pytest.mark.django_db


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def find(name: StretchName, zone: str = "UTC", at: datetime = AT, **values: date | None) -> Stretch:
    account = make_account(timezone=zone)
    return find_stretch(name, account=account, subscription=None, at=at, **values)


class TestFindStretch:
    def test_today_is_the_local_day(self) -> None:
        found = find("today", "America/New_York")  # four hours behind: 8:00 there
        assert found.period == Period(utc(2026, 3, 15, 4), utc(2026, 3, 16, 4))
        assert found.before == Period(utc(2026, 3, 14, 4), utc(2026, 3, 14, 12))

    def test_a_week_is_the_last_seven_days(self) -> None:
        found = find("week")
        assert found.period == Period(utc(2026, 3, 9), utc(2026, 3, 16))
        assert found.before == Period(utc(2026, 3, 2), utc(2026, 3, 8, 12))

    def test_periods_are_those_of_the_subscription(self) -> None:
        account = make_account()
        subscription = make_subscription(account, {make_meter(): "1"}, start=utc(2026, 3, 10), end=utc(2026, 4, 10))
        this = find_stretch("this", account=account, subscription=subscription, at=AT)
        assert this.period == Period(utc(2026, 3, 10), utc(2026, 4, 10))
        # 5.5 days have passed.
        assert this.before == Period(utc(2026, 2, 10), utc(2026, 2, 15, 12))
        last = find_stretch("last", account=account, subscription=subscription, at=AT)
        assert last.period == Period(utc(2026, 2, 10), utc(2026, 3, 10))
        assert last.before == Period(utc(2026, 1, 10), utc(2026, 2, 10))

    def test_periods_are_calendar_months_without_a_subscription(self) -> None:
        assert find("this").period == find("month").period == Period(utc(2026, 3, 1), utc(2026, 4, 1))
        assert find("last").period == Period(utc(2026, 2, 1), utc(2026, 3, 1))
        assert find("last").before == Period(utc(2026, 1, 1), utc(2026, 2, 1))

    def test_no_more_of_the_month_before_than_there_was(self) -> None:
        assert find("month", at=utc(2026, 3, 31)).before == Period(utc(2026, 2, 1), utc(2026, 3, 1))

    def test_own_days_are_both_included(self) -> None:
        found = find("custom", first=date(2026, 3, 1), last=date(2026, 3, 3))
        assert found.period == Period(utc(2026, 3, 1), utc(2026, 3, 4))
        assert found.before == Period(utc(2026, 2, 26), utc(2026, 3, 1))

    def test_one_day_alone_is_that_day(self) -> None:
        day = Period(utc(2026, 3, 1), utc(2026, 3, 2))
        assert find("custom", first=date(2026, 3, 1)).period == day
        assert find("custom", last=date(2026, 3, 1)).period == day

    def test_own_days_in_the_future_are_compared_with_nothing(self) -> None:
        found = find("custom", first=date(2026, 5, 1), last=date(2026, 5, 2))
        assert found.before.duration == timedelta(0)

    def test_reversed_or_endless_days_are_refused(self) -> None:
        for last in (date(2026, 2, 27), date(2027, 6, 1)):
            with pytest.raises(PeriodNotValid):
                find("custom", first=date(2026, 3, 1), last=last)
