"""Starting subscriptions."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from accounts.models import Account, Subscription, SubscriptionItem
from accounts.services.accounts import update_account
from accounts.services.subscriptions import PlanNotSubscribable, SubscriptionExists
from billing_site.kernel.errors import AmountNotPositive, InvalidState, ValidationFailed
from billing_site.platform.models import Event
from catalog.queries.plans import PlanNotFound
from tests.factories.accounts import ACTOR, AT, make_account, make_subscription, publish_catalog


@pytest.fixture
def account(db: None) -> Account:
    """An account with a catalog to choose from."""
    publish_catalog()
    return make_account()


def get_amount(item: SubscriptionItem) -> Decimal | None:
    assert item.price is not None
    return item.price.unit_amount


class TestCreateSubscription:
    def test_with_a_fee_in_advance_is_due_at_once(self, account: Account) -> None:
        subscription = make_subscription(account, "pro", quantity=3)
        assert (subscription.status, subscription.currency, subscription.interval) == ("active", "usd", "month")
        assert (subscription.next_boundary, subscription.next_billing_at) == (0, AT)
        assert subscription.anchor_date == date(2026, 3, 15)
        assert subscription.current_period_start == datetime(2026, 3, 15, tzinfo=UTC)
        assert subscription.current_period_end == datetime(2026, 4, 15, tzinfo=UTC)
        item = SubscriptionItem.objects.get(subscription=subscription)
        assert (item.billing_mode, item.quantity, get_amount(item)) == ("licensed", 3, Decimal(4900))

    @pytest.mark.parametrize("plan", ["free", "payg", "enterprise"])
    def test_without_one_is_due_at_the_end_of_the_period(self, account: Account, plan: str) -> None:
        subscription = make_subscription(account, plan)
        assert (subscription.next_boundary, subscription.next_billing_at) == (1, subscription.current_period_end)

    def test_takes_fee_and_usage_prices_of_its_interval_and_currency(self, account: Account) -> None:
        subscription = make_subscription(account, "mixed", quantity=2)
        items = SubscriptionItem.objects.filter(subscription=subscription)
        assert sorted(items.values_list("billing_mode", "quantity", "price__unit_amount")) == [
            ("licensed", 2, Decimal(1500)),
            ("metered", 0, Decimal("0.5")),
        ]
        assert items.get(billing_mode="metered").meter is not None

    def test_by_the_year(self, account: Account) -> None:
        subscription = make_subscription(account, "pro", interval="year")
        assert subscription.current_period_end == datetime(2027, 3, 15, tzinfo=UTC)
        assert get_amount(SubscriptionItem.objects.get()) == 49000

    def test_in_another_currency(self, account: Account) -> None:
        assert make_subscription(account, "pro", currency="eur").currency == "eur"
        assert get_amount(SubscriptionItem.objects.get()) == 4500

    def test_may_have_started_before(self, account: Account) -> None:
        start = datetime(2026, 1, 31, 8, tzinfo=UTC)
        subscription = make_subscription(account, "pro", start_at=start)
        assert (subscription.started_at, subscription.anchor_date) == (start, date(2026, 1, 31))
        assert subscription.current_period_end == datetime(2026, 2, 28, tzinfo=UTC)
        assert (subscription.next_boundary, subscription.next_billing_at) == (0, start)

    def test_on_the_calendar_begins_with_what_is_left_of_the_month(self, account: Account) -> None:
        subscription = make_subscription(account, "pro", alignment="calendar")
        assert (subscription.alignment, subscription.anchor_date) == ("calendar", date(2026, 3, 1))
        assert subscription.current_period_start == datetime(2026, 3, 15, tzinfo=UTC)
        assert subscription.current_period_end == datetime(2026, 4, 1, tzinfo=UTC)

    def test_before_an_anchor_is_one_period(self, account: Account) -> None:
        subscription = make_subscription(account, "pro", billing_cycle_anchor=date(2026, 5, 1))
        assert (subscription.alignment, subscription.billing_cycle_anchor) == ("anniversary", date(2026, 5, 1))
        assert subscription.anchor_date == date(2026, 5, 1)
        assert subscription.current_period_end == datetime(2026, 5, 1, tzinfo=UTC)

    @pytest.mark.parametrize(("ahead", "fits"), [(730, True), (731, False), (-5_000, True)])
    def test_an_anchor_lies_at_most_two_years_ahead(self, account: Account, ahead: int, fits: bool) -> None:
        anchor = date(2026, 3, 15) + timedelta(days=ahead)
        if fits:
            assert make_subscription(account, "pro", billing_cycle_anchor=anchor).anchor_date == anchor
            return
        with pytest.raises(ValidationFailed, match="at most 730 days"):
            make_subscription(account, "pro", billing_cycle_anchor=anchor)

    def test_on_trial_the_anchor_is_counted_from_its_end(self, account: Account) -> None:
        subscription = make_subscription(account, "trial", alignment="calendar")  # 14 days: until the 29th
        assert subscription.current_period_end == datetime(2026, 3, 29, tzinfo=UTC)
        assert (subscription.anchor_date, subscription.next_billing_at) == (date(2026, 3, 1), subscription.trial_end)

    @pytest.mark.parametrize(("plan", "days"), [("pro", 9), ("trial", 14), ("free", 0)])
    def test_a_default_of_the_caller_is_for_plans_that_cost_something_and_do_not_say(
        self, account: Account, plan: str, days: int
    ) -> None:
        subscription = make_subscription(account, plan, default_trial_days=9)
        end = subscription.trial_end
        assert (0 if end is None else (end - datetime(2026, 3, 15, tzinfo=UTC)).days) == days

    def test_lives_in_the_zone_of_the_account(self, db: None) -> None:
        publish_catalog()
        subscription = make_subscription(make_account(timezone="Asia/Tokyo"), "pro")
        assert subscription.timezone == "Asia/Tokyo"
        assert subscription.current_period_start == datetime(2026, 3, 14, 15, tzinfo=UTC)

    def test_tells_what_happened(self, account: Account) -> None:
        subscription = make_subscription(account, "pro")
        event = Event.objects.get(type="subscription.created")
        assert (event.object_id, event.account_id) == (subscription.public_id, account.pk)
        assert (event.data["plan_id"], event.data["status"]) == ("pro", "active")

    def test_refuses_a_second_one_for_the_same_product(self, account: Account) -> None:
        make_subscription(account, "free")
        with pytest.raises(SubscriptionExists):
            make_subscription(account, "pro")
        assert Subscription.objects.count() == 1
        make_subscription(account, "payg")  # another product

    def test_allows_a_new_one_after_the_end(self, account: Account) -> None:
        first = make_subscription(account, "pro")
        Subscription.objects.filter(pk=first.pk).update(status="canceled", ended_at=AT)
        assert make_subscription(account, "pro").pk != first.pk

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"plan_key": "nothing"}, PlanNotFound),
            ({"plan_key": "enterprise", "self_service": True}, PlanNotSubscribable),
            ({"quantity": 0}, ValidationFailed),
            ({"quantity": 2**31}, ValidationFailed),
            ({"trial_period_days": -1}, ValidationFailed),
            ({"billing_threshold": 0}, AmountNotPositive),
            ({"start_at": AT + timedelta(seconds=1)}, ValidationFailed),
            ({"alignment": "lunar"}, ValidationFailed),
            ({"alignment": "calendar", "billing_cycle_anchor": AT.date()}, ValidationFailed),
        ],
    )
    def test_refuses_and_writes_nothing(self, account: Account, given: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error):
            make_subscription(account, **given)
        assert not Subscription.objects.exists()
        assert not Event.objects.filter(type="subscription.created").exists()

    @pytest.mark.parametrize(
        ("given", "pointer", "part"),
        [
            ({"currency": "jpy"}, "/currency", "sold in EUR, USD"),
            ({"interval": "week"}, "/interval", "month, year"),
            ({"currency": "eur", "interval": "year"}, "/interval", "month"),
            ({"plan_key": "mixed", "interval": "year"}, "/interval", "tokens"),
        ],
    )
    def test_says_what_the_plan_is_sold_for(
        self, account: Account, given: dict[str, Any], pointer: str, part: str
    ) -> None:
        with pytest.raises(ValidationFailed) as refusal:
            make_subscription(account, **{"plan_key": "pro", **given})
        assert refusal.value.errors[0].pointer == pointer
        assert part in refusal.value.detail

    def test_refuses_a_closed_account(self, account: Account) -> None:
        closed = update_account(account_id=account.pk, changes={"status": "closed"}, at=AT, actor=ACTOR)
        with pytest.raises(InvalidState):
            make_subscription(closed)


class TestTrial:
    def test_days_come_from_the_plan(self, account: Account) -> None:
        subscription = make_subscription(account, "trial")
        end = datetime(2026, 3, 29, tzinfo=UTC)  # 15 March + 14 days
        assert (subscription.status, subscription.trial_start, subscription.trial_end) == ("trialing", AT, end)
        assert (subscription.current_period_end, subscription.anchor_date) == (end, date(2026, 3, 29))
        assert (subscription.next_boundary, subscription.next_billing_at) == (0, end)

    @pytest.mark.parametrize(
        ("plan", "asked", "site", "days"),
        [("trial", 3, 30, 3), ("trial", 0, 30, 0), ("trial", None, 30, 14), ("pro", None, 30, 30), ("pro", None, 0, 0)],
    )
    def test_what_is_asked_wins_over_plan_and_site(
        self, account: Account, settings: Any, plan: str, asked: int | None, site: int, days: int
    ) -> None:
        settings.BILLING_TRIAL_PERIOD_DAYS = site
        subscription = make_subscription(account, plan, trial_period_days=asked)
        expected = datetime(2026, 3, 15, tzinfo=UTC) + timedelta(days=days) if days else None
        assert subscription.trial_end == expected


@pytest.mark.django_db(transaction=True)
def test_of_20_starts_at_once_one_wins() -> None:
    publish_catalog()
    account = make_account()
    start, refused = threading.Barrier(20), []

    def work() -> None:
        try:
            start.wait()
            make_subscription(account)
        except SubscriptionExists as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(refused) == 19
    assert Subscription.objects.count() == 1
