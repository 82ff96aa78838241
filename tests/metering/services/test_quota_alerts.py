"""Quotas tell when they are nearly used up, once each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, TestClock
from billing_site.kernel import clock
from billing_site.platform.models import Event, Notice
from billing_site.platform.services.notices import sweep_notices
from metering.models import QuotaAlert
from metering.services.ingest import NewUsageEvent, record_usage_events
from metering.services.quota_alerts import evaluate_quota_alerts, sweep_quota_alerts
from metering.services.quotas import create_quota, update_quota
from metering.services.reservations import reserve_quota
from metering.services.touching import forget_touched
from metering.tasks.alerts import evaluate_alerts
from tests.factories.quotas import make_quota, publish_limits
from tests.support import world
from tests.support.jobs import SentJobs
from tests.support.parallel import race

pytestmark = pytest.mark.django_db

NOW = world.NOVEMBER + timedelta(days=10, hours=5)


@pytest.fixture
def account() -> Account:
    publish_limits()
    return world.open_account("alice", name="Alice & Co")


def use(account: Account, quantity: int | str, *, meter: str = "tokens", at: Any = NOW) -> None:
    event = NewUsageEvent(account, meter, Decimal(quantity), timestamp=at)
    record_usage_events(events=[event], at=at, actor=world.TESTER)


def look(*accounts: Account, at: Any = NOW) -> list[tuple[str, str, int]]:
    found = evaluate_quota_alerts(account_ids=[account.pk for account in accounts], at=at)
    return [(alert.window, alert.level, alert.percent) for alert in found]


class TestLevels:
    def test_are_told_once_each_as_use_rises(self, account: Account) -> None:
        quota = make_quota(account, "tokens", 100)
        told = []
        for quantity in (79, 1, 5, 5, 9, 1, 30):  # 79, 80, 85, 90, 99, 100, 130
            use(account, quantity)
            told += look(account)
            assert look(account) == []
        assert told == [("month", "warning", 80), ("month", "critical", 90), ("month", "exceeded", 100)]
        types = Event.objects.filter(type__startswith="quota.").order_by("sequence").values_list("type", flat=True)
        assert list(types) == ["quota.warning", "quota.critical", "quota.exceeded"]
        event = Event.objects.get(type="quota.critical")
        assert event.account_id == account.pk
        assert event.data == {
            "quota_id": quota.public_id,
            "source": "account",
            "meter_event_name": "tokens",
            "resource_type": "tokens",
            "feature": "",
            "window": "month",
            "level": "critical",
            "used": "90",
            "limit": "100",
            "unit": "tokens",
            "utilization_percent": 90,
            "mode": "hard",
            "bucket_start": "2023-11-01T00:00:00Z",
            "resets_at": "2023-12-01T00:00:00Z",
            "upgrade_plan_id": "",
        }

    def test_that_are_passed_at_once_tell_the_highest_alone(self, account: Account) -> None:
        make_quota(account, "tokens", 100)
        use(account, 250)
        assert look(account) == [("month", "exceeded", 250)]
        assert look(account) == []

    def test_of_plans_begin_where_the_site_says(self, account: Account, settings: Any) -> None:
        world.subscribe(account, "small")  # 40 tokens a day, 100 a month
        use(account, 30)
        assert look(account) == [("day", "warning", 75)]
        settings.BILLING_QUOTA_WARNING_PERCENT = 30
        assert look(account) == [("month", "warning", 30)]

    def test_begin_anew_with_the_next_bucket(self, account: Account) -> None:
        make_quota(account, "tokens", 100, "day")
        for day in range(2):
            at = NOW + timedelta(days=day)
            use(account, 85, at=at)
            assert look(account, at=at) == [("day", "warning", 85)]

    def test_of_a_gauge_that_falls_and_rises_again_are_not_repeated(self, account: Account) -> None:
        make_quota(account, "seats", 10)
        told = []
        for step, value in enumerate((9, 5, 8, 10, 9)):
            use(account, value, meter="seats", at=NOW + timedelta(seconds=step))
            told += look(account, at=NOW + timedelta(minutes=1))
        assert told == [("month", "critical", 90), ("month", "exceeded", 100)]

    def test_stay_told_when_the_limit_is_edited(self, account: Account) -> None:
        quota = make_quota(account, "tokens", 100)
        use(account, 90)
        assert look(account) == [("month", "critical", 90)]
        for limit in (1000, 95):
            update_quota(quota_id=quota.pk, changes={"limit": Decimal(limit)}, at=NOW, actor=world.TESTER)
            assert look(account) == []
        update_quota(quota_id=quota.pk, changes={"limit": Decimal(90)}, at=NOW, actor=world.TESTER)
        assert look(account) == [("month", "exceeded", 100)]

    def test_are_of_use_and_not_of_reservations(self, account: Account) -> None:
        make_quota(account, "tokens", 100)
        reserve_quota(account=account, resource="tokens", quantity=Decimal(100), at=NOW)
        assert look(account) == []

    def test_are_none_without_a_limit(self, account: Account) -> None:
        make_quota(account, "tokens", None)
        use(account, 10**9)
        assert look(account) == []

    def test_count_by_the_clock_of_the_account(self, account: Account) -> None:
        account.test_clock = TestClock.objects.create(name="ahead", now_at=NOW + timedelta(days=40))
        account.save()
        make_quota(account, "tokens", 100)
        use(account, 85, at=NOW)
        assert look(account) == []
        use(account, 85, at=NOW + timedelta(days=40))
        assert look(account) == [("month", "warning", 85)]
        assert QuotaAlert.objects.get().fired_at == NOW + timedelta(days=40)


@pytest.mark.django_db(transaction=True)
class TestEdits:
    def test_have_the_account_looked_at(self, sent_jobs: SentJobs) -> None:
        publish_limits()
        account = world.open_account("alice")
        use(account, 50)
        by: dict[str, Any] = {"at": NOW, "actor": world.TESTER}
        forget_touched()
        quota = create_quota(account=account, resource_type="tokens", window="month", limit=Decimal(60), **by)
        assert self.run(sent_jobs) == "warning"
        update_quota(quota_id=quota.pk, changes={"limit": Decimal(50)}, **by)
        assert self.run(sent_jobs) == "exceeded"

    def run(self, jobs: SentJobs) -> str | None:
        """Let the jobs that were sent do their work, and return the level that was told last."""
        assert jobs.of("metering.evaluate_alerts")
        with clock.travel(NOW):
            jobs.run()
        forget_touched()
        return QuotaAlert.objects.order_by("-id").values_list("level", flat=True).first()


class TestMail:
    def test_goes_to_each_recipient_after_the_commit(
        self, account: Account, django_capture_on_commit_callbacks: Any
    ) -> None:
        make_quota(
            account,
            "tokens",
            100,
            resource_name="Tokens of the lab",
            alert_recipients=["ada@example.com", "bob@example.com"],
            upgrade_plan_key="small",
        )
        use(account, 100)
        look(account)
        assert mail.outbox == []
        assert Notice.objects.count() == 2
        assert sweep_notices(at=NOW) == 2
        assert [message.to for message in mail.outbox] == [["ada@example.com"], ["bob@example.com"]]
        quota = QuotaAlert.objects.get()
        assert mail.outbox[0].subject == "Quota used up: Tokens of the lab of Alice & Co – 100 %"
        assert mail.outbox[0].body.splitlines() == [
            "Alice & Co has used 100 of 100 tokens per month by 2023-11-11 05:00 UTC.",
            "",
            f"Account: Alice & Co ({account.public_id})",
            f"Quota: Tokens of the lab ({account.quotas.get().public_id})",
            "It starts again on 2023-12-01 00:00 UTC.",
            "More is refused until then.",
            "A plan that allows more: small.",
        ]
        assert {notice.about for notice in Notice.objects.all()} == {quota.public_id}
        look(account)
        assert Notice.objects.count() == 2

    def test_is_nobodys_without_recipients(self, account: Account) -> None:
        make_quota(account, "tokens", 100)
        use(account, 100)
        look(account)
        assert not Notice.objects.exists()


class TestManyAccounts:
    def test_take_as_many_queries_as_few(self, account: Account) -> None:
        counts = []
        for round_number, size in enumerate((2, 7)):
            accounts = [world.open_account(f"a{round_number}-{number}") for number in range(size)]
            for each in accounts:
                world.subscribe(each, "small")
                make_quota(each, "seats", 10)
                make_quota(each, "people", 1, "billing_period")
                make_quota(each, "tokens", 10, "week", alert_recipients=["ada@example.com"])
                use(each, 9)
                use(each, 10, meter="seats")
            with CaptureQueriesContext(connection) as asked:
                assert len(look(*accounts)) == 2 * size
            counts.append(len(asked))
            with CaptureQueriesContext(connection) as asked:
                assert look(*accounts) == []
            # Accounts with their quotas, counters, roll-ups, gauges, what was told; and the transaction around it.
            assert len(asked) <= 7
        assert counts[0] == counts[1]

    def test_that_used_something_of_late_are_swept(self, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("metering.services.quota_alerts.CHUNK", 2)
        for number in range(5):
            each = world.open_account(f"a{number}")
            make_quota(each, "tokens", 100)
            use(each, 85, at=NOW - timedelta(minutes=40 * number))
        # At 05:00, 04:20, 03:40, 03:00 and 02:20; the hour before now begins at 04:00, that before it at 03:00.
        assert sweep_quota_alerts(at=NOW) == 2
        assert sweep_quota_alerts(at=NOW) == 0
        assert sweep_quota_alerts(at=NOW - timedelta(hours=1)) == 2

    def test_are_looked_at_by_the_job_after_ingest(self, account: Account) -> None:
        make_quota(account, "tokens", 100)
        use(account, 85)
        with clock.travel(NOW):
            assert evaluate_alerts([str(account.pk)]) == 1


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_tell_once(self) -> None:
        publish_limits()
        accounts = [world.open_account(f"a{number}") for number in range(6)]
        for account in accounts:
            for window in ("day", "month"):
                make_quota(account, "tokens", 100, window, alert_recipients=["ada@example.com"])
            use(account, 95)
        looks: list[Callable[[], Any]] = [lambda: look(*accounts), lambda: look(*accounts[::-1])] * 8
        assert sum(len(found) for found in race(*looks, connections=16)) == 12
        assert QuotaAlert.objects.count() == Event.objects.filter(type="quota.critical").count() == 12
        assert Notice.objects.count() == 12


class TestDatabase:
    def test_keeps_what_was_told(self, account: Account) -> None:
        make_quota(account, "tokens", 100)
        use(account, 85)
        look(account)
        with pytest.raises(IntegrityError), transaction.atomic():
            QuotaAlert.objects.update(level="exceeded")
        with pytest.raises(IntegrityError), transaction.atomic():
            QuotaAlert.objects.all().delete()
