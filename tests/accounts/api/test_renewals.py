"""The door of renewals, with real requests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from accounts.models import Subscription
from billing_site.kernel import clock
from invoicing.models import Invoice
from invoicing.services.billing import bill_subscriptions
from tests.factories.accounts import ACTOR, AT, make_account, make_subscription, publish_catalog
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
    found = make_subscription(make_account("acme/shop", owner_user_id="alice"))
    bill_subscriptions(subscription_ids=[found.id], as_of=AT, actor=ACTOR)
    return found


def door(subscription: Subscription) -> str:
    return f"/api/v1/billing/subscriptions/{subscription.public_id}/renew"


class TestRenew:
    def test_starts_the_next_period_and_shows_its_invoice(self, subscription: Subscription) -> None:
        response = make_client().post(door(subscription), {})
        assert response.status_code == 200, response.content
        answer = response.json()
        invoice = Invoice.objects.latest("id")
        assert answer["subscription"]["current_period_start"] == "2026-04-15T00:00:00Z"
        assert (answer["invoice"]["id"], answer["invoice"]["amount_due"]) == (invoice.public_id, 4900)
        assert answer["invoice"]["line_items"][0]["period_start"] == "2026-04-15T00:00:00Z"
        assert answer["subscription"]["current_invoice_id"] == invoice.public_id
        collection = answer["collection"]
        assert (collection["success"], collection["amount_charged"]) == (False, 0)
        assert collection["error"] == "Open until 2026-03-22."

    def test_happens_once(self, subscription: Subscription) -> None:
        invoice_id = make_client().post(door(subscription), {}).json()["invoice"]["id"]
        refused = problem(make_client().post(door(subscription), {}), "period_already_invoiced", 409)
        assert refused["invoice_id"] == invoice_id

    def test_answers_a_repeat_of_its_key_the_same(self, subscription: Subscription) -> None:
        answers = [make_client().post(door(subscription), {}, HTTP_IDEMPOTENCY_KEY="one").json() for _ in range(2)]
        assert answers[0] == answers[1]
        assert Invoice.objects.count() == 2

    def test_without_force_waits_for_the_end(self, subscription: Subscription) -> None:
        refused = problem(make_client().post(door(subscription), {"force": False}), "period_already_invoiced", 409)
        assert refused["invoice_id"] == Invoice.objects.get().public_id

    def test_is_not_for_what_has_ended(self, subscription: Subscription) -> None:
        where = f"/api/v1/billing/subscriptions/{subscription.public_id}/cancel"
        make_client().post(where, {"immediately": True})
        assert problem(make_client().post(door(subscription), {}), "invalid_state", 409)

    def test_is_for_those_who_may_move_money(self, subscription: Subscription) -> None:
        assert problem(make_client("public", "alice").post(door(subscription), {}), "audience_rejected", 403)
        clerk = make_client(scopes=["billing:subscription:write"])
        assert problem(clerk.post(door(subscription), {}), "scope_missing", 403)
        assert problem(make_client(org="other").post(door(subscription), {}), "not_found", 404)
