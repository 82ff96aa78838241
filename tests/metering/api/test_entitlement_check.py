"""The gate in front of work, row by row of its table, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Model

from accounts.models import Account, Subscription, TestClock
from billing_site.kernel import clock
from catalog.models import Plan
from metering.models import AccountQuota, UsageEvent
from metering.queries import recommendations
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.factories.quotas import limit, make_plan, make_quota, publish_limits
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

DOOR = "/api/internal/billing/entitlement-check"
CAMEL = "application/vnd.billing.camel+json"
NOW = world.NOVEMBER + timedelta(days=10, hours=5, minutes=30)
SCOPE = "use:tokens"


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    recommendations._known.clear()
    with clock.travel(NOW):
        yield


@pytest.fixture
def account() -> Account:
    publish_limits(
        make_plan("small", 1000, limit("tokens", 100), limit("tokens", 40, "day"), limit("calls", 9, "billing_period")),
        make_plan("wide", 9000, limit("tokens", 5000), limit("tokens", 5000, "day"), limit("calls", 900)),
        make_plan("middle", 3000, limit("tokens", 1000), limit("tokens", 1000, "day"), limit("calls", 90)),
        make_plan("custom", 2000, contact_sales=True, features=["llm:proxy", "extra:one"]),
        make_plan("dear", 5000, product="other", features=["extra:one"]),
        make_plan("fair", 4000, product="other", features=["extra:one"]),
        make_plan("soft", 1000, limit("tokens", 10, enforcement="soft"), product="other"),
    )
    return world.open_account("alice")


def ask(scope: str = SCOPE, account: str = "alice", client: Any = None, **usage: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"account_id": account, "scope": scope}
    if usage:
        body["usage"] = {"meter_event_name": "tokens", **usage}
    response = (client or make_client()).post(DOOR, body)
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def use(account: Account, quantity: int, meter: str = "tokens", *, days_ago: int = 0) -> None:
    event = NewUsageEvent(account, meter, Decimal(quantity), timestamp=NOW - timedelta(days=days_ago))
    record_usage_events(events=[event], at=NOW, actor=world.TESTER)


NOT_SET_UP = {"allowed": False, "reason": "billing_required", "command": "billing setup", "plan_id": None}


class TestBillingRequired:
    def test_for_an_account_nobody_knows(self, account: Account) -> None:
        assert ask(account="bob") == NOT_SET_UP

    def test_for_an_account_of_another_organization(self, account: Account) -> None:
        world.subscribe(account, "small")
        assert ask(client=make_client(org="elsewhere")) == NOT_SET_UP
        assert ask(client=make_client(org=account.org_id))["allowed"] is True

    def test_without_a_subscription(self, account: Account) -> None:
        assert ask() == NOT_SET_UP

    @pytest.mark.parametrize("status", ["incomplete", "past_due", "unpaid"])
    def test_when_none_runs(self, account: Account, status: str) -> None:
        world.subscribe(account, "small")
        Subscription.objects.update(status=status)
        assert ask() == NOT_SET_UP

    def test_when_overdue_for_longer_than_the_site_bears(self, account: Account, settings: Any) -> None:
        settings.BILLING_PAST_DUE_GRACE_DAYS = 11
        world.subscribe(account, "small")
        Subscription.objects.update(status="past_due")
        assert ask()["allowed"] is True  # since 1 November, for eleven days
        with clock.travel(world.NOVEMBER + timedelta(days=11)):
            assert ask() == NOT_SET_UP

    def test_names_the_cheapest_plan_with_the_scope(self, account: Account) -> None:
        world.subscribe(account, "small")
        assert ask("extra:one") == {
            "allowed": False,
            "reason": "billing_required",
            "plan_id": "small",
            "recommended_plan": "fair",  # custom costs 2000, but only staff sell it
        }

    def test_names_no_plan_where_none_has_the_scope(self, account: Account) -> None:
        world.subscribe(account, "small")
        assert ask("no:such") == {"allowed": False, "reason": "billing_required", "plan_id": "small"}

    def test_names_a_plan_no_longer_on_offer_for_a_minute(
        self, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.subscribe(account, "small")
        monkeypatch.setattr(recommendations, "_now", lambda: 100 * 10**9)
        assert ask("extra:one")["recommended_plan"] == "fair"
        Plan.objects.filter(key="fair").update(is_active=False)
        assert ask("extra:one")["recommended_plan"] == "fair"
        monkeypatch.setattr(recommendations, "_now", lambda: 160 * 10**9)
        assert ask("extra:one")["recommended_plan"] == "dear"

    def test_follows_what_the_provider_named_last(self, account: Account) -> None:
        world.subscribe(account, "small")
        Subscription.objects.update(provider_features=["llm:proxy"])
        assert ask("llm:proxy")["allowed"] is True
        assert ask()["reason"] == "billing_required"


class TestQuotaExceeded:
    def test_by_the_given_quantity(self, account: Account) -> None:
        world.subscribe(account, "small")
        use(account, 30)
        assert ask(quantity=10) == {"allowed": True, "reason": "billing_active", "plan_id": "small"}  # 30 + 10 = 40
        assert ask(quantity="10.000000000001") == {
            "allowed": False,
            "reason": "quota_exceeded",
            "plan_id": "small",
            "recommended_plan": "middle",
            "usage": {
                "feature": SCOPE,
                "meter_event_name": "tokens",
                "window": "day",
                "used": "30",
                "limit": "40",
                "remaining": "10",
                "exceeded": True,
                "upgrade_plan_id": "middle",
            },
        }

    def test_when_exhausted_and_no_quantity_is_given(self, account: Account) -> None:
        world.subscribe(account, "small")
        use(account, 39)
        assert ask()["allowed"] is True
        use(account, 2)  # 39 + 2 = 41 of 40: what happened is recorded all the same
        usage = ask()["usage"]
        assert (usage["window"], usage["used"], usage["remaining"]) == ("day", "41", "0")

    def test_names_the_one_that_resets_last(self, account: Account) -> None:
        world.subscribe(account, "small")
        use(account, 100)  # of 40 a day and of 100 a month
        assert ask()["usage"]["window"] == "month"

    def test_in_the_billing_period(self, account: Account) -> None:
        world.subscribe(account, "small")
        for number in range(9):
            use(account, 1, "calls", days_ago=number)
        use(account, 1, "calls", days_ago=20)  # before the period
        usage = ask("use:calls")["usage"]
        assert (usage["window"], usage["used"], usage["limit"]) == ("billing_period", "9", "9")

    def test_only_of_the_scope(self, account: Account) -> None:
        world.subscribe(account, "small")
        use(account, 100)
        assert ask("use:calls")["allowed"] is True

    def test_only_of_the_meter_that_is_named(self, account: Account) -> None:
        world.subscribe(account, "small")
        make_quota(account, "calls", 0, feature=SCOPE)
        assert ask()["usage"]["meter_event_name"] == "calls"
        assert ask(quantity=1)["allowed"] is True
        assert ask(quantity=1, meter_event_name="calls")["usage"]["limit"] == "0"
        assert ask(quantity=1, meter_event_name="unheard-of")["allowed"] is True

    def test_never_by_a_soft_one(self, account: Account) -> None:
        world.subscribe(account, "soft")
        use(account, 1000)
        assert ask()["allowed"] is True
        assert ask(quantity=1000)["allowed"] is True

    def test_of_the_account_in_place_of_the_plans(self, account: Account) -> None:
        world.subscribe(account, "small")
        make_quota(account, "tokens", 50, "day")
        use(account, 45)
        assert ask(quantity=5)["allowed"] is True  # 45 + 5 = 50
        assert ask(quantity=6)["usage"]["limit"] == "50"
        AccountQuota.objects.update(limit=None, stated_limit=None)
        assert ask(quantity=6)["allowed"] is True  # unlimited a day, 51 of 100 a month
        AccountQuota.objects.update(is_active=False)
        assert ask(quantity=6)["usage"]["limit"] == "40"

    def test_of_a_meter_that_no_plan_limits_where_the_meter_is_named(self, account: Account) -> None:
        world.subscribe(account, "dear")
        make_quota(account, "tokens", 5)
        use(account, 5)
        assert ask("extra:one")["allowed"] is True
        usage = ask("extra:one", quantity=1)["usage"]
        assert (usage["feature"], usage["limit"]) == ("", "5")

    def test_of_a_gauge_by_its_last_value(self, account: Account) -> None:
        world.subscribe(account, "small")
        make_quota(account, "seats", 5, feature=SCOPE)
        use(account, 5, "seats", days_ago=90)
        assert ask()["usage"]["meter_event_name"] == "seats"
        use(account, 4, "seats")
        assert ask()["allowed"] is True

    def test_by_the_clock_of_the_account(self, account: Account) -> None:
        world.subscribe(account, "small")
        use(account, 40)
        assert ask()["allowed"] is False
        Account.objects.update(test_clock=TestClock.objects.create(name="ahead", now_at=NOW + timedelta(days=1)))
        assert ask()["allowed"] is True

    def test_consumes_nothing(self, account: Account) -> None:
        world.subscribe(account, "small")
        use(account, 30)
        watched: list[type[Model]] = [UsageEvent, AccountQuota]
        before = [model._default_manager.count() for model in watched]
        for _ in range(3):
            assert ask(quantity=10)["allowed"] is True
        assert [model._default_manager.count() for model in watched] == before

    def test_ends_with_the_upgrade(self, account: Account) -> None:
        subscription = world.subscribe(account, "small")
        use(account, 40)
        assert ask()["allowed"] is False
        wide = Plan.objects.get(key="wide").current_version
        Subscription.objects.filter(pk=subscription.pk).update(plan_version=wide)
        assert ask() == {"allowed": True, "reason": "billing_active", "plan_id": "wide"}


class TestRequest:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, [("/account_id", "required"), ("/scope", "required")]),
            ({"account_id": "alice"}, [("/scope", "required")]),
            ({"account_id": " ", "scope": ""}, [("/account_id", "blank"), ("/scope", "blank")]),
            ({"account_id": None, "scope": None}, [("/account_id", "null"), ("/scope", "null")]),
            ({"account_id": "alice", "scope": "x" * 101}, [("/scope", "max_length")]),
            ({"account_id": "alice", "scope": "x", "usages": {}}, [("/usages", "unknown")]),
            ({"usage": {}}, "usage"),
            ({"usage": {"meter_event_name": "tokens"}}, [("/usage/quantity", "required")]),
            ({"usage": {"quantity": 1}}, [("/usage/meter_event_name", "required")]),
            ({"usage": {"meter_event_name": "tokens", "quantity": 0}}, "quantity"),
            ({"usage": {"meter_event_name": "tokens", "quantity": -1}}, "quantity"),
            ({"usage": {"meter_event_name": "tokens", "quantity": "0.000"}}, "quantity"),
            ({"usage": {"meter_event_name": "tokens", "quantity": True}}, [("/usage/quantity", "invalid")]),
            ({"usage": {"meter_event_name": "tokens", "quantity": "many"}}, [("/usage/quantity", "invalid")]),
            ({"usage": {"meter_event_name": "tokens", "quantity": "1e99"}}, [("/usage/quantity", "out_of_range")]),
            ({"usage": {"meter_event_name": "tokens", "quantity": 1, "x": 1}}, [("/usage/x", "unknown")]),
            ({"usage": []}, [("/usage", "invalid")]),
        ],
    )
    def test_names_what_is_wrong(self, body: dict[str, Any], expected: Any) -> None:
        if "usage" in body:
            body = {"account_id": "alice", "scope": "x", **body}
        if expected == "usage":
            expected = [("/usage/meter_event_name", "required"), ("/usage/quantity", "required")]
        if expected == "quantity":
            expected = [("/usage/quantity", "quantity_not_positive")]
        assert findings(problem(make_client().post(DOOR, body), "validation_failed", 400)) == expected

    def test_is_an_object(self) -> None:
        problem(make_client().post(DOOR, [1]), "validation_failed", 400)
        problem(make_client().post(DOOR, b"{", content_type="application/json"), "malformed_body", 400)

    @pytest.mark.parametrize("word", ["account", "user", "user_id", "customer_id", "tenant_id"])
    def test_knows_every_word_for_the_account(self, account: Account, word: str) -> None:
        world.subscribe(account, "small")
        response = make_client().post(DOOR, {word: f" {account.public_id.upper()} ", "scope": SCOPE})
        assert response.json()["allowed"] is True

    def test_takes_numbers_and_text(self, account: Account) -> None:
        world.subscribe(account, "small")
        for quantity in (40, "40", 40.0, "40.000", "4e1"):
            assert ask(quantity=quantity)["allowed"] is True
        for quantity in (41, "41", 40.5, "0004.1e1"):
            assert ask(quantity=quantity)["allowed"] is False

    def test_null_usage_is_none(self, account: Account) -> None:
        world.subscribe(account, "small")
        body = {"account_id": "ALICE", "scope": SCOPE, "usage": None}
        assert make_client().post(DOOR, body).json()["allowed"] is True

    def test_speaks_camel_case(self, account: Account) -> None:
        world.subscribe(account, "small")
        body = b'{"accountId":"alice","scope":"use:tokens","usage":{"meterEventName":"tokens","quantity":41}}'
        shown = make_client().post(DOOR, body, content_type=CAMEL, headers={"Accept": CAMEL}).json()
        assert (shown["planId"], shown["usage"]["meterEventName"]) == ("small", "tokens")

    def test_a_key_does_not_keep_the_answer(self, account: Account) -> None:
        world.subscribe(account, "small")
        body = {"account_id": "alice", "scope": SCOPE}
        answers = []
        for quantity in (30, 30):
            use(account, quantity)
            answers.append(make_client().post(DOOR, body, headers={"Idempotency-Key": "k"}).json()["allowed"])
        assert answers == [True, False]  # 30, then 60 of 40

    def test_is_for_internal_callers_with_the_scope(self, account: Account) -> None:
        body = {"account_id": "alice", "scope": SCOPE}
        problem(make_client("public", "alice").post(DOOR, body), "audience_rejected", 403)
        problem(make_client(scopes=["billing:read"]).post(DOOR, body), "scope_missing", 403)
        problem(make_client().get(DOOR), "method_not_allowed", 405)
