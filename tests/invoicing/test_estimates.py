"""The estimate of a calendar month: its fees, and usage drawn out to its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from billing_site.kernel.periods import Period
from invoicing.queries.estimates import estimate_month
from tests.support import costs, world

pytestmark = pytest.mark.django_db
AT = datetime(2023, 11, 11, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    costs.publish_plans()


class TestEstimateMonth:
    def test_draws_usage_out_and_counts_fees_once(self) -> None:
        account = world.open_account()
        world.subscribe(account, "per_unit")
        world.use(account, "calls", [300], at=datetime(2023, 11, 3, tzinfo=UTC))
        found = estimate_month(account=account, at=AT)
        # 10 of 30 days have passed: 100 x 3; the fee of November is 500.
        assert (found.fixed, found.usage_to_date, found.projected_usage, found.projected_total) == (500, 100, 300, 800)
        assert (str(found.elapsed_percent), found.confidence) == ("33.33", "normal")

    def test_counts_the_fee_of_the_period_that_begins_later_in_the_month_and_only_usage_of_the_month(self) -> None:
        account = world.open_account()
        world.subscribe(account, "per_unit", at=datetime(2023, 10, 20, tzinfo=UTC))
        for day, key in ((datetime(2023, 10, 25, tzinfo=UTC), "a"), (datetime(2023, 11, 2, tzinfo=UTC), "b")):
            world.use(account, "calls", [300], at=day, key=key)
        found = estimate_month(account=account, at=AT)
        # October's 100 are not November's; the fee of 20 November is still to come.
        assert (found.fixed, found.usage_to_date, found.projected_usage) == (500, 100, 300)
        world.run_cycle(as_of=datetime(2023, 11, 20, tzinfo=UTC))
        later = estimate_month(account=account, at=datetime(2023, 11, 21, tzinfo=UTC))
        # The same after it was billed; 20 of 30 days have passed.
        assert (later.fixed, later.usage_to_date, later.projected_usage) == (500, 100, 150)

    def test_counts_every_week_that_begins_in_the_month(self) -> None:
        account = world.open_account()
        world.subscribe(account, "weekly", interval="week", at=datetime(2023, 10, 30, tzinfo=UTC))
        # Weeks begin on 30 October, 6, 13, 20 and 27 November.
        assert estimate_month(account=account, at=AT).fixed == 4 * 250

    def test_is_uncertain_in_the_first_three_days_and_counts_an_hour_at_least(self) -> None:
        account = world.open_account()
        world.subscribe(account, "per_unit")
        world.use(account, "calls", [3], at=world.NOVEMBER)
        found = estimate_month(account=account, at=world.NOVEMBER + timedelta(minutes=20))
        # One cent in what counts as an hour of 720.
        assert (found.projected_usage, found.confidence, str(found.elapsed_percent)) == (720, "low", "0.14")
        third = world.NOVEMBER + timedelta(days=3)
        assert estimate_month(account=account, at=third - timedelta(seconds=1)).confidence == "low"
        assert estimate_month(account=account, at=third).confidence == "normal"

    def test_asks_for_what_is_missing_to_a_minimum_less_what_is_projected(self) -> None:
        account = world.open_account()
        world.subscribe(account, "committed")
        world.use(account, "calls", [100], at=datetime(2023, 11, 3, tzinfo=UTC))
        found = estimate_month(account=account, at=AT)
        # 200 so far, 600 projected; the commitment is 1500: 900 are missing at the end, not 1300 as of today.
        assert (found.usage_to_date, found.projected_usage, found.fixed, found.projected_total) == (200, 600, 900, 1500)

    def test_of_an_account_that_buys_nothing_is_nothing(self) -> None:
        account = world.open_account(timezone="America/New_York")
        found = estimate_month(account=account, at=AT)
        assert (found.projected_total, found.currency) == (0, "usd")
        assert found.month == Period(
            datetime(2023, 11, 1, 4, tzinfo=UTC), datetime(2023, 12, 1, 5, tzinfo=UTC)
        )  # daylight saving ends on 5 November

    def test_changes_nothing(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "per_unit", at=datetime(2023, 10, 20, tzinfo=UTC))
        estimate_month(account=account, at=AT)
        period = subscription.current_period
        subscription.refresh_from_db()
        assert subscription.current_period == period
