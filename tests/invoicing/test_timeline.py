"""Cost over time: every step there, summing to the cost so far, by the days and hours of the account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from billing_site.kernel.errors import PeriodNotValid
from invoicing.queries.realtime import get_realtime_cost, get_timeline
from tests.support import costs, world

pytestmark = pytest.mark.django_db
AT = datetime(2023, 11, 20, 10, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    costs.publish_plans()


class TestGetTimeline:
    def test_of_tiers_costs_the_difference_of_two_ratings(self) -> None:
        account = world.open_account()
        world.subscribe(account, "graduated")
        for day, quantity in ((2, 40), (3, 20), (5, 0)):
            world.use(account, "calls", [quantity], at=world.NOVEMBER + timedelta(days=day - 1), key=str(day))
        found = costs.check_timeline(account, at=world.NOVEMBER + timedelta(days=5, hours=1), granularity="day")
        # The first tier's 100 is owed from the start; 40 x 3; 10 x 3 + 10 x a third = 33.33: 253.33 in all.
        assert [(point.cost, point.cumulative) for point in found.points] == [
            (100, 100),
            (120, 220),
            (33, 253),
            (0, 253),
            (0, 253),
            (0, 253),
        ]

    def test_puts_fees_on_the_first_step_of_their_period(self) -> None:
        account = world.open_account()
        world.subscribe(account, "fee", at=world.NOVEMBER)
        world.subscribe(account, "per_unit", at=world.NOVEMBER + timedelta(days=2))
        found = costs.check_timeline(account, at=AT, granularity="day")
        assert [point.cost for point in found.points] == [1999, 0, 500, *[0] * 17]

    @pytest.mark.parametrize(
        ("day", "hours"), [(datetime(2024, 3, 31, tzinfo=UTC), 23), (datetime(2023, 10, 29, tzinfo=UTC), 25)]
    )
    def test_follows_the_days_of_the_account_when_clocks_change(self, day: datetime, hours: int) -> None:
        account = world.open_account(timezone="Europe/Paris")
        zone = account.zone
        begin = day.replace(day=28).astimezone(zone).replace(hour=0)
        world.subscribe(account, "per_unit", at=begin)
        at = begin + timedelta(days=5)
        days = costs.check_timeline(account, at=at, granularity="day").points
        assert all(point.at.astimezone(zone).hour == 0 for point in days)
        changed = next(place for place, point in enumerate(days) if point.at.astimezone(zone).date() == day.date())
        assert days[changed + 1].at - days[changed].at == timedelta(hours=hours)
        hourly = costs.check_timeline(account, at=at, granularity="hour").points
        within = [point for point in hourly if days[changed].at <= point.at < days[changed + 1].at]
        assert len(within) == hours

    def test_a_first_step_may_be_short(self) -> None:
        account = world.open_account()
        begin = datetime(2023, 11, 1, 7, 20, tzinfo=UTC)
        world.subscribe(account, "per_unit", at=begin)
        start = get_realtime_cost(account=account, at=AT).running.period.start
        points = costs.check_timeline(account, at=AT, granularity="hour").points
        assert points[0].at == start
        assert all(point.at.minute == 0 for point in points[1:])

    def test_shows_the_steps_that_are_asked_for_and_what_came_before_them(self) -> None:
        account = world.open_account()
        world.subscribe(account, "per_unit")
        world.use(account, "calls", [300], at=world.NOVEMBER + timedelta(hours=5), key="a")
        world.use(account, "calls", [30], at=world.NOVEMBER + timedelta(days=3, hours=5), key="b")
        found = get_timeline(
            account=account,
            at=AT,
            granularity="day",
            start=world.NOVEMBER + timedelta(days=2, hours=12),
            end=world.NOVEMBER + timedelta(days=5),
        )
        assert [(point.at.day, point.cost, point.cumulative) for point in found.points] == [
            (3, 0, 600),
            (4, 10, 610),
            (5, 0, 610),
        ]
        later = get_timeline(account=account, at=AT, start=AT + timedelta(days=1), end=AT + timedelta(days=2))
        assert later.points == ()

    def test_refuses_more_than_750_points(self) -> None:
        account = world.open_account()
        world.subscribe(account, "yearly", interval="year")
        at = world.NOVEMBER + timedelta(hours=749, minutes=59)
        assert len(get_timeline(account=account, at=at, granularity="hour").points) == 750
        late = at + timedelta(hours=1)
        with pytest.raises(PeriodNotValid):
            get_timeline(account=account, at=late, granularity="hour")
        found = get_timeline(account=account, at=late, granularity="hour", start=late - timedelta(hours=9, minutes=30))
        assert len(found.points) == 10
        with pytest.raises(PeriodNotValid):
            get_timeline(account=account, at=at, start=at, end=at - timedelta(seconds=1))
