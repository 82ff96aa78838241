"""The doors of cancellation and reactivation, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import Subscription
from billing_site.kernel import clock
from tests.factories.accounts import AT, make_account, make_member, make_subscription, publish_catalog
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def subscription() -> Subscription:
    publish_catalog()
    return make_subscription(make_account("acme/shop", owner_user_id="alice"))


def door(subscription: Subscription, what: str) -> str:
    return f"/api/v1/billing/subscriptions/{subscription.public_id}/{what}"


class TestCancel:
    @pytest.mark.parametrize("body", [{}, {"at_period_end": True}, {"immediately": False, "reason": "other"}])
    def test_ends_with_the_period_unless_told_otherwise(self, subscription: Subscription, body: dict[str, Any]) -> None:
        response = make_client().post(door(subscription, "cancel"), body)
        assert response.status_code == 200, response.content
        shown = response.json()
        assert (shown["status"], shown["cancel_at_period_end"]) == ("active", True)
        assert shown["cancellation_reason"] == body.get("reason", "")

    @pytest.mark.parametrize("body", [{"immediately": True}, {"at_period_end": False}])
    def test_ends_at_once(self, subscription: Subscription, body: dict[str, Any]) -> None:
        shown = make_client().post(door(subscription, "cancel"), body).json()
        assert shown["status"] == "canceled"
        assert shown["ended_at"] == AT.isoformat().replace("+00:00", "Z")

    def test_refuses_two_answers(self, subscription: Subscription) -> None:
        response = make_client().post(door(subscription, "cancel"), {"immediately": True, "at_period_end": True})
        assert problem(response, "validation_failed", 400)

    def test_refuses_a_second_end(self, subscription: Subscription) -> None:
        make_client().post(door(subscription, "cancel"), {"immediately": True})
        assert problem(make_client().post(door(subscription, "cancel"), {}), "invalid_state", 409)

    def test_is_not_for_those_who_only_read(self, subscription: Subscription) -> None:
        make_member(subscription.account, user_id="bob", role="member")
        for caller, status, code in (("bob", 403, "account_forbidden"), ("eve", 404, "not_found")):
            client = make_client(subject=caller, audience="public")
            assert problem(client.post(door(subscription, "cancel"), {}), code, status)
        assert make_client(subject="alice", audience="public").post(door(subscription, "cancel"), {}).status_code == 200


class TestReactivate:
    def test_takes_it_back(self, subscription: Subscription) -> None:
        make_client().post(door(subscription, "cancel"), {})
        shown = make_client().post(door(subscription, "reactivate")).json()
        assert (shown["cancel_at_period_end"], shown["canceled_at"]) == (False, None)

    def test_comes_too_late_after_the_end(self, subscription: Subscription) -> None:
        make_client().post(door(subscription, "cancel"), {"immediately": True})
        assert problem(make_client().post(door(subscription, "reactivate")), "subscription_ended", 409)
