"""Which quotas are in force for an account, and how much of each is used."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Subscription, TestClock
from metering.models import AccountQuota, UsageEvent
from metering.queries.quotas import QuotaUse, find_stopping, list_quota_uses, load_quota_uses
from metering.rating.windows import get_bucket
from metering.services.corrections import void_usage_event
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.factories.quotas import limit, make_plan, make_quota, publish_limits
from tests.support import world

pytestmark = pytest.mark.django_db

NOW = world.NOVEMBER + timedelta(days=10, hours=5, minutes=30)


def record(account: Account, meter: str, quantity: int, *, at: datetime = NOW, **more: Any) -> None:
    event = NewUsageEvent(account, meter, Decimal(quantity), timestamp=at, **more)
    record_usage_events(events=[event], at=NOW, actor=world.TESTER)


def look(account: Account) -> list[tuple[str, str, str, str, Decimal | None, Decimal]]:
    return [
        (
            each.quota.source,
            each.quota.meter_event_name,
            each.quota.window,
            each.quota.feature,
            each.quota.limit,
            each.used,
        )
        for each in list_quota_uses(account=account, at=NOW)
    ]


def get(account: Account, meter: str = "tokens", window: str = "month") -> QuotaUse:
    [found] = [
        each
        for each in list_quota_uses(account=account, at=NOW)
        if (each.quota.meter_event_name, each.quota.window) == (meter, window)
    ]
    return found


class TestInForce:
    def test_are_those_of_the_plans_that_give_access(self) -> None:
        publish_limits()
        account = world.open_account()
        assert look(account) == []
        world.subscribe(account, "small")
        record(account, "tokens", 30)
        record(account, "tokens", 25, at=NOW - timedelta(days=3))
        assert look(account) == [
            ("plan", "tokens", "day", "use:tokens", Decimal(40), Decimal(30)),
            ("plan", "tokens", "month", "use:tokens", Decimal(100), Decimal(55)),
        ]
        Subscription.objects.update(status="past_due")
        assert look(account) == []

    def test_of_the_account_replace_those_of_the_same_meter_and_window(self) -> None:
        publish_limits(make_plan("small", 1000, limit("tokens", 100), limit("tokens", 40, "day"), limit("calls", 9)))
        account = world.open_account()
        world.subscribe(account, "small")
        quota = make_quota(account, "tokens", 500)
        record(account, "tokens", 30)
        assert look(account) == [
            ("account", "tokens", "month", "use:tokens", Decimal(500), Decimal(30)),
            ("plan", "calls", "month", "use:calls", Decimal(9), Decimal(0)),
            ("plan", "tokens", "day", "use:tokens", Decimal(40), Decimal(30)),
        ]
        assert get(account).quota.public_id == quota.public_id
        AccountQuota.objects.update(is_active=False)
        assert get(account).quota.source == "plan"

    def test_of_the_account_count_without_a_subscription_in_the_month_of_its_zone(self) -> None:
        publish_limits()
        account = world.open_account(timezone="America/New_York")
        make_quota(account, "tokens", 50, "billing_period")
        record(account, "tokens", 7, at=world.NOVEMBER + timedelta(hours=3))  # still October in New York
        record(account, "tokens", 20, at=world.NOVEMBER + timedelta(hours=4))
        found = get(account, window="billing_period")
        assert (found.used, found.quota.features, found.quota.upgrade_plan_id) == (Decimal(20), (), "")
        assert found.resets_at == world.DECEMBER + timedelta(hours=5)  # winter time by then

    def test_of_a_billing_period_follow_the_plan_that_limits_the_meter(self) -> None:
        publish_limits(
            make_plan("small", 1000, limit("tokens", 100, "billing_period")),
            make_plan("aside", 500, limit("calls", 100), product="other"),
        )
        account = world.open_account()
        world.subscribe(account, "aside", at=world.NOVEMBER - timedelta(days=20))
        world.subscribe(account, "small", at=world.NOVEMBER + timedelta(days=5))
        make_quota(account, "tokens", 500, "billing_period")
        make_quota(account, "people", 5, "billing_period")
        assert get(account, window="billing_period").resets_at == datetime.fromisoformat("2023-12-06T00:00:00Z")
        # Nothing sells people: the oldest subscription counts.
        assert get(account, "people", "billing_period").resets_at == datetime.fromisoformat("2023-11-12T00:00:00Z")

    def test_of_no_other_account(self) -> None:
        publish_limits()
        account, other = world.open_account(), world.open_account("other")
        make_quota(other, "tokens", 1)
        record(other, "tokens", 5)
        assert look(account) == []


class TestUse:
    def test_of_an_unlimited_quota_is_counted_and_never_stops(self) -> None:
        publish_limits()
        account = world.open_account()
        world.subscribe(account, "small")
        make_quota(account, "tokens", None)
        record(account, "tokens", 5000)
        found = get(account)
        assert (found.used, found.percent, found.level) == (Decimal(5000), 0, "ok")
        assert found.remaining is None
        assert not found.exceeded
        assert found.quota.upgrade_plan_id == ""

    def test_of_a_gauge_is_what_was_reported_last_whenever_that_was(self) -> None:
        publish_limits()
        account = world.open_account()
        make_quota(account, "seats", 10, "day")
        record(account, "seats", 9, at=NOW - timedelta(days=5))
        record(account, "seats", 4, at=NOW - timedelta(days=2))
        found = get(account, "seats", "day")
        assert (found.used, found.resets_at) == (Decimal(4), None)

    def test_of_distinct_counts_and_peaks_is_that_of_the_window(self) -> None:
        publish_limits()
        account = world.open_account()
        for meter in ("people", "peak", "calls"):
            make_quota(account, meter, 10, "day")
        for actor, value in (("ada", 3), ("bob", 8), ("ada", 1)):
            record(account, "people", 1, actor_id=actor)
            record(account, "peak", value)
            record(account, "calls", value)
        record(account, "peak", 99, at=NOW - timedelta(days=1))
        record(account, "people", 1, actor_id="eve", at=NOW - timedelta(days=1))
        used = {each.quota.meter_event_name: each.used for each in list_quota_uses(account=account, at=NOW)}
        assert used == {"people": 2, "peak": 8, "calls": 3}

    @pytest.mark.parametrize(
        ("window", "used", "resets_at"),
        [
            ("minute", 1, "2023-11-11T05:31:00Z"),
            ("hour", 3, "2023-11-11T06:00:00Z"),
            ("day", 7, "2023-11-12T00:00:00Z"),
            ("week", 15, "2023-11-13T00:00:00Z"),
            ("month", 31, "2023-12-01T00:00:00Z"),
            ("total", 63, None),
        ],
    )
    def test_is_that_of_the_present_bucket(self, window: str, used: int, resets_at: str | None) -> None:
        publish_limits()
        account = world.open_account()
        make_quota(account, "tokens", 1000, window)
        # Saturday, 11 November, 05:30; its week began on Monday, the 6th.
        minute = timedelta(minutes=1)
        moments = (NOW, NOW - 10 * minute, NOW - 61 * minute, NOW - timedelta(days=5), world.NOVEMBER)
        for power, moment in enumerate((*moments, world.NOVEMBER - minute)):
            record(account, "tokens", 2**power, at=moment)
        found = get(account, window=window)
        assert found.used == used
        assert found.resets_at == (None if resets_at is None else datetime.fromisoformat(resets_at))


class TestCounters:
    """What counters say is what the events say, however they came."""

    def test_agree_with_events_sent_late_in_parts_twice_and_taken_back(self) -> None:
        publish_limits()
        dice = random.Random(11)
        windows = ("hour", "day", "week", "month", "total", "billing_period")
        batches = []
        for number in range(60):
            moment = NOW - timedelta(minutes=dice.choice((0, 7, 45, 90, 600, 3_000, 9_000, 30_000)))
            key = f"e{number}"
            batches.append((moment, dice.randint(0, 9), key, dice.random() < 0.2))
        found = []
        for order in range(3):
            account = world.open_account(f"a{order}")
            for window in windows:
                make_quota(account, "tokens", 10_000, window)
                make_quota(account, "calls", 10_000, window)
            dice.shuffle(batches)
            sent = [*batches, *dice.sample(batches, 20)]  # some twice
            while sent:
                part = [sent.pop() for _ in range(min(len(sent), dice.randint(1, 15)))]
                record_usage_events(
                    events=[
                        NewUsageEvent(account, meter, Decimal(value), timestamp=moment, idempotency_key=key)
                        for moment, value, key, _ in part
                        for meter in ("tokens", "calls")
                    ],
                    at=NOW,
                    actor=world.TESTER,
                )
            for _, _, key, is_void in batches:
                if is_void:
                    _void(account, "tokens", key)
                    _void(account, "calls", key)
            found.append({(use.quota.meter_event_name, use.quota.window): use.used for use in uses_of(account)})
        assert found[0] == found[1] == found[2]
        for window in windows:
            bucket = get_bucket(window, at=NOW)
            kept = [value for moment, value, _, is_void in batches if moment in bucket and not is_void]
            assert found[0]["tokens", window] == sum(kept)
            assert found[0]["calls", window] == len(kept)


def uses_of(account: Account) -> list[QuotaUse]:
    return list_quota_uses(account=account, at=NOW)


def _void(account: Account, meter: str, key: str) -> None:
    rows = UsageEvent.objects.select_related("account__test_clock", "meter")
    event = rows.get(account=account, meter__event_name=meter, idempotency_key=key)
    void_usage_event(event=event, at=NOW, actor=world.TESTER, reason="sent by mistake")


class TestWarnings:
    def test_begin_where_the_account_says_and_else_where_the_site_says(self, settings: Any) -> None:
        publish_limits()
        account = world.open_account()
        world.subscribe(account, "small")
        make_quota(account, "tokens", 100, "week")
        record(account, "tokens", 76)
        assert (get(account).level, get(account, window="week").level) == ("warning", "ok")
        settings.BILLING_QUOTA_WARNING_PERCENT, settings.BILLING_QUOTA_CRITICAL_PERCENT = 50, 76
        assert (get(account).level, get(account, window="week").level) == ("critical", "ok")
        AccountQuota.objects.update(warning_percent=Decimal("75.5"))
        assert get(account, window="week").level == "critical"


class TestUpgrade:
    PLANS = (
        make_plan("small", 1000, limit("tokens", 100)),
        make_plan("wide", 9000, limit("tokens", 5000)),
        make_plan("middle", 3000, limit("tokens", 1000)),
        make_plan("custom", 2000, contact_sales=True),
        make_plan("aside", 1, product="other"),
    )

    def test_is_the_cheapest_plan_of_the_product_that_allows_more(self) -> None:
        publish_limits(*self.PLANS)
        account = world.open_account()
        world.subscribe(account, "small")
        assert get(account).quota.upgrade_plan_id == "middle"
        quota = make_quota(account, "tokens", 1000)
        assert get(account).quota.upgrade_plan_id == "wide"
        quota.upgrade_plan_key = "custom"
        quota.save()
        assert get(account).quota.upgrade_plan_id == "custom"

    def test_configured_for_the_plan_counts_for_the_quota_that_replaces_it(self) -> None:
        publish_limits(*self.PLANS[1:], make_plan("small", 1000, limit("tokens", 100, upgrade_plan_id="wide")))
        account = world.open_account()
        world.subscribe(account, "small")
        make_quota(account, "tokens", 200)
        assert get(account).quota.upgrade_plan_id == "wide"


class TestStopping:
    def test_is_the_hard_quota_that_resets_last(self) -> None:
        publish_limits()
        account = world.open_account()
        for window in ("hour", "week", "day"):
            make_quota(account, "tokens", 10, window)
        make_quota(account, "tokens", 5, "total", is_hard=False)
        record(account, "tokens", 9)
        uses = list_quota_uses(account=account, at=NOW)
        assert find_stopping(uses) is None
        assert find_stopping(uses, requested=Decimal(1)) is None
        stopping = find_stopping(uses, requested=Decimal("1.5"))
        assert stopping is not None
        assert stopping.quota.window == "week"


class TestQueries:
    def test_are_three_for_many_accounts_quotas_and_events(self) -> None:
        publish_limits()
        accounts = []
        for number in range(6):
            account = world.open_account(f"a{number}")
            world.subscribe(account, "small")
            make_quota(account, "seats", 10)
            make_quota(account, "tokens", 70, "week")
            for each in range(number):
                record(account, "tokens", each, at=NOW - timedelta(minutes=each))
            record(account, "seats", number)
            accounts.append(account)
        with CaptureQueriesContext(connection) as asked:
            found = load_quota_uses(account_ids=[account.pk for account in accounts], at=NOW)
        assert len(asked) == 3
        assert [
            {(each.quota.meter_event_name, each.quota.window): each.used for each in found[account.pk]}
            for account in accounts
        ] == [
            # 0 + 1 + … + (n - 1)
            {
                ("seats", "month"): number,
                ("tokens", "week"): number * (number - 1) // 2,
                ("tokens", "day"): number * (number - 1) // 2,
                ("tokens", "month"): number * (number - 1) // 2,
            }
            for number in range(6)
        ]

    def test_of_an_account_on_a_test_clock_look_by_that_clock(self) -> None:
        publish_limits()
        account = world.open_account()
        account.test_clock = TestClock.objects.create(name="ahead", now_at=NOW + timedelta(days=30))
        account.save()
        make_quota(account, "tokens", 10)
        record(account, "tokens", 3)
        [found] = load_quota_uses(account_ids=[account.pk], at=NOW)[account.pk]
        assert (found.used, found.quota.bucket.start) == (Decimal(0), world.DECEMBER)
