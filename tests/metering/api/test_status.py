"""The status view: the best subscription, what it gives, what is used, what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Member, Subscription
from accounts.services.deposits import deposit
from accounts.services.holds import create_hold
from accounts.services.ledger import NewEntry, PostingSpec, post_entries
from accounts.services.spending import spend_prepaid
from billing_site.kernel import clock
from catalog.services.publishing import publish_document
from metering.services.ingest import NewUsageEvent, record_usage_events
from metering.stores import EventRow, insert_events
from tests.factories.metering import make_row
from tests.factories.payment_methods import make_payment_method
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

DOOR = "/api/v1/billing/status"
BALANCE = "/api/v1/billing/balance"
NOW = world.NOVEMBER + timedelta(days=10, hours=5)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(NOW):
        yield


def quota(limit: int, window: str = "month", **more: Any) -> dict[str, Any]:
    return {"feature": "llm:proxy", "meter_event_name": "tokens", "window": window, "limit": limit, **more}


def make_plan(key: str, fee: int, *quotas: dict[str, Any], product: str = "llm", **more: Any) -> dict[str, Any]:
    return {
        "id": key,
        "product_id": product,
        "name": key.title(),
        "features": ["llm:proxy", f"{product}:{key}"],
        "prices": [{"currency": "usd", "interval": "month", "unit_amount": fee}],
        "quotas": list(quotas),
        **more,
    }


def publish() -> None:
    plans = [
        make_plan("small", 1000, quota(100), quota(40, "day")),
        make_plan("wide", 9000, quota(5000), quota(5000, "day")),
        make_plan("middle", 3000, quota(1000), quota(1000, "day")),
        make_plan("custom", 2000, contact_sales=True),
        make_plan("soft", 1000, quota(100, enforcement="soft"), product="other"),
    ]
    document = {
        "version": 1,
        "products": [{"id": "llm", "name": "Models"}, {"id": "other", "name": "Other"}],
        "meters": [{"name": "tokens", "unit": "tokens"}],
        "plans": plans,
    }
    publish_document(org_id="default", document=document, at=world.OCTOBER, actor=world.TESTER)


@pytest.fixture
def account() -> Account:
    publish()
    return world.open_account("alice")


def show(**query: Any) -> dict[str, Any]:
    response = make_client().get(DOOR, {"account": "alice", **query})
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def use(account: Account, quantity: int, *, days_ago: int = 0) -> None:
    event = NewUsageEvent(account, "tokens", Decimal(quantity), timestamp=NOW - timedelta(days=days_ago))
    record_usage_events(events=[event], at=NOW, actor=world.TESTER)


class TestAnswer:
    def test_without_a_subscription_asks_for_the_setup(self, account: Account) -> None:
        assert show() == {
            "account_id": account.public_id,
            "status": "missing",
            "provider": None,
            "plan_id": None,
            "features": [],
            "usage": [],
            "setup_required": True,
            "upgrade_required": False,
            "next_action": "setup_billing",
            "command": "billing setup",
            "has_payment_method": False,
            "credit_balance": 0,
            "tier": "free",
        }

    def test_tells_features_quotas_and_money(self, account: Account) -> None:
        world.subscribe(account, "small")
        use(account, 30)
        use(account, 25, days_ago=3)
        use(account, 1000, days_ago=20)  # before the period
        deposit(account=account, amount=500, currency="usd", at=NOW, actor=world.TESTER)
        create_hold(account=account, amount=120, currency="usd", at=NOW, actor=world.TESTER)
        make_payment_method(account)
        Account.objects.update(tier="pro")
        base = {"feature": "llm:proxy", "meter_event_name": "tokens", "exceeded": False, "upgrade_plan_id": "middle"}
        assert show() == {
            "account_id": account.public_id,
            "status": "active",
            "provider": "local",
            "plan_id": "small",
            "features": ["llm:proxy", "llm:small"],
            "usage": [
                {**base, "window": "day", "used": "30", "limit": "40", "remaining": "10"},
                {**base, "window": "month", "used": "55", "limit": "100", "remaining": "45"},
            ],
            "setup_required": False,
            "upgrade_required": False,
            "has_payment_method": True,
            "credit_balance": 380,  # 500 - 120
            "tier": "pro",
        }

    def test_recommends_the_cheapest_plan_that_allows_more(self, account: Account) -> None:
        world.subscribe(account, "small")
        use(account, 200, days_ago=2)
        shown = show()
        assert (shown["upgrade_required"], shown["next_action"]) == (True, "upgrade_plan")
        assert shown["recommended_plan"] == "middle"  # 30.00; "custom" is cheaper, and sold by staff only
        assert [(each["window"], each["remaining"], each["exceeded"]) for each in shown["usage"]] == [
            ("day", "40", False),
            ("month", "0", True),
        ]

    def test_does_not_stop_at_a_soft_quota(self, account: Account) -> None:
        world.subscribe(account, "soft")
        use(account, 200)
        shown = show()
        assert shown["usage"][0]["exceeded"]
        assert not shown["upgrade_required"]
        assert "next_action" not in shown

    def test_of_debt_shows_no_credit(self, account: Account) -> None:
        spend_prepaid(
            account=account, amount=5, currency="usd", key="k", at=NOW, actor=world.TESTER, allow_negative=True
        )
        assert show()["credit_balance"] == 0


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "shown", "works"),
        [
            ("active", "active", True),
            ("trialing", "active", True),
            ("past_due", "past_due", False),
            ("unpaid", "past_due", False),
            ("paused", "paused", False),
            ("incomplete", "incomplete", False),
            ("canceled", "canceled", False),
        ],
    )
    def test_is_told_in_fewer_words(self, account: Account, status: str, shown: str, works: bool) -> None:
        world.subscribe(account, "small")
        more = {"canceled": {"ended_at": NOW}, "paused": {"paused_at": NOW}, "trialing": {"trial_end": NOW}}
        Subscription.objects.update(status=status, **more.get(status, {}))
        answer = show()
        assert (answer["status"], answer["plan_id"], answer["setup_required"]) == (shown, "small", not works)
        assert bool(answer["features"]) == bool(answer["usage"]) == works

    def test_is_the_best_of_several(self, account: Account) -> None:
        world.subscribe(account, "small")
        Subscription.objects.update(status="canceled", ended_at=NOW)
        world.subscribe(account, "soft")
        Subscription.objects.exclude(status="canceled").update(status="paused", paused_at=NOW)
        assert (show()["status"], show()["plan_id"]) == ("paused", "soft")
        world.subscribe(account, "wide")
        assert (show()["status"], show()["plan_id"]) == ("active", "wide")
        assert show()["features"] == ["llm:proxy", "llm:wide"]

    def test_past_due_keeps_features_for_the_days_of_grace(self, account: Account, settings: Any) -> None:
        world.subscribe(account, "small")
        Subscription.objects.update(status="past_due")
        settings.BILLING_PAST_DUE_GRACE_DAYS = 11  # the period began 10 days and 5 hours ago
        assert show()["features"]
        settings.BILLING_PAST_DUE_GRACE_DAYS = 10
        assert not show()["features"]


class TestDoors:
    def test_show_callers_their_own(self, account: Account) -> None:
        response = make_client("public", "alice", tier="starter").get(DOOR)
        assert (response.json()["account_id"], response.json()["tier"]) == (account.public_id, "starter")

    def test_show_members_what_they_name(self, account: Account) -> None:
        problem(make_client("public", "bob").get(DOOR, {"account": "alice"}), "account_forbidden", 403)
        Member.objects.create(account=account, user_id="bob", role="member", added_at=NOW)
        assert make_client("public", "bob").get(DOOR, {"account": "alice"}).json()["account_id"] == account.public_id

    def test_for_operators_name_the_account_in_the_path(self, account: Account) -> None:
        door = "/api/internal/billing/accounts/{}/status"
        for name in (account.public_id, "ALICE"):
            assert make_client().get(door.format(name)).json() == show()
        problem(make_client().get(door.format("nobody")), "not_found", 404)
        problem(make_client().get(door.format("not an id")), "validation_failed", 400)
        problem(make_client("public", "alice").get(door.format("alice")), "audience_rejected", 403)


class TestQueries:
    @pytest.mark.parametrize("history", [5, 5000])
    def test_are_three_whatever_the_history(self, account: Account, history: int) -> None:
        subscription = world.subscribe(account, "small")
        deposit(account=account, amount=10, currency="usd", at=NOW, actor=world.TESTER)
        meter = subscription.plan_version.quota_rules.first().meter  # type: ignore[union-attr]
        insert_events([_row(account, meter, number) for number in range(history)])
        _post_many(account, history)
        client = make_client()
        public = make_client("public", "alice")
        of_account = f"/api/internal/billing/accounts/{account.public_id}/status"
        asks: list[tuple[Any, str, dict[str, str]]] = [
            (client, DOOR, {"account": "alice"}),
            (client, of_account, {}),
            (public, DOOR, {}),
            (client, BALANCE, {"account": "alice"}),
            (public, BALANCE, {}),
        ]
        for caller, door, query in asks:
            with CaptureQueriesContext(connection) as asked:
                assert caller.get(door, query).status_code == 200
            assert len(asked) <= 3, [each["sql"] for each in asked]
        assert show()["usage"][1]["used"] == str(history)
        assert show()["credit_balance"] == 10 + history

    def test_are_as_many_for_members_of_one_account(self, account: Account) -> None:
        Member.objects.create(account=account, user_id="bob", role="member", added_at=NOW)
        world.subscribe(account, "small")
        client = make_client("public", "bob")
        with CaptureQueriesContext(connection) as asked:
            assert client.get(DOOR).json()["account_id"] == account.public_id
        assert len(asked) <= 3


def _row(account: Account, meter: Any, number: int) -> EventRow:
    return make_row(account, meter, 1, idempotency_key=f"e{number}", timestamp=NOW - timedelta(days=1))


def _post_many(account: Account, count: int) -> None:
    post_entries(
        NewEntry(
            key=f"old:{number}",
            type="deposit",
            account_id=account.pk,
            postings=[PostingSpec("cash", None, "usd", 1), PostingSpec("prepaid", account.pk, "usd", -1)],
            at=NOW,
            livemode=False,
        )
        for number in range(count)
    )
