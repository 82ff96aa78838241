"""What a payment provider tells of a subscription."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account, ProviderUpdate, Subscription
from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from billing_site.platform.models import Event
from catalog.services.publishing import publish_document
from invoicing.models import Invoice
from invoicing.services.subscription_grants import grant_subscription
from metering.queries.status import get_status
from tests.invoicing.test_subscription_grants import DOCUMENT
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

DOOR = "/api/internal/billing/subscription-updates"
AT = world.NOVEMBER + timedelta(days=9)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def account() -> Account:
    publish_document(org_id="default", document=DOCUMENT, at=world.OCTOBER, actor=world.TESTER)
    return world.open_account("acme")


def tell(event: str, status: str = "active", **more: Any) -> dict[str, Any]:
    body = {"event_id": event, "account_id": "acme", "provider": "stripe", "status": status, **more}
    response = make_client().post(DOOR, body)
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def begin(**more: Any) -> Subscription:
    told: dict[str, Any] = {"plan_id": "pro", "provider_subscription_id": "sub_1", **more}
    assert tell("evt_begin", **told)["applied"]
    return Subscription.objects.get(provider_subscription_id="sub_1")


def features(account: Account) -> tuple[str, ...]:
    return get_status(account=account, at=AT).features


class TestBegin:
    def test_makes_a_subscription_that_the_provider_bills(self, account: Account) -> None:
        answer = tell("evt_1", plan_id="pro", provider_subscription_id="sub_1", provider_customer_id="cus_1")
        assert answer == {"account_id": account.public_id, "status": "active", "applied": True}
        subscription = Subscription.objects.get()
        assert (subscription.provider_type, subscription.provider) == ("stripe", "stripe")
        assert subscription.current_period_start == datetime(2023, 11, 10, tzinfo=UTC)
        account.refresh_from_db()
        assert account.provider_customer_id == "cus_1"
        world.run_cycle(as_of=AT + timedelta(days=90))
        assert not Invoice.objects.exists()
        event = Event.objects.get(type="subscription.created")
        assert event.data["provider_event_id"] == "evt_1"
        assert get_status(account=account, at=AT).provider == "stripe"

    def test_takes_the_place_of_a_free_subscription(self, account: Account) -> None:
        world.subscribe(account, "free")
        assert tell("evt_1", plan_id="pro", provider_subscription_id="sub_1")["applied"]
        rows = Subscription.objects.order_by("id").values_list("plan_version__plan__key", "status")
        assert list(rows) == [("free", "canceled"), ("pro", "active")]

    @pytest.mark.parametrize(
        ("told", "reason"),
        [
            ({}, "no plan to begin one"),
            ({"plan_id": "nope"}, "no plan 'nope'"),
            ({"plan_id": "pro", "status": "past_due"}, "can begin as past_due"),
            ({"plan_id": "pro", "status": "canceled"}, "can begin as canceled"),
        ],
    )
    def test_is_refused_where_nothing_can_begin(self, account: Account, told: dict[str, Any], reason: str) -> None:
        answer = tell("evt_1", **told)
        assert (answer["applied"], answer["status"]) == (False, "missing")
        assert reason in answer["reason"]
        assert ProviderUpdate.objects.get().reason == answer["reason"]

    def test_is_a_trial_where_the_provider_says_so(self, account: Account) -> None:
        begin(status="trialing")
        assert features(account) == ("app:pro",)
        assert tell("evt_2", provider_subscription_id="sub_1")["status"] == "active"


class TestStatus:
    def test_follows_the_table_of_transitions(self, account: Account) -> None:
        begin()
        steps = (("past_due", True), ("paused", False), ("unpaid", True), ("active", True), ("trialing", False))
        for number, (status, applied) in enumerate(steps):
            answer = tell(f"evt_{number}", status, provider_subscription_id="sub_1")
            assert (answer["applied"], answer["status"] == status) == (applied, applied), status
        answer = tell("evt_end", "incomplete_expired", provider_subscription_id="sub_1")
        assert (answer["applied"], answer["status"]) == (True, "canceled")
        again = tell("evt_back", "active", provider_subscription_id="sub_1")
        assert (again["applied"], again["status"]) == (False, "canceled")
        assert Subscription.objects.get().ended_at == AT
        assert Event.objects.filter(type="subscription.canceled").count() == 1

    def test_that_nobody_knows_means_incomplete(self, account: Account) -> None:
        begin(status="sleeping")
        assert Subscription.objects.get().status == "incomplete"

    def test_of_a_subscription_that_is_billed_here_follows_too(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro")
        answer = tell("evt_1", "past_due", plan_id="pro", provider_subscription_id="sub_1")
        assert (answer["applied"], answer["status"]) == (True, "past_due")
        subscription.refresh_from_db()
        assert (subscription.provider_type, subscription.provider_subscription_id) == ("internal", "sub_1")
        assert tell("evt_2", provider_subscription_id="sub_1")["status"] == "active"
        assert tell("evt_3", "paused", provider_subscription_id="sub_1")["status"] == "paused"
        assert tell("evt_4", provider_subscription_id="sub_1")["status"] == "active"
        assert tell("evt_5", "canceled", provider_subscription_id="sub_1")["status"] == "canceled"
        assert Event.objects.filter(type="subscription.canceled").count() == 1

    def test_leaves_the_plan_of_a_paid_one_and_what_was_given_away_alone(self, account: Account) -> None:
        world.subscribe(account, "pro")
        assert "changed here" in tell("evt_1", plan_id="max")["reason"]
        grant_subscription(account=account, plan_key="addon", at=AT, actor=Actor("token", "svc"), reason="gift")
        assert "given away" in tell("evt_2", "canceled", plan_id="addon")["reason"]


class TestPlan:
    def test_of_one_that_the_provider_bills_follows(self, account: Account) -> None:
        begin()
        assert tell("evt_2", plan_id="max", provider_subscription_id="sub_1")["applied"]
        assert Subscription.objects.get().plan_version.plan.key == "max"
        assert features(account) == ("app:max",)

    def test_and_period_follow_the_providers_word(self, account: Account) -> None:
        begin()
        with clock.travel(AT + timedelta(days=31)):
            tell("evt_2", provider_subscription_id="sub_1")
        assert Subscription.objects.get().current_period_start == datetime(2023, 12, 10, tzinfo=UTC)


class TestOrder:
    def test_an_event_counts_once(self, account: Account) -> None:
        begin()
        before = Event.objects.count()
        answer = tell("evt_begin", "canceled", provider_subscription_id="sub_1")
        assert (answer["applied"], answer["status"]) == (False, "active")
        assert (Event.objects.count(), ProviderUpdate.objects.count()) == (before, 1)

    def test_older_events_change_nothing(self, account: Account) -> None:
        begin(occurred_at="2023-11-08T12:00:00Z")
        old = tell("evt_old", "canceled", provider_subscription_id="sub_1", occurred_at="2023-11-08T11:59:59Z")
        assert (old["applied"], old["status"]) == (False, "active")
        assert "older" in old["reason"]
        same = tell("evt_same", "past_due", provider_subscription_id="sub_1", occurred_at="2023-11-08T12:00:00Z")
        assert same["applied"]

    def test_of_two_accounts_one_id_belongs_to_the_first(self, account: Account) -> None:
        begin()
        world.open_account("other")
        answer = tell("evt_2", account_id="other", plan_id="pro", provider_subscription_id="sub_1")
        assert "another account" in answer["reason"]


class TestFeatures:
    def test_named_by_the_last_update_count_instead_of_the_plans(self, account: Account) -> None:
        begin(features=["llm:proxy", "llm:proxy", "llm:batch"])
        assert features(account) == ("llm:proxy", "llm:batch")
        tell("evt_2", "past_due", provider_subscription_id="sub_1", features=["llm:proxy"])
        assert features(account) == ()
        tell("evt_3", provider_subscription_id="sub_1", features=["llm:proxy"])
        assert features(account) == ("llm:proxy",)
        tell("evt_4", provider_subscription_id="sub_1")
        assert features(account) == ("app:pro",)

    def test_do_not_outlive_a_due_date(self, account: Account, settings: Any) -> None:
        settings.BILLING_PAST_DUE_GRACE_DAYS = 20
        begin(features=["llm:proxy"])
        tell("evt_2", "past_due", provider_subscription_id="sub_1", features=["llm:proxy"])
        assert features(account) == ()


class TestDoor:
    def test_shows_the_providers_id_to_internal_callers_only(self, account: Account) -> None:
        subscription = begin()
        path = f"/api/v1/billing/subscriptions/{subscription.public_id}"
        assert make_client().get(path).json()["provider_subscription_id"] == "sub_1"
        assert make_client("public", "acme").get(path).json()["provider_subscription_id"] is None

    def test_refuses_what_it_cannot_read(self, account: Account) -> None:
        body = {"event_id": "e", "account_id": "acme", "provider": "stripe", "status": "active"}
        for name in body:
            rest = {key: value for key, value in body.items() if key != name}
            problem(make_client().post(DOOR, rest), "validation_failed", 400)
        problem(make_client().post(DOOR, {**body, "account_id": "nobody"}), "not_found", 404)
        late = {**body, "occurred_at": "2023-12-24T00:00:00Z"}
        problem(make_client().post(DOOR, late), "validation_failed", 400)
        problem(make_client("public", "acme").post(DOOR, body), "audience_rejected", 403)
