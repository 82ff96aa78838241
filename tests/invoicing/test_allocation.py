"""What cost centers cost: to the cent, as billed, for past and running periods, in a fixed number of queries."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from accounts.services.cost_centers import update_cost_center
from accounts.services.discounts import give_discount
from billing_site.kernel.errors import PeriodNotValid
from billing_site.kernel.periods import Period
from invoicing.models import Invoice
from invoicing.queries.allocation import CostAllocation, allocate_costs, choose_allocation_period
from invoicing.queries.realtime import get_realtime_cost
from invoicing.services.invoices import void_invoice
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.factories.cost_centers import make_branch, make_cost_center
from tests.support import costs, world
from tests.support.prices import NOON, publish_prices

pytestmark = pytest.mark.django_db
NOVEMBER = Period(world.NOVEMBER, world.DECEMBER)
THIRD = "3.333333333333"
FEE: dict[str, Any] = {"unit_amount": 1000}
CALLS: dict[str, Any] = {"meter": "calls", "model": "per_unit", "unit_amount": THIRD}


def use(account: Account, *events: tuple[int, str], meter: str = "calls", at: datetime = NOON) -> None:
    """Record (quantity, code of the center or nothing)."""
    record_usage_events(
        events=[
            NewUsageEvent(account, meter, Decimal(value), timestamp=at, cost_center=code) for value, code in events
        ],
        at=at + timedelta(days=60),
        actor=world.TESTER,
    )


def open_with(*prices: dict[str, Any], at: datetime = world.NOVEMBER) -> Account:
    publish_prices(*prices)
    account = world.open_account()
    world.subscribe(account, "pay", at=at)
    return account


def allocate(account: Account, period: Period = NOVEMBER, *, at: datetime = NOON) -> CostAllocation:
    found = allocate_costs(account=account, period=period, at=at)
    assert sum(item.direct for item in found.items) + found.unallocated == found.total
    return found


def direct(found: CostAllocation) -> dict[str, int]:
    return {item.center.code: item.direct for item in found.items if item.direct}


class TestAllocateCosts:
    def test_splits_the_running_period_and_leaves_fees_to_nobody(self) -> None:
        account = open_with(FEE, CALLS)
        for code in ("ops", "dev", "lab"):
            make_cost_center(account, code)
        use(account, (1000, "ops"), (1000, "lab"), (1000, "dev"))
        # 3,000 x 3.333… = 100.00: the cent that is left goes to the first by code. The fee of November is 10.00.
        found = allocate(account)
        assert direct(found) == {"dev": 3334, "lab": 3333, "ops": 3333}
        assert (found.unallocated, found.total, found.currency) == (1000, 11_000, "usd")

    def test_says_the_same_before_and_after_the_invoice(self) -> None:
        account = open_with(FEE, CALLS)
        make_cost_center(account, "ops")
        use(account, (1000, "ops"), (500, ""))
        before = allocate(account, at=world.DECEMBER - timedelta(seconds=1))
        missed = allocate(account, at=world.DECEMBER + timedelta(days=2))
        world.run_cycle(as_of=world.DECEMBER)
        after = allocate(account, at=world.DECEMBER + timedelta(days=2))
        assert direct(before) == direct(missed) == direct(after) == {"ops": 3333}
        assert before.total == missed.total == after.total == 6000
        usage = Invoice.objects.order_by("-id")[0].lines.get(type="usage")
        assert after.total == usage.amount + 1000

    def test_rolls_up_and_compares_with_budgets(self) -> None:
        account = open_with({**CALLS, "unit_amount": "1"})
        top, middle, leaf = make_branch(account, "top", "middle", "leaf")
        other = make_cost_center(account, "other", budget=0)
        for center, budget in ((top, 1000), (middle, 300)):
            update_cost_center(center_id=center.pk, changes={"budget": budget}, at=NOON, actor=world.TESTER)
        use(account, (100, "top"), (200, "middle"), (399, "leaf"), (7, "other"))
        items = {item.center.code: item for item in allocate(account).items}
        assert {code: (item.direct, item.rolled_up) for code, item in items.items()} == {
            "top": (100, 699),
            "middle": (200, 599),
            "leaf": (399, 399),
            "other": (7, 7),
        }
        used = [items[each.code].budget_used_percent for each in (top, middle, leaf, other)]
        assert used == [69, 199, None, None]  # 69.9 and 199.67 percent, cut off; no budget, a budget of nothing
        # Two months have twice the budget.
        whole = allocate(account, Period(world.OCTOBER, world.DECEMBER))
        assert {item.center.code: item.budget_used_percent for item in whole.items}["top"] == 34

    def test_counts_a_budget_in_another_currency_for_nothing(self) -> None:
        account = open_with(CALLS)
        make_cost_center(account, "ops", budget=100, currency="eur")
        use(account, (10, "ops"))
        (item,) = allocate(account).items
        assert (item.direct, item.budget_used_percent) == (33, None)

    def test_names_the_meters_of_a_center(self) -> None:
        account = open_with(CALLS, {"meter": "payments", "model": "per_unit", "unit_amount": "1"})
        make_cost_center(account, "ops")
        use(account, (30, "ops"), (60, ""))
        use(account, (5, "ops"), meter="payments")
        (item,) = allocate(account).items
        assert [(each.meter.event_name, int(each.quantity), each.cost) for each in item.by_metric] == [
            ("calls", 30, 100),
            ("payments", 5, 5),
        ]

    def test_counts_usage_when_it_happened_and_fees_when_they_began(self) -> None:
        """A billing period from the middle of November: its usage is of two calendar months, its fee of one."""
        middle = datetime(2023, 11, 16, tzinfo=UTC)
        account = open_with(FEE, {**CALLS, "unit_amount": "1"}, at=middle)
        make_cost_center(account, "ops")
        use(account, (100, "ops"), at=middle + timedelta(days=1))
        use(account, (200, "ops"), (1, ""), at=world.DECEMBER)
        december = Period(world.DECEMBER, datetime(2024, 1, 1, tzinfo=UTC))
        for at in (datetime(2023, 12, 10, tzinfo=UTC), datetime(2023, 12, 20, tzinfo=UTC)):
            world.run_cycle(as_of=at)
            first, second = allocate(account, at=at), allocate(account, december, at=at)
            assert (direct(first), first.unallocated) == ({"ops": 100}, 1000)
            # From 16 December the next fee has begun.
            assert (direct(second), second.unallocated) == ({"ops": 200}, 1 if at.day == 10 else 1001)

    def test_keeps_the_split_of_an_invoice_whatever_arrives_later(self) -> None:
        account = open_with(CALLS)
        for code in ("ops", "dev"):
            make_cost_center(account, code)
        Account.objects.update(split_by_cost_center=True)
        use(account, (300, "ops"))
        world.run_cycle(as_of=world.DECEMBER)
        use(account, (300, "dev"))
        # What came later waits for the next invoice, and is its own center's.
        assert direct(allocate(account, at=world.DECEMBER)) == {"ops": 1000, "dev": 1000}

    def test_counts_usage_of_a_voided_invoice_once_as_it_waits_for_the_next(self) -> None:
        account = open_with(CALLS)
        make_cost_center(account, "ops")
        use(account, (300, "ops"))
        world.run_cycle(as_of=world.DECEMBER)
        void_invoice(invoice_id=Invoice.objects.get().pk, at=world.DECEMBER, actor=world.TESTER, reason="wrong")
        found = allocate(account, at=world.DECEMBER)
        assert (direct(found), found.total) == ({"ops": 1000}, 1000)

    def test_gives_a_minimum_and_flat_prices_of_nothing_to_nobody(self) -> None:
        account = open_with(
            {**CALLS, "unit_amount": "1", "minimum_amount": 500},
            {"meter": "payments", "model": "graduated", "tiers": [{"up_to": None, "flat_amount": 70}]},
        )
        make_cost_center(account, "ops")
        use(account, (100, "ops"))
        use(account, (0, "ops"), meter="payments")
        found = allocate(account)
        assert (direct(found), found.unallocated) == ({"ops": 100}, 470)

    def test_is_empty_without_centers_usage_or_subscription(self) -> None:
        found = allocate(world.open_account())
        assert (found.items, found.unallocated, found.total) == ((), 0, 0)

    @pytest.mark.parametrize("asked_for", ["running", "billed"])
    def test_asks_as_much_for_many_centers_and_meters(self, asked_for: str) -> None:
        account = open_with(FEE, CALLS, {"meter": "payments", "model": "per_unit", "unit_amount": "1"})
        make_cost_center(account, "c-0")
        use(account, (1, "c-0"))
        counts = []
        at = NOON if asked_for == "running" else world.DECEMBER
        for number in range(2):
            if number:
                for more in range(1, 9):
                    make_cost_center(account, f"c-{more}")
                    use(account, (1, f"c-{more}"))
                    use(account, (1, f"c-{more}"), meter="payments")
                if asked_for == "billed":
                    world.run_cycle(as_of=world.DECEMBER)
            with CaptureQueriesContext(connection) as asked:
                allocate(account, at=at)
            counts.append(len(asked))
        assert counts[0] >= counts[1]
        assert counts[1] <= 22


class TestEqualsTheCostSoFar:
    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("is_split", [False, True])
    def test_of_the_running_period_before_and_after_it_is_billed(self, seed: int, is_split: bool) -> None:
        costs.publish_plans()
        account = world.open_account()
        Account.objects.update(split_by_cost_center=is_split)
        for code in ("ops", "dev", "lab"):
            make_cost_center(account, code)
        rng = random.Random(seed)
        subscriptions = [world.subscribe(account, plan) for plan in rng.sample([*costs.PRICES], 5)]
        for subscription in subscriptions[:3]:
            percent = Decimal(rng.choice(["12.5", "33.3", "100"]))
            give_discount(subscription_id=subscription.pk, percent_off=percent, at=NOON, actor=world.TESTER)
        costs.use_randomly(account, NOVEMBER, events=150, seed=seed, centers=("ops", "dev", "lab", ""))
        at = world.DECEMBER - timedelta(seconds=1)
        now = get_realtime_cost(account=account, at=at)
        before = allocate(account, at=at)
        assert before.total == now.running.total > 0
        world.run_cycle(as_of=world.DECEMBER)
        after = allocate(account, at=world.DECEMBER)
        later = get_realtime_cost(account=account, at=datetime(2024, 1, 1, tzinfo=UTC) - timedelta(microseconds=1))
        assert (after.total, direct(after)) == (before.total, direct(before))
        assert later.previous_total == after.total

    def test_takes_the_discount_of_a_line_off_its_parts(self) -> None:
        account = open_with(CALLS)
        for code in ("ops", "dev"):
            make_cost_center(account, code)
        Account.objects.update(split_by_cost_center=True)
        use(account, (300, "ops"), (600, "dev"))
        subscription = account.subscriptions.get()
        give_discount(subscription_id=subscription.pk, percent_off=Decimal(25), at=NOON, actor=world.TESTER)
        world.run_cycle(as_of=world.DECEMBER)
        # 900 x 3.333… = 3000 less 750: 2250, a third of it 750.
        assert direct(allocate(account, at=world.DECEMBER)) == {"ops": 750, "dev": 1500}


class TestChooseAllocationPeriod:
    def test_defaults_to_the_billing_period_then_the_month(self) -> None:
        account = open_with(CALLS, at=datetime(2023, 11, 16, tzinfo=UTC))
        chosen = choose_allocation_period(account, start=None, end=None, at=NOON)
        assert chosen == Period(datetime(2023, 11, 16, tzinfo=UTC), datetime(2023, 12, 16, tzinfo=UTC))
        other = world.open_account("other")
        assert choose_allocation_period(other, start=None, end=None, at=NOON) == NOVEMBER

    def test_takes_days_where_the_account_lives(self) -> None:
        account = world.open_account(timezone="America/New_York")
        chosen = choose_allocation_period(account, start=date(2023, 11, 1), end=date(2023, 11, 30), at=NOON)
        assert chosen == Period(datetime(2023, 11, 1, 4, tzinfo=UTC), datetime(2023, 12, 1, 5, tzinfo=UTC))

    def test_takes_one_day_and_refuses_none(self) -> None:
        account = world.open_account()
        day = date(2023, 11, 1)
        assert choose_allocation_period(account, start=day, end=day, at=NOON).duration == timedelta(days=1)
        with pytest.raises(PeriodNotValid):
            choose_allocation_period(account, start=day, end=day - timedelta(days=1), at=NOON)
