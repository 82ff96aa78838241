"""What a provider that bills usage is told: each hour's total, late usage too, nothing twice, nothing lost."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Account, Subscription
from billing_site.kernel import clock
from billing_site.kernel.errors import InvalidState
from billing_site.kernel.periods import Period
from billing_site.platform.models import Event
from catalog.models import Meter
from invoicing.gateways import registry
from invoicing.gateways.port import ProviderUnavailable, UsageRejected
from invoicing.services.provider_updates import NeutralUpdate, apply_provider_update
from invoicing.services.usage_exports import export_usage, send_due_exports
from metering.models import UsageExport, UsageExportCursor, UsageExportSurplus
from metering.services.export_planning import open_cursors, plan_due_accounts
from metering.services.usage_exports import NewUsageExport, retry_export
from metering.stores import find_events, insert_voiding, make_voiding, sum_buckets
from metering.tasks import plan_usage_exports, purge_usage_feed, send_usage_exports
from tests.support import world
from tests.support.meter_provider import MeterProvider
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db

START = datetime(2023, 11, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _exported(settings: Any) -> None:
    settings.BILLING_USAGE_EXPORT_FROM = START


@pytest.fixture
def provider() -> MeterProvider:
    return MeterProvider()


def tell_status(account: Account, status: str, *, at: datetime, **options: Any) -> None:
    """Let the provider say what became of the account's subscription."""
    update = NeutralUpdate(
        event_id=f"{account.external_id}-{status}", provider="local", status=status, occurred_at=at, **options
    )
    apply_provider_update(account=account, update=update, at=at, actor=TESTER)


def open_billed_account(handle: str = "acme") -> Account:
    """Open an account whose usage of tokens the provider bills since the 10th of November."""
    if not Subscription.objects.exists():
        world.publish()
    account = world.open_account(handle)
    tell_status(account, "active", at=START, plan_id="payg", provider_customer_id=f"cus_{handle}")
    account.refresh_from_db()
    return account


def after(hours: float) -> datetime:
    """Return the time so many hours after the start."""
    return START + timedelta(hours=hours)


def use(account: Account, quantity: int, *, at: datetime, key: str, meter: str = "input_tokens") -> None:
    world.use(account, meter, [quantity], at=at, key=key)


def work(provider: MeterProvider, *, at: datetime) -> None:
    """Do what the schedule does at `at`."""
    open_cursors(at=at)
    plan_due_accounts(at=at, limit=100)
    send(provider, at=at)


def send(provider: MeterProvider, *, at: datetime) -> int:
    return send_due_exports(at=at, limit=1000, find_gateway=lambda _export: provider)


def take_back(account: Account, key: str, *, at: datetime) -> None:
    """Void an event of the input tokens."""
    meter = Meter.objects.get(event_name="input_tokens")
    [event] = find_events([(account.pk, meter.pk, key)]).values()
    voiding = make_voiding(event, declared=meter.dimensions, recorded_at=at)
    assert insert_voiding(voiding, aggregation=meter.aggregation, at=at)


def sum_usage(account: Account, until: datetime) -> Decimal:
    meters = Meter.objects.values_list("id", flat=True)
    period = Period(START - timedelta(days=100), until)
    buckets = sum_buckets(account_id=account.pk, meter_ids=meters, period=period, bucket="hour")
    return sum((bucket.quantity for bucket in buckets), Decimal(0))


def lose_answer(_report: object) -> None:
    raise ProviderUnavailable


def refuse(_report: object) -> None:
    raise UsageRejected("customer_unknown", "Unknown.")


