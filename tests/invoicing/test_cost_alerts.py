"""
Which alerts fire, when, once, and who is told.

Calls cost a third of a cent each, the plan 5.00 a month; the month is November, which is also the billing period.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from accounts.queries.tiers import get_tier
from accounts.services.test_clocks import advance_test_clock, create_test_clock
from billing_site.kernel import clock
from billing_site.platform.models import Event, Notice
from invoicing.queries.alert_costs import load_alert_costs
from invoicing.services import cost_alerts as evaluation
from invoicing.services.cost_alerts import CHECK_EVERY, evaluate_cost_alerts, sweep_cost_alerts
from metering.models import CostAlert, CostAlertFiring
from metering.services.charging import ApiCall, charge_usage
from metering.services.cost_alerts import (
    delete_spend_alert,
    dismiss_cost_alert,
    update_spend_alert,
)
from metering.tasks.alerts import evaluate_alerts, sweep_alerts
from tests.factories.cost_alerts import make_cost_alert, make_spend_alert
from tests.factories.cost_centers import make_cost_center
from tests.support import costs, world
from tests.support.jobs import SentJobs

pytestmark = pytest.mark.django_db
AT = datetime(2023, 11, 20, 10, 30, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def catalog() -> None:
    costs.publish_plans()


@pytest.fixture
def account() -> Account:
    opened = world.open_account(email="billing@acme.example")
    world.subscribe(opened, "per_unit", at=world.NOVEMBER)
    return opened


def use(account: Account, calls: int, *, at: datetime = AT) -> None:
    world.use(account, "calls", [calls], at=at, key=f"{at:%m%d%H%M%S%f}-{calls}")


def look(account: Account, *, at: datetime = AT) -> list[CostAlertFiring]:
    return evaluate_cost_alerts(account_ids=[account.pk], at=at)


def fires(account: Account, *, at: datetime = AT) -> bool:
    return bool(look(account, at=at))


class TestAbsolute:
    def test_fires_when_the_cost_of_the_period_reaches_it(self, account: Account) -> None:
        alert = make_cost_alert(account, threshold_amount=600)
        use(account, 297)
        assert not fires(account)  # 500 + 297 / 3 = 599
        use(account, 3)
        [firing] = look(account)  # 500 + 300 / 3 = 600
        assert (firing.value, firing.threshold, firing.currency) == (600, 600, "usd")
        assert (firing.period_start, firing.period_end) == (world.NOVEMBER, world.DECEMBER)
        alert.refresh_from_db()
        assert (alert.status, alert.triggered_at, alert.triggered_value) == ("triggered", AT, 600)

    def test_writes_an_event_with_the_numbers(self, account: Account) -> None:
        alert = make_cost_alert(account, threshold_amount=600)
        use(account, 300)
        look(account)
        event = Event.objects.get(type="cost_alert.triggered")
        assert (event.object_id, event.account_id, event.created_at) == (alert.public_id, account.pk, AT)
        assert event.data == {
            "title": "",
            "threshold_type": "absolute",
            "scope": "period",
            "threshold_amount": 600,
            "currency": "usd",
            "notify_email": "",
            "notify_slack": False,
            "status": "triggered",
            "value": 600,
            "threshold": 600,
            "period_start": "2023-11-01T00:00:00Z",
            "period_end": "2023-12-01T00:00:00Z",
        }

    def test_fires_once_in_a_period_and_again_in_the_next(self, account: Account) -> None:
        make_cost_alert(account, threshold_amount=500)  # the fee alone
        assert [fires(account, at=AT + hour * timedelta(hours=1)) for hour in range(3)] == [True, False, False]
        world.run_cycle(as_of=world.DECEMBER)
        assert fires(account, at=world.DECEMBER + DAY)
        assert list(CostAlertFiring.objects.order_by("id").values_list("period_start", flat=True)) == [
            world.NOVEMBER,
            world.DECEMBER,
        ]

    def test_is_armed_again_by_the_next_period(self, account: Account) -> None:
        alert = make_cost_alert(account, threshold_amount=600)
        use(account, 300)
        look(account)
        world.run_cycle(as_of=world.DECEMBER)
        assert not fires(account, at=world.DECEMBER + DAY)  # the fee of December: 500
        alert.refresh_from_db()
        assert (alert.status, alert.triggered_at, alert.silent_until) == ("armed", None, None)

    def test_of_a_dismissed_one_says_nothing_until_the_next_period(self, account: Account) -> None:
        alert = make_cost_alert(account, threshold_amount=500)
        dismiss_cost_alert(alert_id=alert.pk, at=AT, actor=world.TESTER)
        assert not fires(account, at=AT + DAY)
        world.run_cycle(as_of=world.DECEMBER)
        assert fires(account, at=world.DECEMBER)

    def test_counts_in_its_own_currency(self, account: Account) -> None:
        make_cost_alert(account, threshold_amount=1, currency="eur")
        use(account, 300)
        assert not fires(account)


class TestPercentageOfBudget:
    def test_is_of_the_active_centers_at_the_top(self, account: Account) -> None:
        top = make_cost_center(account, "one", budget=400)
        make_cost_center(account, "two", budget=350)
        make_cost_center(account, "below", budget=9_000, parent=top)
        make_cost_center(account, "old", budget=9_000, is_active=False)
        make_cost_alert(account, threshold_type="percentage_of_budget", threshold_percent=Decimal(80))
        use(account, 297)
        assert not fires(account)  # 599 of 80 % of (400 + 350) = 600
        use(account, 3)
        [firing] = look(account)
        assert (firing.value, firing.threshold) == (600, 600)
        assert firing.details == {"budget": 750, "percent": "80"}

    def test_says_nothing_when_the_budget_is_gone(self, account: Account) -> None:
        center = make_cost_center(account, "one", budget=1)
        make_cost_alert(account, threshold_type="percentage_of_budget")
        type(center).objects.update(budget=None)
        assert not fires(account)


class TestDailyRate:
    def test_is_what_was_used_on_the_utc_day(self, account: Account) -> None:
        make_cost_alert(account, threshold_type="daily_rate", threshold_amount=100)
        use(account, 3_000, at=AT - DAY)
        use(account, 150, at=AT.replace(hour=0, minute=0))
        assert not fires(account)  # 150 / 3 = 50 today, 1,000 the day before
        use(account, 150)
        [firing] = look(account)
        assert firing.value == 100
        assert (firing.period_start, firing.period_end) == (
            AT.replace(hour=0, minute=0),
            AT.replace(day=21, hour=0, minute=0),
        )
        assert not fires(account, at=AT.replace(hour=23))
        use(account, 300, at=AT + DAY)
        assert fires(account, at=AT + DAY)

    def test_holds_no_fee(self, account: Account) -> None:
        make_cost_alert(account, threshold_type="daily_rate", threshold_amount=100)
        assert not fires(account, at=world.NOVEMBER + timedelta(hours=1))  # the fee of 500 began on that day

    def test_holds_what_was_charged_at_once(self, account: Account) -> None:
        make_cost_alert(account, threshold_type="daily_rate", threshold_amount=100)
        use(account, 180)  # 60
        charge(account, 39)
        assert not fires(account)
        charge(account, 1)
        assert fires(account)


class TestAnomaly:
    def test_is_above_twice_the_mean_of_the_days_before(self, account: Account) -> None:
        make_cost_alert(account, threshold_type="anomaly")
        for back, calls in ((8, 30_000), (7, 210), (4, 300), (1, 390)):
            use(account, calls, at=AT - back * DAY)
        use(account, 600)
        assert not fires(account)  # (70 + 100 + 130) / 3 = 100, today 200; the eighth day does not count
        use(account, 3)
        [firing] = look(account)
        assert (firing.value, firing.threshold) == (201, 201)
        assert firing.details == {"mean": 100, "days_of_data": 3, "percent": "200"}

    def test_needs_three_days_of_data(self, account: Account) -> None:
        make_cost_alert(account, threshold_type="anomaly")
        for back in (1, 2):
            use(account, 300, at=AT - back * DAY)
        use(account, 30_000)
        assert not fires(account)
        use(account, 3, at=AT - 5 * DAY)
        assert fires(account)


def charge(account: Account, amount: int, *, at: datetime = AT, currency: str = "usd") -> None:
    call, tier = ApiCall(), get_tier(account=account)
    charge_usage(account=account, amount=amount, currency=currency, call=call, tier=tier, at=at, actor=world.TESTER)


class TestSpendAlert:
    def test_counts_fees_rated_and_charged_usage_of_the_utc_month(self, account: Account) -> None:
        alert = make_spend_alert(account, 700)
        use(account, 300)
        charge(account, 99)
        assert not fires(account)  # 500 + 100 + 99
        charge(account, 1)
        [firing] = look(account)
        assert (firing.value, firing.period_end) == (700, world.DECEMBER)
        event = Event.objects.get(type="spend_alert.triggered")
        assert (event.object_id, event.data["value"]) == (alert.public_id, 700)

    def test_fires_once_a_month(self, account: Account) -> None:
        make_spend_alert(account, 500)
        assert [fires(account, at=AT + day * DAY) for day in range(3)] == [True, False, False]
        world.run_cycle(as_of=world.DECEMBER)
        assert fires(account, at=world.DECEMBER)

    def test_fires_again_for_a_new_threshold(self, account: Account) -> None:
        alert = make_spend_alert(account, 500)
        assert fires(account)
        update_spend_alert(alert_id=alert.pk, changes={"threshold": 600}, at=AT, actor=world.TESTER)
        assert not fires(account)
        use(account, 300)
        assert fires(account)
        assert not fires(account)
        assert list(CostAlertFiring.objects.order_by("id").values_list("arming", "threshold")) == [(1, 500), (2, 600)]

    def test_counts_a_currency_in_which_only_calls_were_charged(self, account: Account) -> None:
        make_spend_alert(account, 50, currency="eur")
        charge(account, 50, currency="eur")
        assert [firing.value for firing in look(account)] == [50]

    def test_that_was_deleted_says_nothing(self, account: Account) -> None:
        alert = make_spend_alert(account, 1)
        delete_spend_alert(alert_id=alert.pk, at=AT, actor=world.TESTER)
        assert not fires(account)

    def test_is_mailed_to_the_account(self, account: Account) -> None:
        make_spend_alert(account, 500, title="The roof")
        [firing] = look(account)
        notice = Notice.objects.get()
        assert (notice.recipient, notice.subject) == ("billing@acme.example", "Spend alert: The roof – 5.00 USD")
        assert notice.about == firing.alert.public_id


class TestChannels:
    def test_mail_and_chat_get_the_numbers_after_the_commit(
        self, account: Account, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any, settings: Any
    ) -> None:
        make_cost_alert(account, threshold_amount=600, notify_email="ops@example.com", notify_slack=True)
        use(account, 300)
        with django_capture_on_commit_callbacks(execute=True):
            look(account)
        assert mail.outbox == []
        assert set(Notice.objects.values_list("channel", flat=True)) == {"mail", "chat"}
        sent_jobs.run()
        [message] = mail.outbox
        assert message.to == ["ops@example.com"]
        assert message.subject == "Cost alert: Acme – 6.00 USD"
        assert "The cost of the billing period of Acme came to 6.00 USD on 2023-11-20 10:30 UTC." in message.body
        assert "Period: 2023-11-01 00:00 to 2023-12-01 00:00 UTC" in message.body

    def test_nobody_is_told_who_did_not_ask(self, account: Account) -> None:
        make_cost_alert(account)
        assert fires(account)
        assert not Notice.objects.exists()


class TestLooking:
    def test_costs_one_query_where_there_is_no_alert(self, account: Account, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(1):
            assert look(account) == []

    def test_costs_one_query_while_everything_is_silent(self, account: Account, django_assert_num_queries: Any) -> None:
        make_cost_alert(account)
        look(account)
        with django_assert_num_queries(1):
            assert look(account) == []

    def test_asks_as_often_for_many_accounts_and_alerts(self) -> None:
        counts = []
        for number in (1, 6):
            accounts = [world.open_account(f"a{number}-{each}") for each in range(number)]
            for each in accounts:
                world.subscribe(each, "per_unit", at=world.NOVEMBER)
                for _ in range(number):
                    make_cost_alert(each, threshold_amount=10_000)
                    make_spend_alert(each, 10_000)
                use(each, 300)
            CostAlert.objects.update(next_check_at=AT + DAY)
            with CaptureQueriesContext(connection) as captured:
                evaluate_cost_alerts(account_ids=[each.pk for each in accounts], at=AT)
            counts.append(len(captured))
        assert counts[0] == counts[1]

    def test_leaves_a_threshold_that_was_changed_meanwhile_to_the_next_look(
        self, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alert = make_spend_alert(account, 500)

        def load_while_it_changes(*args: Any, **options: Any) -> Any:
            update_spend_alert(alert_id=alert.pk, changes={"threshold": 501}, at=AT, actor=world.TESTER)
            return load_alert_costs(*args, **options)

        monkeypatch.setattr(evaluation, "load_alert_costs", load_while_it_changes)
        assert not fires(account)
        alert.refresh_from_db()
        assert (alert.status, alert.arming) == ("armed", 2)

    def test_lives_by_the_clock_of_the_account(self) -> None:
        later = AT + timedelta(days=400)
        frozen = create_test_clock(name="future", now_at=later, at=AT, actor=world.TESTER)
        opened = world.open_account("later", test_clock=frozen, at=AT)
        world.subscribe(opened, "per_unit", at=later)
        make_spend_alert(opened, 500, at=later)
        [firing] = look(opened)
        assert firing.fired_at == later
        assert not fires(opened)
        advance_test_clock(clock_id=frozen.pk, to=later + timedelta(days=31), at=AT, actor=world.TESTER)
        CostAlert.objects.get().account.refresh_from_db()
        world.run_cycle(as_of=AT)
        assert fires(opened)


class TestSweep:
    def test_looks_at_what_is_due_and_puts_it_off(self, account: Account) -> None:
        alert = make_cost_alert(account, threshold_amount=600, at=AT)
        assert sweep_cost_alerts(at=AT) == ([], False)
        alert.refresh_from_db()
        assert alert.next_check_at == AT + CHECK_EVERY
        use(account, 300)
        assert sweep_cost_alerts(at=AT + CHECK_EVERY - timedelta(seconds=1)) == ([], False)
        fired, _ = sweep_cost_alerts(at=AT + CHECK_EVERY)
        assert len(fired) == 1
        alert.refresh_from_db()
        assert alert.next_check_at == world.DECEMBER

    def test_goes_through_all_in_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(evaluation, "CHUNK", 2)
        monkeypatch.setattr(evaluation, "SWEEP_CHUNKS", 2)
        for number in range(5):
            make_spend_alert(world.open_account(f"a{number}"), at=AT)
        sizes: list[int] = []

        def load_and_count(accounts: Any, **given: Any) -> Any:
            sizes.append(len(accounts))
            return load_alert_costs(accounts, **given)

        monkeypatch.setattr(evaluation, "load_alert_costs", load_and_count)
        assert [sweep_cost_alerts(at=AT)[1] for _ in range(2)] == [True, False]
        assert sizes == [2, 2, 1]

    def test_passes_over_an_account_whose_costs_cannot_be_computed(
        self, account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        broken = world.open_account("broken")
        for each in (broken, account):
            make_spend_alert(each, 500, at=AT)

        def fail_for_one(accounts: Any, **given: Any) -> Any:
            if broken.pk in {each.pk for each in accounts}:
                raise ArithmeticError("this cannot be priced")
            return load_alert_costs(accounts, **given)

        monkeypatch.setattr(evaluation, "load_alert_costs", fail_for_one)
        fired, has_more = sweep_cost_alerts(at=AT)
        assert ([firing.alert.account_id for firing in fired], has_more) == ([account.pk], False)
        assert f"cost alerts of account {broken.pk} cannot be looked at" in caplog.text
        assert CostAlert.objects.get(account=broken).next_check_at == AT + CHECK_EVERY


class TestTasks:
    def test_look_at_the_named_accounts(self, account: Account, clock_at: Callable[..., Any]) -> None:
        make_cost_alert(account)
        with clock_at(AT):
            assert evaluate_alerts([str(account.pk)]) == 1

    def test_sweep_goes_on_in_another_job(
        self, sent_jobs: SentJobs, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
    ) -> None:
        monkeypatch.setattr(evaluation, "CHUNK", 1)
        monkeypatch.setattr(evaluation, "SWEEP_CHUNKS", 1)
        for number in range(2):
            make_spend_alert(world.open_account(f"a{number}"), at=AT)
        with clock.travel(AT), django_capture_on_commit_callbacks(execute=True):
            sweep_alerts()
        assert sent_jobs.names == ["metering.sweep_alerts"]

    def test_usage_leads_to_a_look(
        self, account: Account, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            use(account, 300)
        assert sent_jobs.of("metering.evaluate_alerts") == [{"account_ids": [str(account.pk)]}]

    def test_a_charge_leads_to_a_look(
        self, account: Account, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            charge(account, 5)
        assert sent_jobs.of("metering.evaluate_alerts") == [{"account_ids": [str(account.pk)]}]
