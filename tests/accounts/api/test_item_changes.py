"""The doors that add, change and remove parts of a subscription, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, Subscription, SubscriptionItem
from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.models import PendingCharge
from invoicing.services.billing import bill_subscriptions
from tests.factories.accounts import ACTOR, AT, CATALOG, make_account, make_member, make_subscription, publish_catalog
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

ITEMS = "/api/v1/billing/subscription-items"
LATER = AT + timedelta(days=15)


@pytest.fixture
def account() -> Account:
    storage = {"name": "storage", "unit": "GB"}
    support = {
        "id": "support",
        "product_id": "ai",
        "name": "Support",
        "prices": [
            {"currency": "usd", "unit_amount": 3100, "interval": "month"},
            {"currency": "usd", "unit_amount": "10", "interval": "month", "meter": "storage"},
        ],
    }
    audit = {
        "id": "audit",
        "product_id": "ai",
        "name": "Audit",
        "prices": [{"currency": "usd", "unit_amount": 6200, "interval": "month", "billing_timing": "arrears"}],
    }
    document = {
        **CATALOG,
        "meters": [*CATALOG["meters"], storage],
        "plans": [*CATALOG["plans"], support, audit],
    }
    publish_catalog(document=document)
    return make_account("acme/shop", owner_user_id="alice")


@pytest.fixture(autouse=True)
def _later() -> Iterator[None]:
    with clock.travel(LATER):
        yield


@pytest.fixture
def subscription(account: Account) -> Subscription:
    return start(account)


def start(account: Account, plan_key: str = "pro", **options: Any) -> Subscription:
    """Start a subscription on 15 March, its first period billed: 31 days, of which 16 are left on 30 March."""
    subscription = make_subscription(account, plan_key, **options)
    bill_subscriptions(subscription_ids=[subscription.id], as_of=AT, actor=ACTOR)
    return subscription


def add(subscription: Subscription, **body: Any) -> dict[str, Any]:
    response = make_client().post(ITEMS, {"subscription_id": subscription.public_id, **body})
    assert response.status_code == 201, response.content
    answer: dict[str, Any] = response.json()
    return answer


def door(item: dict[str, Any] | SubscriptionItem) -> str:
    return f"{ITEMS}/{item['id'] if isinstance(item, dict) else item.public_id}"


def list_waiting() -> list[tuple[str, bool, str]]:
    """Return quantity, whether it is a credit, and share of what waits for the next invoice."""
    rows = [charge.facts for charge in PendingCharge.objects.order_by("id")]
    return [(facts["quantity"], facts.get("is_credit", False), facts["share"]["text"]) for facts in rows]


class TestCreate:
    def test_adds_the_fee_of_another_plan_for_the_rest_of_the_period(self, subscription: Subscription) -> None:
        item = add(subscription, plan_id="support", quantity=2, metadata={"po": "7"})
        assert (item["plan_id"], item["quantity"], item["billing_mode"]) == ("support", 2, "licensed")
        assert (item["meter_id"], item["metadata"]) == (None, {"po": "7"})
        assert list_waiting() == [("2", False, "16/31 days")]
        event = Event.objects.get(type="subscription_item.created")
        assert (event.data["id"], event.data["plan_id"], event.data["quantity"]) == (item["id"], "support", 2)

    def test_adds_a_price_by_its_id(self, subscription: Subscription) -> None:
        item = add(subscription, plan_id="support")
        make_client().delete(door(item))
        again = add(subscription, price_id=item["price_id"], billing_mode="licensed")
        assert (again["plan_id"], again["price_id"]) == ("support", item["price_id"])

    def test_charges_nothing_with_none(self, subscription: Subscription) -> None:
        add(subscription, plan_id="support", proration_behavior="none")
        assert list_waiting() == []

    def test_adds_usage_at_the_price_of_a_plan(self, subscription: Subscription) -> None:
        item = add(subscription, plan_id="support", meter_id="storage")
        assert (item["billing_mode"], item["quantity"], item["plan_id"]) == ("metered", 0, "support")
        assert item["meter_id"].startswith("mtr_")
        assert list_waiting() == []

    def test_adds_a_meter_that_a_rule_may_price(self, subscription: Subscription) -> None:
        item = add(subscription, meter_id="storage", billing_mode="metered")
        assert (item["price_id"], item["plan_id"], item["billing_mode"]) == (None, "pro", "metered")
        assert make_client().delete(door(item)).json() == {"id": item["id"], "deleted": True}

    def test_shows_the_plan_of_the_subscription_at_its_own_price(self, subscription: Subscription) -> None:
        add(subscription, plan_id="support")
        shown = make_client().get(f"/api/v1/billing/subscriptions/{subscription.public_id}").json()
        assert shown["plan"]["price"] == 4900

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            ({}, [("/price_id", "required")]),
            ({"billing_mode": "metered"}, [("/meter_id", "required")]),
            ({"billing_mode": "metered", "plan_id": "support"}, [("/meter_id", "required")]),
            ({"billing_mode": "licensed", "meter_id": "storage"}, [("/meter_id", "not_metered")]),
            ({"plan_id": "support", "price_id": "price_1"}, [("/plan_id", "ambiguous")]),
            ({"plan_id": "pro"}, [("/price_id", "exists")]),
            ({"plan_id": "payg"}, [("/plan_id", "not_priced")]),
            ({"plan_id": "support", "quantity": 0}, [("/quantity", "out_of_range")]),
            ({"plan_id": "support", "meter_id": "storage", "quantity": 2}, [("/quantity", "metered")]),
            (
                {"plan_id": "support", "proration_behavior": "always_invoice"},
                [("/proration_behavior", "invalid_choice")],
            ),
        ],
    )
    def test_refuses_what_makes_no_sense(
        self, subscription: Subscription, body: dict[str, Any], found: list[tuple[str, str]]
    ) -> None:
        response = make_client().post(ITEMS, {"subscription_id": subscription.public_id, **body})
        assert findings(problem(response, "validation_failed", 400)) == found

    def test_refuses_a_part_that_is_there(self, subscription: Subscription) -> None:
        for body in ({"plan_id": "support"}, {"plan_id": "support", "meter_id": "storage"}):
            add(subscription, **body)
            response = make_client().post(ITEMS, {"subscription_id": subscription.public_id, **body})
            assert findings(problem(response, "validation_failed", 400))[0][1] == "exists"

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            ({"plan_id": "nothing"}, "plan"),
            ({"price_id": "price_nothing"}, "price"),
            ({"meter_id": "nothing"}, "meter"),
        ],
    )
    def test_knows_only_what_the_catalog_has(self, subscription: Subscription, body: dict[str, Any], kind: str) -> None:
        response = make_client().post(ITEMS, {"subscription_id": subscription.public_id, **body})
        assert problem(response, "not_found", 404)["object_type"] == kind
        response = make_client().post(ITEMS, {"subscription_id": "sub_nothing", "plan_id": "support"})
        assert problem(response, "not_found", 404)["object_type"] == "subscription"

    def test_is_not_for_what_has_ended(self, subscription: Subscription) -> None:
        make_client().post(f"/api/v1/billing/subscriptions/{subscription.public_id}/cancel", {"immediately": True})
        response = make_client().post(ITEMS, {"subscription_id": subscription.public_id, "plan_id": "support"})
        assert problem(response, "invalid_state", 409)

    def test_is_for_those_who_may_write_and_what_they_can_buy(self, subscription: Subscription) -> None:
        make_member(subscription.account, user_id="bob", role="member")
        body = {"subscription_id": subscription.public_id, "plan_id": "support"}
        for caller, status, code in (("bob", 403, "account_forbidden"), ("eve", 404, "not_found")):
            assert problem(make_client("public", caller).post(ITEMS, body), code, status)
        alice = make_client("public", "alice")
        assert problem(alice.post(ITEMS, {**body, "plan_id": "enterprise"}), "plan_not_subscribable", 422)
        assert alice.post(ITEMS, body).status_code == 201


class TestUpdate:
    def test_changes_the_quantity_of_a_part(self, subscription: Subscription) -> None:
        item = add(subscription, plan_id="support", quantity=2)
        shown = make_client().patch(door(item), {"quantity": 5}).json()
        assert (shown["id"], shown["quantity"]) == (item["id"], 5)
        assert list_waiting()[1:] == [("2", True, "16/31 days"), ("5", False, "16/31 days")]
        event = Event.objects.get(type="subscription_item.updated")
        assert event.previous_data == {"quantity": 2}

    def test_changes_nothing_twice(self, subscription: Subscription) -> None:
        item = add(subscription, plan_id="support", quantity=2)
        for _ in range(2):
            assert make_client().patch(door(item), {"quantity": 5}).status_code == 200
        assert len(list_waiting()) == 3

    def test_of_the_fee_changes_the_subscription(self, subscription: Subscription) -> None:
        fee = subscription.items.get()
        shown = make_client().patch(door(fee), {"quantity": 3}).json()
        assert (shown["id"], shown["quantity"]) == (fee.public_id, 3)
        subscription.refresh_from_db()
        assert (subscription.quantity, subscription.revision) == (3, 1)
        assert list_waiting() == [("1", True, "16/31 days"), ("3", False, "16/31 days")]
        make_client().patch(door(fee), {"quantity": 1, "proration_behavior": "none"})
        subscription.refresh_from_db()
        assert (subscription.quantity, len(list_waiting())) == (1, 2)

    def test_of_a_fee_in_arrears_goes_on_under_another_id(self, subscription: Subscription) -> None:
        item = add(subscription, plan_id="audit")
        with clock.travel(LATER + timedelta(days=5)):
            shown = make_client().patch(door(item), {"quantity": 4}).json()
        assert (shown["quantity"], shown["plan_id"]) == (4, "audit")
        assert shown["id"] != item["id"]
        assert problem(make_client().get(door(item)), "not_found", 404)

    def test_changes_metadata(self, subscription: Subscription) -> None:
        item = add(subscription, plan_id="support", meter_id="storage")
        assert make_client().patch(door(item), {"metadata": {"po": "8"}}).json()["metadata"] == {"po": "8"}

    def test_refuses_a_quantity_of_usage_or_none(self, subscription: Subscription) -> None:
        item = add(subscription, plan_id="support", meter_id="storage")
        fee = add(subscription, plan_id="support")
        for where, body, found in (
            (item, {"quantity": 2}, ("/quantity", "metered")),
            (fee, {"quantity": 0}, ("/quantity", "min_value")),
            (fee, {}, ("", "empty")),
            (fee, {"proration_behavior": "none"}, ("/proration_behavior", "nothing_changes")),
        ):
            response = make_client().patch(door(where), body)
            assert findings(problem(response, "validation_failed", 400)) == [found]

    def test_is_for_those_who_may_write(self, subscription: Subscription) -> None:
        make_member(subscription.account, user_id="bob", role="member")
        item = add(subscription, plan_id="support")
        assert problem(make_client("public", "bob").patch(door(item), {"quantity": 2}), "account_forbidden", 403)
        assert problem(make_client("public", "eve").patch(door(item), {"quantity": 2}), "not_found", 404)


class TestDelete:
    def test_credits_the_unused_rest_of_a_fee(self, subscription: Subscription) -> None:
        item = add(subscription, plan_id="support", quantity=2)
        with clock.travel(LATER + timedelta(days=6)):
            assert make_client().delete(door(item)).json() == {"id": item["id"], "deleted": True}
        assert list_waiting() == [("2", False, "16/31 days"), ("2", True, "10/31 days")]
        assert problem(make_client().get(door(item)), "not_found", 404)
        assert problem(make_client().delete(door(item)), "not_found", 404)
        assert Event.objects.get(type="subscription_item.deleted").data["ended_at"] is not None

    def test_gives_nothing_back_with_none_or_what_was_not_charged(self, subscription: Subscription) -> None:
        item = add(subscription, plan_id="support")
        make_client().delete(door(item) + "?proration_behavior=none")
        assert len(list_waiting()) == 1
        free = add(subscription, plan_id="support", proration_behavior="none")
        make_client().delete(door(free))
        assert len(list_waiting()) == 1

    def test_does_not_take_off_what_comes_with_the_plan(self, account: Account) -> None:
        subscription = start(account, "mixed")
        for item in subscription.items.all():
            refused = problem(make_client().delete(door(item)), "invalid_state", 409)
            assert "change the plan or cancel" in refused["detail"]


class TestPlans:
    def test_that_bring_the_part_are_refused(self, subscription: Subscription) -> None:
        add(subscription, plan_id="support", meter_id="storage")
        where = f"/api/v1/billing/subscriptions/{subscription.public_id}"
        response = make_client().patch(where, {"plan_id": "support", "effective": "immediate"})
        assert findings(problem(response, "validation_failed", 400)) == [("/plan_id", "part_exists")]

    def test_that_are_to_come_refuse_their_parts(self, subscription: Subscription) -> None:
        where = f"/api/v1/billing/subscriptions/{subscription.public_id}"
        make_client().patch(where, {"plan_id": "support"})
        response = make_client().post(ITEMS, {"subscription_id": subscription.public_id, "plan_id": "support"})
        assert findings(problem(response, "validation_failed", 400)) == [("/price_id", "exists")]

    def test_sold_by_another_interval_are_refused(self, subscription: Subscription) -> None:
        add(subscription, plan_id="support")
        where = f"/api/v1/billing/subscriptions/{subscription.public_id}"
        response = make_client().patch(where, {"interval": "year"})
        assert findings(problem(response, "validation_failed", 400)) == [("/interval", "parts_not_priced")]
