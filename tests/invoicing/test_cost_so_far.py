"""What many accounts cost so far: the period, today, the days before and the calendar month, in one go."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from invoicing.queries.cost_so_far import CostSoFar, cost_so_far
from tests.support import costs, world

pytestmark = pytest.mark.django_db
AT = datetime(2023, 11, 20, 10, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    costs.publish_plans()


def ask(account: Account, *, at: datetime = AT) -> CostSoFar:
    return cost_so_far(accounts=[account], at=at)[account.pk]["usd"]


class TestCostSoFar:
    def test_knows_the_period_the_days_and_the_month(self) -> None:
        account = world.open_account()
        world.subscribe(account, "per_unit", at=world.NOVEMBER)
        for day, quantity in ((1, 30), (12, 300), (13, 600), (19, 900), (20, 60)):
            world.use(account, "calls", [quantity], at=AT.replace(day=day, hour=1), key=f"k{day}")
        found = ask(account)
        # 1,890 calls at a third of a cent are 630 cents; the fee of November is 500.
        assert (found.fixed, found.usage, found.total) == (500, 630, 1130)
        assert (found.today.day, found.today.usage, found.today.fixed) == (date(2023, 11, 20), 20, 0)
        assert [each.usage for each in found.days_before] == [200, 0, 0, 0, 0, 0, 300]
        assert [each.has_usage for each in found.days_before] == [True, *[False] * 5, True]
        assert found.month_spend == 1130

    def test_of_a_period_that_crosses_the_month(self) -> None:
        account = world.open_account()
        world.subscribe(account, "per_unit", at=datetime(2023, 10, 16, tzinfo=UTC))
        for day, quantity in ((datetime(2023, 10, 20, tzinfo=UTC), 3000), (datetime(2023, 11, 3, tzinfo=UTC), 300)):
            world.use(account, "calls", [quantity], at=day, key=str(day))
        world.run_cycle(as_of=datetime(2023, 11, 16, tzinfo=UTC))
        world.use(account, "calls", [90], at=datetime(2023, 11, 17, tzinfo=UTC), key="new")
        found = ask(account)
        # The running period began on 16 November: its fee and 90 calls. November has 300 billed calls more.
        assert (found.fixed, found.usage) == (500, 30)
        assert found.month_spend == 500 + 100 + 30

    def test_of_an_account_that_buys_nothing(self) -> None:
        account = world.open_account()
        found = ask(account)
        assert (found.total, found.month_spend, found.today.total) == (0, 0, 0)
        assert found.period.start == world.NOVEMBER

    def test_asks_as_often_for_many_accounts(self) -> None:
        counts = []
        for number in (1, 8):
            accounts = [world.open_account(f"a{number}-{each}") for each in range(number)]
            for account in accounts:
                world.subscribe(account, "by_model", at=world.NOVEMBER)
                world.subscribe(account, "free_by_model", at=world.NOVEMBER)
                world.subscribe(account, "per_unit", at=world.NOVEMBER)
                world.use(account, "calls", [1] * 10 * number, at=AT - timedelta(days=1))
                world.use(account, "payments", [9] * 10 * number, at=AT - timedelta(days=1))
            with CaptureQueriesContext(
                connection,
            ) as captured:
                found = cost_so_far(accounts=accounts, at=AT)
            assert all(each["usd"].usage for each in found.values())
            counts.append(len(captured))
        assert counts[0] == counts[1] <= 22
