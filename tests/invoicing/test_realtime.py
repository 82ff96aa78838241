"""Cost so far: the numbers of the next invoice, however the account buys, and the same step by step."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.services.discounts import give_discount
from billing_site.kernel.periods import Period
from invoicing.models import Invoice
from invoicing.queries.realtime import get_realtime_cost, get_realtime_resources, get_timeline
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.pauses import pause_subscription
from invoicing.services.renewals import renew_subscription
from tests.support import costs, world

pytestmark = pytest.mark.django_db
NOVEMBER = Period(world.NOVEMBER, world.DECEMBER)
AT = datetime(2023, 11, 20, 10, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    costs.publish_plans()


class TestEqualsTheInvoice:
    @pytest.mark.parametrize("plan", [*costs.PRICES])
    def test_of_every_price(self, plan: str) -> None:
        account = world.open_account(plan)
        subscription = world.subscribe(account, plan)
        costs.use_randomly(account, Period(world.NOVEMBER, AT), events=120, seed=len(plan))
        found = get_realtime_cost(account=account, at=AT)
        costs.check_timeline(account, at=AT, granularity="hour")
        costs.check_timeline(account, at=AT, granularity="day")
        resources = get_realtime_resources(account=account, at=AT)
        assert sum(item.cost for item in resources.items) == found.running.total
        world.run_cycle(as_of=world.DECEMBER)
        invoice = Invoice.objects.filter(subscription=subscription).order_by("-id")[0]
        # The same fee is billed for December, so the whole invoice is what November costs.
        assert found.running.total == invoice.total > 0
        assert (found.running.period, found.running.currency) == (NOVEMBER, "usd")


def choose_mix(seed: int) -> dict[str, Any]:
    """Return how an account buys: up to four plans in two currencies, begun on different days, what happens then."""
    rng = random.Random(seed)
    plans = rng.sample([*costs.PRICES], rng.randint(1, 4))
    return {
        "seed": seed,
        "plans": ["fee", *(plan for plan in plans if plan != "fee")] if (upgrade := rng.random() < 0.4) else plans,
        "upgrade": upgrade,
        "zone": rng.choice(["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata"]),
        "buys": [(rng.choice(["usd", "usd", "eur"]), rng.randint(0, 24), rng.choice([0, 0, 12])) for _ in range(5)],
        "hours": rng.randint(1, 50 * 24),
        "percent": rng.choice([None, "25", "33.3"]),
        "months": rng.choice([None, 1]),
        "is_late": rng.random() < 0.3,
    }


class TestEqualsInvoicesOfAnyMix:
    @pytest.mark.parametrize("seed", range(40))
    def test_of_subscriptions_changes_trials_and_discounts(self, seed: int) -> None:
        mix = choose_mix(seed)
        account = world.open_account(f"mix-{mix['seed']}", timezone=mix["zone"])
        begin = datetime(2023, 10, 10, 7, 20, tzinfo=UTC)
        subscriptions = []
        for plan, (currency, days, trial_days) in zip(mix["plans"], mix["buys"], strict=False):
            start = begin + timedelta(days=days)
            subscriptions.append(
                world.subscribe(account, plan, at=start, currency=currency, trial_period_days=trial_days)
            )
        middle = begin + timedelta(days=25)
        at = middle + timedelta(hours=mix["hours"])
        costs.use_randomly(account, Period(begin, at), events=200, seed=mix["seed"])
        if not mix["is_late"]:
            world.run_cycle(as_of=middle)
        first = subscriptions[0]
        first.refresh_from_db()
        if mix["upgrade"] and first.status == "active":
            request = ChangeRequest(plan_key="bigger")
            change_subscription(subscription_id=first.pk, request=request, at=middle, actor=world.TESTER)
        if mix["percent"] is not None:
            give_discount(
                subscription_id=first.pk,
                percent_off=Decimal(mix["percent"]),
                duration_months=mix["months"],
                at=middle,
                actor=world.TESTER,
            )
        if not mix["is_late"]:
            world.run_cycle(as_of=at)
        found = {each: get_realtime_cost(account=account, at=at, currency=each) for each in ("usd", "eur")}
        for currency, cost in found.items():
            if cost.running.subscriptions:
                costs.check_timeline(account, at=at, granularity="day", currency=currency)
        world.run_cycle(as_of=max(cost.running.period.end for cost in found.values()))
        for currency, cost in found.items():
            expected = sum(
                costs.add_up_invoices([each.open.subscription_id], each.open.period, currency=currency)
                for each in cost.running.subscriptions
            )
            assert cost.running.total == expected


class TestGetRealtimeCost:
    def test_counts_the_fee_of_the_running_period_that_was_billed_and_not_the_next(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "fee")
        change_subscription(
            subscription_id=subscription.pk,
            request=ChangeRequest(plan_key="bigger", effective="period_end"),
            at=AT,
            actor=world.TESTER,
        )
        found = get_realtime_cost(account=account, at=AT).running
        assert (found.fixed, found.usage, found.total) == (1999, 0, 1999)

    def test_counts_what_a_change_charged_and_gave_back(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "fee")
        at = datetime(2023, 11, 16, tzinfo=UTC)
        change_subscription(
            subscription_id=subscription.pk, request=ChangeRequest(plan_key="bigger"), at=at, actor=world.TESTER
        )
        # 1999 for November, 15 of 30 days of it back (999.5 → 1000), 15 of 30 days of 4999 (2499.5 → 2500).
        assert get_realtime_cost(account=account, at=AT).running.fixed == 1999 - 1000 + 2500

    def test_compares_with_the_same_share_of_the_period_before(self) -> None:
        account = world.open_account()
        world.subscribe(account, "graduated", at=world.OCTOBER)
        for day, quantity in ((5, 60), (16, 100), (20, 1000)):
            world.use(account, "calls", [quantity], at=datetime(2023, 10, day, tzinfo=UTC), key=str(day))
        world.run_cycle(as_of=world.NOVEMBER)
        # 15 of 30 days have passed; as much of October had on the 16th at noon, when 160 calls had been made:
        # 50 x 3 + 100 for the first tier, 110 x 0.333333333333 = 36.67 for the second: 286.67.
        half = datetime(2023, 11, 16, tzinfo=UTC)
        found = get_realtime_cost(account=account, at=half)
        assert found.previous_total == 287
        # In the last moment all of it: 250 + 150 x a third + 960 x 0.07 + 11 = 378.20.
        last = get_realtime_cost(account=account, at=world.DECEMBER - timedelta(microseconds=1))
        assert last.previous_total == Invoice.objects.get().total == 378

    def test_says_the_same_of_the_period_before_as_long_as_it_is_not_billed(self) -> None:
        account = world.open_account()
        world.subscribe(account, "per_unit", at=world.OCTOBER)
        # 19 days and 10.5 hours of 30 have passed, as 20 days 1.98 hours of the 31 of October.
        cut = datetime(2023, 10, 21, 2, tzinfo=UTC)
        for key, at in (("before", cut - timedelta(hours=1)), ("after", cut + timedelta(hours=1))):
            world.use(account, "calls", [165], at=at, key=key)
        late = get_realtime_cost(account=account, at=AT)
        world.run_cycle(as_of=world.NOVEMBER)
        billed = get_realtime_cost(account=account, at=AT)
        assert (billed.running.total, billed.previous_total) == (late.running.total, late.previous_total)
        assert (late.running.total, late.previous_total) == (500, 555)

    def test_knows_a_first_period_that_began_in_the_middle_of_a_day(self) -> None:
        account = world.open_account(timezone="America/New_York")
        begin = datetime(2023, 10, 20, 21, 45, tzinfo=UTC)
        world.subscribe(account, "per_unit", at=begin)
        world.use(account, "calls", [300], at=begin)
        world.run_cycle(as_of=AT + timedelta(days=5))
        assert get_realtime_cost(account=account, at=AT + timedelta(days=5)).previous_total == 500 + 100

    def test_of_a_pause_counts_what_was_used_before_it(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "per_unit")
        world.use(account, "calls", [300], at=datetime(2023, 11, 3, tzinfo=UTC))
        pause_subscription(subscription_id=subscription.pk, at=datetime(2023, 11, 5, tzinfo=UTC), actor=world.TESTER)
        found = get_realtime_cost(account=account, at=AT).running
        # The fee was billed whole on 1 November; 300 calls at a third of a cent.
        assert (found.fixed, found.usage) == (500, 100)

    def test_of_a_renewal_ahead_of_time_stays_in_the_running_period(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "per_unit")
        world.use(account, "calls", [300], at=datetime(2023, 11, 3, tzinfo=UTC), key="a")
        renew_subscription(subscription_id=subscription.pk, at=datetime(2023, 11, 10, tzinfo=UTC), actor=world.TESTER)
        world.use(account, "calls", [60], at=datetime(2023, 11, 12, tzinfo=UTC), key="b")
        found = get_realtime_cost(account=account, at=AT).running
        assert found.period == NOVEMBER
        # November's fee; 100 billed with the renewal and 20 since. December's fee, billed already, is December's.
        assert (found.fixed, found.usage) == (500, 120)
        assert found.total == costs.check_timeline(account, at=AT, granularity="day").points[-1].cumulative
        december = get_realtime_cost(account=account, at=world.DECEMBER).running
        assert (december.fixed, december.usage) == (500, 20)

    def test_of_an_account_without_a_subscription_is_nothing_in_its_calendar_month(self) -> None:
        account = world.open_account(timezone="Asia/Kolkata", currency="eur")
        world.use(account, "calls", [300], at=datetime(2023, 11, 3, tzinfo=UTC))
        found = get_realtime_cost(account=account, at=AT)
        assert (found.running.total, found.previous_total, found.running.currency) == (0, 0, "eur")
        # Midnight in Kolkata is half past six in the evening before, UTC.
        assert found.running.period == Period(
            datetime(2023, 10, 31, 18, 30, tzinfo=UTC), datetime(2023, 11, 30, 18, 30, tzinfo=UTC)
        )

    def test_chooses_a_currency(self) -> None:
        account = world.open_account(currency="usd")
        world.subscribe(account, "fee", currency="eur")
        assert get_realtime_cost(account=account, at=AT).running.currency == "eur"
        world.subscribe(account, "per_unit", currency="usd")
        assert get_realtime_cost(account=account, at=AT).running.currency == "usd"
        assert get_realtime_cost(account=account, at=AT, currency="eur").running.total == 1999
        assert get_realtime_cost(account=account, at=AT, currency="jpy").running.total == 0

    def test_asks_as_often_however_much_was_used(self) -> None:
        counts = set()
        for number, events in enumerate((10, 300)):
            account = world.open_account(f"a{number}")
            for plan in ("per_unit", "by_model", "free_by_model"):
                world.subscribe(account, plan)
            costs.use_randomly(account, Period(world.NOVEMBER, AT), events=events, seed=events)
            with CaptureQueriesContext(connection) as captured:
                get_realtime_cost(account=account, at=AT)
            with CaptureQueriesContext(connection) as timeline:
                get_timeline(account=account, at=AT, granularity="hour")
            counts.add((len(captured), len(timeline)))
        assert counts == {(15, 18)}


class TestGetRealtimeResources:
    def test_splits_the_total_by_meter(self) -> None:
        account = world.open_account()
        world.subscribe(account, "included")
        world.subscribe(account, "counted")
        world.use(account, "calls", [110], at=AT, key="a")
        world.use(account, "uploads", [1, 1], at=AT - timedelta(hours=1), key="b")
        world.use(account, "level", [9], at=AT, key="c")
        found = get_realtime_resources(account=account, at=AT)
        shown = [
            (item.meter and item.meter.event_name, item.cost, str(item.quantity.normalize())) for item in found.items
        ]
        # The fee; 10 calls above the 100 that are included at 2.5; two uploads at 3.3 (6.6); a meter without a price.
        assert shown == [(None, 1000, "0"), ("calls", 25, "1.1E+2"), ("uploads", 7, "2"), ("level", 0, "9")]
        assert [item.threshold for item in found.items] == [None, Decimal(100), None, None]
        # 1000, 25 and 7 of 1032.
        assert [str(item.share_percent) for item in found.items] == ["96.90", "2.42", "0.68", "0.00"]
        assert found.items[1].last_recorded_at == AT
