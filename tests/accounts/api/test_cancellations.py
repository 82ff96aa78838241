"""The doors of cancellation and reactivation, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Subscription
from accounts.services.deposits import deposit
from billing_site.kernel import clock
from invoicing.models import CreditNote, Invoice
from invoicing.services.billing import bill_subscriptions
from tests.factories.accounts import ACTOR, AT, make_account, make_member, make_subscription, publish_catalog
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


class TestUnusedTime:
    """The period is 15 March to 15 April, 49.00 for 31 days; on 30 March 16 of them are left: 25.29."""

    NOW: dict[str, Any] = {"immediately": True, "unused": "credit"}

    @pytest.fixture(autouse=True)
    def _later(self) -> Iterator[None]:
        with clock.travel(AT + timedelta(days=15)):
            yield

    @pytest.fixture
    def paid(self) -> Subscription:
        publish_catalog()
        account = make_account("acme/shop", owner_user_id="alice")
        deposit(account=account, amount=4900, currency="usd", at=AT, actor=ACTOR)
        subscription = make_subscription(account, "pro")
        bill_subscriptions(subscription_ids=[subscription.id], as_of=AT, actor=ACTOR)
        return subscription

    def test_is_previewed_to_the_cent_and_nothing_happens(self, paid: Subscription) -> None:
        shown = make_client().post(door(paid, "cancel"), {**self.NOW, "preview": True}).json()
        (note,) = shown["preview"]["credit_notes"]
        (line,) = note.pop("line_items")
        assert (shown["status"], shown["preview"]["invoices"]) == ("canceled", [])
        invoice = Invoice.objects.get()
        assert note == {
            "invoice_id": invoice.public_id,
            "subtotal": 2529,
            "tax": 0,
            "amount": 2529,
            "currency": "usd",
        }
        assert line == {
            "invoice_line_id": invoice.lines.get().public_id,
            "description": "Pro · unused time",
            "period_start": "2026-03-30T00:00:00Z",
            "period_end": "2026-04-15T00:00:00Z",
            "share": "16/31 days",
            "amount": 2529,
        }
        paid.refresh_from_db()
        assert (paid.status, CreditNote.objects.count()) == ("active", 0)

    def test_is_given_back_as_previewed(self, paid: Subscription) -> None:
        shown = make_client().post(door(paid, "cancel"), self.NOW).json()
        assert (shown["status"], "preview" in shown) == ("canceled", False)
        assert CreditNote.objects.get().total == 2529

    def test_shows_the_last_invoice_of_what_was_not_paid(self, subscription: Subscription) -> None:
        bill_subscriptions(subscription_ids=[subscription.id], as_of=AT, actor=ACTOR)
        shown = make_client().post(door(subscription, "cancel"), {**self.NOW, "preview": True}).json()
        last = {"subtotal": -2529, "tax": 0, "total": -2529, "amount_due": 0, "currency": "usd"}
        assert shown["preview"] == {"invoices": [last], "credit_notes": []}

    def test_is_the_sellers_choice_for_customers(self, paid: Subscription) -> None:
        client = make_client(subject="alice", audience="public")
        assert problem(client.post(door(paid, "cancel"), self.NOW), "validation_failed", 400)
        assert client.post(door(paid, "cancel"), {"immediately": True}).json()["status"] == "canceled"
        assert not CreditNote.objects.exists()
