"""The one statement behind entitlement checks says what the plain queries say, in thousands of situations."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Subscription, TestClock
from billing_site.kernel.actors import Principal
from catalog.models import Meter, QuotaWindow
from metering.models import QuotaReservation
from metering.queries.entitlements import check_entitlement, load_standing
from metering.queries.standings import read_standing
from metering.rating.entitlements import Standing
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.factories.quotas import limit, make_plan, make_quota, publish_limits
from tests.support import world

pytestmark = pytest.mark.django_db

NOW = world.NOVEMBER + timedelta(days=10, hours=5, minutes=30)
CALLER = Principal("internal", "svc")
SCOPES = ("llm:proxy", "use:tokens", "use:calls", "extra:one", "no:such")
METERS = ("tokens", "calls", "peak")
WINDOWS = tuple(QuotaWindow.values)


def publish() -> None:
    """Plans of two products with limits in every window; some meters are limited under two scopes."""
    several = [limit("tokens", 60 + 10 * number, window) for number, window in enumerate(WINDOWS)]
    shared = [limit("tokens", 50, "day", feature="llm:proxy"), limit("calls", 4, "week", feature="llm:proxy")]
    publish_limits(
        make_plan("small", 1000, *several, limit("calls", 3, "billing_period"), limit("peak", 9, "month")),
        make_plan(
            "mixed",
            2000,
            *(*shared, limit("tokens", 70, "billing_period"), limit("calls", 5, "hour")),
            features=["llm:proxy", "use:tokens", "use:calls"],
        ),
        make_plan("soft", 3000, limit("tokens", 10, "month", enforcement="soft"), limit("calls", 2, "day")),
        make_plan("other", 1000, limit("tokens", 40, "month"), product="other", features=["extra:one", "use:tokens"]),
        make_plan("bare", 1000, product="other", features=["extra:one", "llm:proxy"]),
    )


def record(account: Account, dice: random.Random) -> None:
    """Record use in and outside of the present buckets."""
    ages = [timedelta(0), timedelta(minutes=3), timedelta(hours=4), timedelta(days=2), timedelta(days=15)]
    events = [
        NewUsageEvent(account, dice.choice(METERS), Decimal(dice.randint(1, 30)), timestamp=NOW - dice.choice(ages))
        for _ in range(dice.randint(0, 6))
    ]
    if events:
        record_usage_events(events=events, at=NOW, actor=world.TESTER)


def reserve(account: Account, dice: random.Random) -> None:
    """Hold something, for a while or until a moment ago."""
    meter = Meter.objects.get(event_name=dice.choice(METERS))
    QuotaReservation.objects.create(
        account=account,
        meter=meter,
        quantity=dice.randint(1, 20),
        created_at=NOW - timedelta(hours=1),
        expires_at=NOW + timedelta(seconds=dice.choice([-1, 0, 1, 600])),
    )


def disturb(account: Account, dice: random.Random) -> None:
    """Change the state of what the account has."""
    subscriptions = Subscription.objects.filter(account=account)
    for subscription in subscriptions:
        values: dict[str, Any] = {}
        if dice.random() < 0.3:
            values["status"] = dice.choice(["past_due", "unpaid", "past_due"])
        if dice.random() < 0.2:
            values["provider_features"] = dice.sample(SCOPES, dice.randint(0, 3))
        if dice.random() < 0.4:
            shift = timedelta(hours=dice.randint(-40, 40), minutes=dice.choice([0, 0, 0, 30]))
            values["current_period_start"] = subscription.current_period_start + shift
            values["current_period_end"] = dice.choice(
                [subscription.current_period_end + shift, NOW + timedelta(minutes=30), NOW + timedelta(hours=9.5)]
            )
        if values:
            Subscription.objects.filter(pk=subscription.pk).update(**values)
    for meter in METERS:
        for window in dice.sample(WINDOWS, dice.choice([0, 0, 1, 2])):
            amount = dice.choice([None, 0, 5, 25, 60, 100])
            make_quota(
                account,
                meter,
                amount,
                window,
                feature=dice.choice(["", "", *SCOPES]),
                is_hard=dice.random() < 0.8,
                is_active=dice.random() < 0.8,
            )


def make_situation(number: int) -> Account:
    """Return an account in some situation: the same for the same number."""
    dice = random.Random(number)
    account = world.open_account(f"acme/{number}", timezone=dice.choice(["UTC", "Europe/Berlin", "Asia/Kolkata"]))
    for product in (["small", "mixed", "soft"], ["other", "bare"]):
        if dice.random() < 0.75:
            world.subscribe(account, dice.choice(product))
    record(account, dice)
    disturb(account, dice)
    for _ in range(dice.choice([0, 0, 1, 2])):
        reserve(account, dice)
    return account


def load(account: Account, scope: str, at: datetime = NOW) -> Standing:
    return load_standing(principal=CALLER, reference=account.public_id, scope=scope, at=at)


def read(account: Account, scope: str, at: datetime = NOW) -> Standing | None:
    return read_standing(org=None, reference=account.public_id, scope=scope, at=at)


class TestReadStanding:
    def test_says_what_the_plain_queries_say(self, settings: Any) -> None:
        publish()
        kinds: dict[str, int] = dict.fromkeys(("answered", "left", "granted", "limited", "exhausted", "unscoped"), 0)
        for number in range(120):
            settings.BILLING_PAST_DUE_GRACE_DAYS = number % 2 * 12
            account = make_situation(number)
            for scope in SCOPES:
                expected, found = load(account, scope), read(account, scope)
                if found is None:
                    kinds["left"] += 1
                    continue
                assert found == expected, f"situation {number}, scope {scope}"
                kinds["answered"] += 1
                kinds["granted"] += found.is_granted
                kinds["limited"] += bool(found.limits)
                kinds["exhausted"] += any(each.exceeded for each in found.limits)
                kinds["unscoped"] += any(not each.feature for each in found.limits)
        # The situations are of every kind, and few are left to the plain queries.
        assert min(kinds.values()) >= 10, kinds
        assert kinds["answered"] > 10 * kinds["left"], kinds

    def test_takes_the_billing_period_of_the_subscription_that_limits_by_the_same_window(self) -> None:
        publish()
        account = world.open_account()
        older, newer = world.subscribe(account, "small"), world.subscribe(account, "other")
        assert older.pk < newer.pk
        end = older.current_period_end + timedelta(days=3)
        Subscription.objects.filter(pk=older.pk).update(current_period_end=end)
        make_quota(account, "tokens", 10, "billing_period")  # small limits that, other only the month
        found = read(account, "use:tokens")
        assert found is not None
        assert found == load(account, "use:tokens")
        assert found.limits[0].resets_at == end

    @pytest.mark.parametrize(("begins", "ends"), [(-3, 2), (-5, 19), (-6, 19), (-30, 43), (-54, 2)])
    def test_counts_billing_periods_of_hours(self, begins: int, ends: int) -> None:
        publish()
        account = world.open_account()
        world.subscribe(account, "small")
        hour = NOW - timedelta(minutes=30)  # 05:00: from -5 to 19 is the day from midnight to midnight
        Subscription.objects.update(
            current_period_start=hour + timedelta(hours=begins), current_period_end=hour + timedelta(hours=ends)
        )
        events = [
            NewUsageEvent(account, "tokens", Decimal(1), timestamp=NOW - timedelta(hours=hours)) for hours in range(72)
        ]
        record_usage_events(events=events, at=NOW, actor=world.TESTER)
        found = read(account, "use:tokens")
        assert found is not None
        assert found == load(account, "use:tokens")
        [period] = [each for each in found.limits if each.window == "billing_period"]
        assert period.used == 1 - begins  # one an hour since then, and the one of this hour

    def test_finds_accounts_as_everybody_does(self) -> None:
        publish()
        account = world.open_account("Acme/Élan")
        world.subscribe(account, "small")
        for reference in (account.public_id, account.public_id.upper(), "acme/élan", " ACME/ÉLAN ", "acme/elan", "x"):
            expected = load_standing(principal=CALLER, reference=reference, scope="llm:proxy", at=NOW)
            assert read_standing(org=None, reference=reference, scope="llm:proxy", at=NOW) == expected
        for org in ("acme", "elsewhere"):
            caller = Principal("internal", "svc", org=org)
            expected = load_standing(principal=caller, reference="acme/élan", scope="llm:proxy", at=NOW)
            assert read_standing(org=org, reference="acme/élan", scope="llm:proxy", at=NOW) == expected
            assert (expected.plan_id is not None) is (org == account.org_id)

    def test_leaves_gauges_and_distinct_counts_to_the_plain_queries(self) -> None:
        publish()
        account = world.open_account()
        world.subscribe(account, "small")
        for meter in ("seats", "people"):
            quota = make_quota(account, meter, 5, feature="llm:proxy")
            assert read(account, "llm:proxy") is None
            quota.delete()
        assert read(account, "llm:proxy") == load(account, "llm:proxy")

    def test_leaves_accounts_on_a_test_clock_to_the_plain_queries(self) -> None:
        publish()
        account = world.open_account()
        world.subscribe(account, "small")
        Account.objects.update(test_clock=TestClock.objects.create(name="ahead", now_at=NOW))
        assert read(account, "use:tokens") is None

    def test_is_one_statement(self) -> None:
        publish()
        account = world.open_account()
        world.subscribe(account, "small")
        with CaptureQueriesContext(connection) as queries:
            checked = check_entitlement(
                principal=CALLER,
                reference="acme",
                scope="use:tokens",
                meter_event_name="tokens",
                quantity=Decimal(1),
                at=NOW,
            )
        assert checked.decision.is_allowed
        assert len(queries) == 1

    def test_reads_counters_and_no_events(self) -> None:
        publish()
        account = world.open_account()
        world.subscribe(account, "small")
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE usage_events RENAME TO usage_events_elsewhere")
        assert read(account, "use:tokens") is not None