class TestTotals:
    def test_tells_an_hour_once_it_is_over(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        for number, when in enumerate((0.1, 0.9, 1.2)):
            use(account, number + 3, at=after(when), key=f"e{number}")
        use(account, 50, at=after(0.5), key="o", meter="output_tokens")
        work(provider, at=after(1) + timedelta(minutes=4))
        assert provider.list_told() == []  # the first hour ended less than five minutes ago
        work(provider, at=after(1.5))
        assert provider.list_told() == [("input_tokens", "10 00:00", 7), ("output_tokens", "10 00:00", 50)]  # 3 + 4
        work(provider, at=after(2.5))
        assert provider.list_told()[2:] == [("input_tokens", "10 01:00", 5)]
        assert {report.customer_ref for report in provider.counted.values()} == {"cus_acme"}
        rows = UsageExport.objects.all()
        assert {row.identifier == row.idempotency_key == row.public_id for row in rows} == {True}

    def test_tells_nothing_again(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        use(account, 3, at=after(0.5), key="e")
        for when in range(2, 60):
            work(provider, at=after(when))
        assert len(provider.calls) == 1

    def test_tells_late_usage_as_well(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        use(account, 3, at=after(0.5), key="e")
        work(provider, at=after(2))
        use(account, 4, at=after(0.6), key="late")
        work(provider, at=after(3))
        assert provider.list_told() == [("input_tokens", "10 00:00", 3), ("input_tokens", "10 00:00", 4)]

    def test_tells_usage_that_is_days_late_within_a_day(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        for when in (2, 24 * 10, 24 * 10 + 1):
            work(provider, at=after(when))
        use(account, 4, at=after(0.6), key="late")
        work(provider, at=after(24 * 10 + 2))
        assert provider.list_told() == []
        work(provider, at=after(24 * 11 + 1))
        assert provider.list_told() == [("input_tokens", "10 00:00", 4)]

    def test_keeps_and_names_what_is_too_late_for_the_provider(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        work(provider, at=after(2))
        use(account, 4, at=after(0.6), key="late")
        for _ in range(3):
            work(provider, at=after(24 * 40))
        assert provider.calls == []
        row = UsageExport.objects.get()
        assert (row.status, row.reason_code, int(row.quantity)) == ("failed", "too_old", 4)
        assert row.is_given_up

    def test_tells_only_the_rest_of_an_hour_that_was_told_one_by_one(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        use(account, 3, at=after(0.2), key="e1")
        for key, quantity in (("d1", 10), ("d2", 20)):
            export_usage(
                account=account,
                new=NewUsageExport(event_id=key, meter="input_tokens", quantity=quantity),
                at=after(0.5),
                actor=TESTER,
                find_gateway=lambda _export: provider,
            )
        work(provider, at=after(2))
        assert sorted(value for _, _, value in provider.list_told()) == [3, 10, 20]
        assert provider.total == sum_usage(account, after(2)) == 33  # 3 + 10 + 20

    def test_names_what_was_told_too_much_and_nets_it_with_later_usage(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        for key, quantity in (("e1", 10), ("wrong", 2)):
            use(account, quantity, at=after(0.5), key=key)
        work(provider, at=after(2))
        take_back(account, "wrong-0", at=after(2.5))
        work(provider, at=after(3))
        surplus = UsageExportSurplus.objects.get()
        assert (surplus.hour, int(surplus.quantity)) == (START, 2)  # 12 told, 10 used
        use(account, 1, at=after(0.6), key="e2")
        work(provider, at=after(4))
        assert int(UsageExportSurplus.objects.get().quantity) == 1  # 12 told, 11 used
        use(account, 4, at=after(0.7), key="e3")
        work(provider, at=after(5))
        assert not UsageExportSurplus.objects.exists()
        assert [value for _, _, value in provider.list_told()] == [12, 3]  # 15 used

    def test_tells_nothing_of_what_was_taken_back_in_time(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        for key, quantity in (("e1", 10), ("wrong", 2)):
            use(account, quantity, at=after(0.5), key=key)
        take_back(account, "wrong-0", at=after(1))
        work(provider, at=after(2))
        assert provider.total == 10
        assert not UsageExportSurplus.objects.exists()

    def test_are_exact_whatever_arrives_when(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        chance = random.Random(20231110)
        events = [(after(chance.uniform(0, 30)), chance.randrange(1, 1000)) for _ in range(60)]
        arrivals = sorted((max(when, after(chance.uniform(0, 60))), when, value) for when, value in events)
        for number, (arrives, when, value) in enumerate(arrivals):
            use(account, value, at=when, key=f"e{number}")
            if number % 7 == 0:
                work(provider, at=arrives)
        work(provider, at=after(24 * 4))
        assert provider.total == sum(value for _, value in events) == sum_usage(account, after(100))
        assert len(set(provider.calls)) == len(provider.calls)


class TestAccounts:
    def test_that_are_billed_here_are_not_told(self, provider: MeterProvider) -> None:
        world.publish()
        account = world.open_account()
        world.subscribe(account, "payg", at=START)
        use(account, 3, at=after(0.5), key="e")
        work(provider, at=after(2))
        assert not UsageExportCursor.objects.exists()
        assert provider.calls == []

    @pytest.mark.parametrize(("since", "told"), [(None, 0), (after(1), 4), (after(50), 0)])
    def test_are_told_from_the_time_of_the_setting_on(
        self, provider: MeterProvider, settings: Any, since: datetime | None, told: int
    ) -> None:
        settings.BILLING_USAGE_EXPORT_FROM = since
        account = open_billed_account()
        use(account, 3, at=after(0.5), key="e1")
        use(account, 4, at=after(1.5), key="e2")
        work(provider, at=after(3))
        assert provider.total == told

    def test_are_told_up_to_the_hour_their_subscription_ends_in(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        tell_status(account, "canceled", at=after(2.5))
        for number, when in enumerate((1.5, 2.2, 3.5)):
            use(account, 10**number, at=after(when), key=f"e{number}")
        work(provider, at=after(6))
        assert provider.total == 11  # 1 + 10; what came after the end is nobody's to bill there

    def test_of_meters_that_do_not_add_up_are_left_out(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        Meter.objects.filter(event_name="input_tokens").update(aggregation="last")
        Meter.objects.filter(event_name="output_tokens").update(provider_settings={"aggregation_formula": "last"})
        for meter in ("input_tokens", "output_tokens"):
            use(account, 3, at=after(0.5), key="e", meter=meter)
        work(provider, at=after(2))
        assert provider.calls == []


class TestTrouble:
    def test_a_refusal_is_tried_again_with_growing_waits_and_then_given_up(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        use(account, 3, at=after(0.5), key="e")
        provider.before = refuse
        work(provider, at=after(2))
        waits, at = [], after(2)
        while (due := UsageExport.objects.get().next_attempt_at) is not None:
            waits.append(int((due - at).total_seconds() // 60))
            at = due
            send(provider, at=at - timedelta(seconds=1))
            send(provider, at=at)
        assert waits == [1, 5, 30, 120, 360, 720, 1440, 1440, 1440]
        assert len(provider.calls) == 10
        row = UsageExport.objects.get()
        assert (row.status, row.reason_code, row.uncertain_since) == ("failed", "customer_unknown", None)
        provider.before = None
        retry_export(export_id=row.pk, at=at, actor=TESTER, reason="the customer is there now")
        send(provider, at=at)
        assert UsageExport.objects.get().status == "exported"
        event = Event.objects.get(type="usage_export.retried")
        assert (event.reason, (event.previous_data or {})["reason_code"]) == (
            "the customer is there now",
            "customer_unknown",
        )

    def test_no_answer_is_repeated_under_the_same_name_within_a_day(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        use(account, 3, at=after(0.5), key="e")
        provider.after = lose_answer  # it counts, and its answer is lost
        work(provider, at=after(2))
        work(provider, at=after(4))
        provider.after = None
        work(provider, at=after(6))
        assert len(provider.calls) == 3
        assert provider.total == 3
        assert UsageExport.objects.get().status == "exported"

    def test_no_answer_for_more_than_a_day_is_left_to_a_person(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        use(account, 3, at=after(0.5), key="e")
        provider.after = lose_answer
        work(provider, at=after(2))
        work(provider, at=after(2 + 23.1))
        assert len(provider.calls) == 1
        row = UsageExport.objects.get()
        assert (row.status, row.reason_code, row.next_attempt_at) == ("failed", "outcome_unknown", None)

    def test_a_refusal_after_a_lost_answer_does_not_make_it_certain(self, provider: MeterProvider) -> None:
        account = open_billed_account()
        use(account, 3, at=after(0.5), key="e")
        provider.after = lose_answer
        work(provider, at=after(2))
        provider.before = refuse
        work(provider, at=after(3))
        assert UsageExport.objects.get().uncertain_since == after(2)

    def test_an_unforeseen_failure_does_not_stop_the_others(self, provider: MeterProvider) -> None:
        for handle in ("acme", "other"):
            use(open_billed_account(handle), 3, at=after(0.5), key="e")

        def break_down(report: Any) -> None:
            if report.customer_ref == "cus_acme":
                raise KeyError("payload")

        provider.before = break_down
        work(provider, at=after(2))
        assert sorted(UsageExport.objects.values_list("account__external_id", "status", "reason_code")) == [
            ("acme", "failed", "internal_error"),
            ("other", "exported", ""),
        ]

    @pytest.mark.parametrize("status", ["pending", "exported"])
    def test_only_what_failed_is_tried_again_by_a_person(self, provider: MeterProvider, status: str) -> None:
        account = open_billed_account()
        use(account, 3, at=after(0.5), key="e")
        open_cursors(at=after(2))
        plan_due_accounts(at=after(2), limit=9)
        if status == "exported":
            send(provider, at=after(2))
        with pytest.raises(InvalidState):
            retry_export(export_id=UsageExport.objects.get().pk, at=after(3), actor=TESTER, reason="again")
        assert len(provider.calls) == (status == "exported")


def test_the_schedule_does_all_of_it(provider: MeterProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "GATEWAYS", {"local": lambda: provider})
    account = open_billed_account()
    use(account, 3, at=after(0.5), key="e")
    with clock.travel(after(2)):
        assert plan_usage_exports() == 1
        assert send_usage_exports() == 1
        assert plan_usage_exports() == 0  # not due again yet
        assert send_usage_exports() == 0
        assert purge_usage_feed() == 0
    assert provider.list_told() == [("input_tokens", "10 00:00", 3)]
