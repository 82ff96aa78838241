"""The doors of subscription items, with real requests."""

from __future__ import annotations

import pytest

from accounts.models import Subscription
from tests.factories.accounts import make_account, make_subscription, publish_catalog
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

ITEMS = "/api/v1/billing/subscription-items"


@pytest.fixture
def subscription() -> Subscription:
    publish_catalog()
    return make_subscription(make_account("acme/shop", owner_user_id="alice"), "mixed", quantity=2)


class TestList:
    def test_shows_what_a_subscription_is_billed_for(self, subscription: Subscription) -> None:
        make_subscription(make_account("other/shop"), "pro")
        answer = make_client().get(ITEMS, {"subscription_id": subscription.public_id}).json()
        shown = {item["billing_mode"]: item for item in answer["items"]}
        assert shown.keys() == {"licensed", "metered"}
        fee, usage = shown["licensed"], shown["metered"]
        assert (fee["quantity"], fee["meter_id"], fee["plan_id"]) == (2, None, "mixed")
        assert (usage["quantity"], usage["subscription_id"]) == (0, subscription.public_id)
        assert usage["meter_id"].startswith("mtr_")
        assert fee["price_id"].startswith("price_")

    def test_shows_an_internal_caller_those_of_its_organization(self, subscription: Subscription) -> None:
        make_subscription(make_account("other/shop"), "pro")
        assert len(make_client().get(ITEMS).json()["items"]) == 3
        assert len(make_client(org="acme").get(ITEMS).json()["items"]) == 2

    def test_a_public_caller_names_a_subscription_of_its_own(self, subscription: Subscription) -> None:
        alice, eve = make_client("public", "alice"), make_client("public", "eve")
        assert findings(problem(alice.get(ITEMS), "validation_failed", 400)) == [("/subscription_id", "required")]
        assert len(alice.get(ITEMS, {"subscription_id": subscription.public_id}).json()["items"]) == 2
        assert problem(eve.get(ITEMS, {"subscription_id": subscription.public_id}), "not_found", 404)


class TestRetrieve:
    def test_shows_one_to_those_who_may_see_it(self, subscription: Subscription) -> None:
        item = subscription.items.get(meter__isnull=False)
        shown = make_client("public", "alice").get(f"{ITEMS}/{item.public_id}").json()
        assert (shown["id"], shown["billing_mode"]) == (item.public_id, "metered")
        assert problem(make_client("public", "eve").get(f"{ITEMS}/{item.public_id}"), "not_found", 404)
        assert problem(make_client().get(f"{ITEMS}/si_nothing"), "not_found", 404)
