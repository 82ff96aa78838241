"""The doors of pauses, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from accounts.models import Subscription
from billing_site.kernel import clock
from invoicing.services.billing import bill_subscriptions
from tests.factories.accounts import ACTOR, AT, make_account, make_member, make_subscription, publish_catalog
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _later() -> Iterator[None]:
    with clock.travel(AT + timedelta(days=5)):
        yield


@pytest.fixture
def subscription() -> Subscription:
    publish_catalog()
    found = make_subscription(make_account("acme/shop", owner_user_id="alice"))
    bill_subscriptions(subscription_ids=[found.id], as_of=AT, actor=ACTOR)
    return found


def door(subscription: Subscription, what: str) -> str:
    return f"/api/v1/billing/subscriptions/{subscription.public_id}/{what}"


class TestPause:
    def test_stops_the_subscription(self, subscription: Subscription) -> None:
        shown = make_client().post(door(subscription, "pause"), {"resume_at": "2026-06-01"}).json()
        assert (shown["status"], shown["paused_at"]) == ("paused", "2026-03-20T12:00:00Z")
        subscription.refresh_from_db()
        assert subscription.resume_at is not None
        assert subscription.resume_at.isoformat() == "2026-06-01T00:00:00+00:00"

    def test_takes_an_empty_body(self, subscription: Subscription) -> None:
        assert make_client().post(door(subscription, "pause"), {}).json()["status"] == "paused"

    def test_refuses_a_second_pause_and_an_end_in_the_past(self, subscription: Subscription) -> None:
        response = make_client().post(door(subscription, "pause"), {"resume_at": "2026-03-01"})
        assert findings(problem(response, "validation_failed", 400)) == [("/resume_at", "in_past")]
        make_client().post(door(subscription, "pause"), {})
        assert problem(make_client().post(door(subscription, "pause"), {}), "invalid_state", 409)

    def test_is_for_those_who_may_write(self, subscription: Subscription) -> None:
        make_member(subscription.account, user_id="bob", role="member")
        for caller, status, code in (("bob", 403, "account_forbidden"), ("eve", 404, "not_found")):
            assert problem(make_client("public", caller).post(door(subscription, "pause"), {}), code, status)
        assert make_client("public", "alice").post(door(subscription, "pause"), {}).status_code == 200


class TestResume:
    def test_goes_on(self, subscription: Subscription) -> None:
        make_client().post(door(subscription, "pause"), {})
        shown = make_client().post(door(subscription, "resume")).json()
        assert (shown["status"], shown["paused_at"]) == ("active", None)

    def test_needs_a_pause(self, subscription: Subscription) -> None:
        assert problem(make_client().post(door(subscription, "resume")), "invalid_state", 409)
