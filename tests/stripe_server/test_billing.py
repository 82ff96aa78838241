"""Hosted pages, subscriptions and test clocks, as Stripe's own library sees them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from tests.stripe_server.calling import Payer, connect
from tests.stripe_server.errors import StripeError
from tests.stripe_server.periods import add_intervals, next_boundary
from tests.stripe_server.server import StripeServer


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.fixture
def client(stripe_server: StripeServer) -> stripe.StripeClient:
    return connect(stripe_server)


@pytest.fixture
def price(client: stripe.StripeClient) -> str:
    """10.00 a month."""
    form: Any = {"currency": "usd", "unit_amount": 1000, "product_data": {"name": "Plan"}}
    form["recurring"] = {"interval": "month"}
    return client.v1.prices.create(form).id


def types_since(server: StripeServer, count: int) -> list[str]:
    return [event["type"] for event in server.events()[count:]]


class TestPeriods:
    @pytest.mark.parametrize(
        ("anchor", "interval", "count", "expected"),
        [
            ("2026-01-31", "month", 1, "2026-02-28"),
            ("2026-01-31", "month", 2, "2026-03-31"),
            ("2024-02-29", "year", 1, "2025-02-28"),
            ("2026-12-31", "week", 2, "2027-01-14"),
        ],
    )
    def test_are_counted_from_the_anchor(self, anchor: str, interval: str, count: int, expected: str) -> None:
        assert add_intervals(instant(anchor), interval=interval, count=count) == instant(expected)

    def test_end_at_the_next_boundary(self) -> None:
        anchor = instant("2026-01-31")
        assert next_boundary(anchor, instant("2026-02-28"), interval="month", count=1) == instant("2026-03-31")


class TestCheckout:
    def open(self, client: stripe.StripeClient, **more: Any) -> stripe.checkout.Session:
        form: Any = {"success_url": "https://shop.example/done", "cancel_url": "https://shop.example", **more}
        return client.v1.checkout.sessions.create(form)

    def test_saves_a_card(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        customer = client.v1.customers.create().id
        session = self.open(
            client,
            mode="setup",
            currency="usd",
            customer=customer,
            client_reference_id="acc_1",
            metadata={"billing_account_id": "acc_1"},
            setup_intent_data={"metadata": {"billing_account_id": "acc_1"}},
        )
        assert (session.status, session.url) == ("open", f"{stripe_server.url}/c/pay/{session.id}")
        with pytest.raises(StripeError):
            stripe_server.complete_checkout(session.id, card="chargeDeclined")
        assert client.v1.checkout.sessions.retrieve(session.id).status == "open"
        stripe_server.complete_checkout(session.id, card="authenticationRequiredOnSetup")
        done = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent"]})
        assert (done.status, done.payment_status, done.url) == ("complete", "no_payment_required", None)
        assert isinstance(done.setup_intent, stripe.SetupIntent)
        assert done.setup_intent.to_dict()["metadata"] == {"billing_account_id": "acc_1"}
        (method,) = client.v1.customers.payment_methods.list(customer).data
        assert done.setup_intent.payment_method == method.id
        last = stripe_server.events()[-1]
        assert (last["type"], last["data"]["object"]["client_reference_id"]) == ("checkout.session.completed", "acc_1")

    def test_takes_a_payment(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        line = {"price_data": {"currency": "eur", "unit_amount": 250, "product_data": {"name": "Tea"}}, "quantity": 2}
        session = self.open(client, mode="payment", line_items=[line], payment_intent_data={"metadata": {"order": "7"}})
        assert (session.amount_total, session.currency, session.payment_intent) == (500, "eur", None)
        stripe_server.complete_checkout(session.id)
        done = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent", "line_items"]})
        assert isinstance(done.payment_intent, stripe.PaymentIntent)
        assert (done.payment_status, done.payment_intent.amount_received) == ("paid", 500)
        assert done.line_items is not None
        assert [(item.description, item.quantity) for item in done.line_items.data] == [("Tea", 2)]
        assert [found.id for found in client.v1.checkout.sessions.list({"status": "complete"}).data] == [session.id]

    def test_begins_a_subscription(self, client: stripe.StripeClient, stripe_server: StripeServer, price: str) -> None:
        session = self.open(
            client,
            mode="subscription",
            line_items=[{"price": price, "quantity": 3}],
            subscription_data={"metadata": {"billing_account_id": "acc_1"}},
        )
        stripe_server.complete_checkout(session.id)
        done = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription.latest_invoice"]})
        assert isinstance(done.subscription, stripe.Subscription)
        assert done.subscription.status == "active"
        assert isinstance(done.subscription.latest_invoice, stripe.Invoice)
        assert done.subscription.latest_invoice.amount_paid == 3000

    def test_ends(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        form: Any = {"mode": "setup", "payment_method_types": ["card"]}
        first, second = self.open(client, **form), self.open(client, **form)
        assert client.v1.checkout.sessions.expire(first.id).status == "expired"
        with pytest.raises(stripe.InvalidRequestError, match="can be expired"):
            client.v1.checkout.sessions.expire(first.id)
        stripe_server.clock.advance(seconds=86400)
        with pytest.raises(StripeError, match="expired"):
            stripe_server.complete_checkout(second.id)
        assert client.v1.checkout.sessions.retrieve(second.id).status == "expired"
        assert len(stripe_server.events("checkout.session.expired")) == 2

    @pytest.mark.parametrize(
        ("form", "message"),
        [
            ({"mode": "setup"}, "Missing required param: currency"),
            ({"mode": "payment"}, "Missing required param: line_items"),
            ({"mode": "setup", "payment_method_types": ["card"], "expires_at": 1}, "between 30 minutes and 24 hours"),
            ({"mode": "sale"}, "Invalid mode"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, client: stripe.StripeClient, form: dict[str, Any], message: str) -> None:
        with pytest.raises(stripe.InvalidRequestError, match=message):
            self.open(client, **form)


class TestPortal:
    def test_has_an_address(self, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        customer = client.v1.customers.create().id
        session = client.v1.billing_portal.sessions.create({"customer": customer, "return_url": "https://a.example"})
        assert session.url == f"{stripe_server.url}/p/session/{session.id}"


class TestSubscriptions:
    def subscribe(self, payer: Payer, price: str, **more: Any) -> stripe.Subscription:
        default: Any = {"invoice_settings": {"default_payment_method": payer.method}}
        payer.client.v1.customers.update(payer.customer, default)
        form: Any = {"customer": payer.customer, "items": [{"price": price}], **more}
        return payer.client.v1.subscriptions.create(form)

    def test_are_paid_at_once(self, client: stripe.StripeClient, stripe_server: StripeServer, price: str) -> None:
        payer = Payer(client)
        before = len(stripe_server.events()) + 1  # the customer gets a default card
        subscription = self.subscribe(payer, price)
        assert subscription.status == "active"
        invoice = client.v1.invoices.retrieve(
            str(subscription.latest_invoice), {"expand": ["payments.data.payment.payment_intent"]}
        )
        assert (invoice.status, invoice.amount_paid, invoice.billing_reason) == ("paid", 1000, "subscription_create")
        assert types_since(stripe_server, before) == [
            "customer.subscription.created",
            "invoice.created",
            "invoice.finalized",
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "invoice.updated",
            "invoice.paid",
            "invoice.payment_succeeded",
            "customer.subscription.updated",
        ]
        payment: Any = invoice.to_dict()["payments"]["data"][0]["payment"]["payment_intent"]
        assert payment["amount_received"] == 1000

    def test_are_incomplete_or_nothing_without_money(
        self, client: stripe.StripeClient, stripe_server: StripeServer, price: str
    ) -> None:
        payer = Payer(client, "pm_card_chargeCustomerFail")
        subscription = self.subscribe(payer, price)
        assert subscription.status == "incomplete"
        stripe_server.change_card(payer.method)
        assert client.v1.invoices.pay(str(subscription.latest_invoice)).status == "paid"
        assert client.v1.subscriptions.retrieve(subscription.id).status == "active"
        stripe_server.decline_next("insufficient_funds")
        with pytest.raises(stripe.CardError):
            self.subscribe(payer, price, payment_behavior="error_if_incomplete")
        listed = client.v1.subscriptions.list({"customer": payer.customer}).data
        assert [found.id for found in listed] == [subscription.id]

    def test_fall_behind_and_catch_up(
        self, client: stripe.StripeClient, stripe_server: StripeServer, price: str
    ) -> None:
        payer = Payer(client)
        subscription = self.subscribe(payer, price)
        stripe_server.decline_next("insufficient_funds")
        stripe_server.renew(subscription.id)
        behind = client.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
        assert behind.status == "past_due"
        invoice = behind.latest_invoice
        assert isinstance(invoice, stripe.Invoice)
        assert (invoice.status, invoice.attempt_count, invoice.billing_reason) == ("open", 1, "subscription_cycle")
        assert "invoice.payment_failed" in types_since(stripe_server, 0)
        client.v1.invoices.pay(invoice.id)
        assert client.v1.subscriptions.retrieve(subscription.id).status == "active"

    def test_end_now_or_later(self, client: stripe.StripeClient, stripe_server: StripeServer, price: str) -> None:
        payer = Payer(client)
        first, second = self.subscribe(payer, price), self.subscribe(payer, price)
        assert client.v1.subscriptions.cancel(first.id).status == "canceled"
        later = client.v1.subscriptions.update(second.id, {"cancel_at_period_end": True})
        assert (later.status, later.cancel_at_period_end) == ("active", True)
        assert stripe_server.events()[-1]["data"]["previous_attributes"]["cancel_at_period_end"] is False
        stripe_server.renew(second.id)
        assert client.v1.subscriptions.retrieve(second.id).status == "canceled"
        assert len(stripe_server.events("customer.subscription.deleted")) == 2
        assert len(client.v1.invoices.list({"customer": payer.customer}).data) == 2
        assert client.v1.subscriptions.list({"customer": payer.customer}).data == []

    def test_live_on_a_test_clock(self, client: stripe.StripeClient, stripe_server: StripeServer, price: str) -> None:
        clock = client.v1.test_helpers.test_clocks.create({"frozen_time": instant("2026-01-31")})
        form: Any = {"test_clock": clock.id, "payment_method": "pm_card_visa"}
        customer = client.v1.customers.create(form).id
        (method,) = client.v1.customers.payment_methods.list(customer).data
        made: Any = {
            "customer": customer,
            "items": [{"price": price}],
            "default_payment_method": method.id,
            "trial_period_days": 3,
        }
        subscription = client.v1.subscriptions.create(made)
        assert (subscription.status, subscription.trial_end) == ("trialing", instant("2026-02-03"))
        answer = client.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": instant("2026-04-10")})
        assert answer.status == "advancing"
        assert client.v1.test_helpers.test_clocks.retrieve(clock.id).status == "ready"
        invoices = client.v1.invoices.list({"subscription": subscription.id}).data
        assert [(invoice.created, invoice.amount_paid) for invoice in invoices] == [
            (instant("2026-04-03"), 1000),
            (instant("2026-03-03"), 1000),
            (instant("2026-02-03"), 1000),
            (instant("2026-01-31"), 0),
        ]
        assert client.v1.subscriptions.retrieve(subscription.id).status == "active"
        assert stripe_server.events()[-1]["type"] == "test_helpers.test_clock.ready"
        with pytest.raises(stripe.InvalidRequestError, match="after its current one"):
            client.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": instant("2026-04-10")})
        assert client.v1.test_helpers.test_clocks.delete(clock.id).deleted
        assert client.v1.customers.retrieve(customer).deleted


class TestInvoices:
    def test_are_void_or_given_up(self, client: stripe.StripeClient, price: str) -> None:
        payer = Payer(client)
        form: Any = {"customer": payer.customer, "items": [{"price": price}], "days_until_due": 30}
        form["collection_method"] = "send_invoice"
        sent: list[str] = []
        for _ in range(2):
            subscription = client.v1.subscriptions.create(form)
            assert subscription.status == "active"
            sent.append(str(subscription.latest_invoice))
        assert client.v1.invoices.void_invoice(sent[0]).status == "void"
        assert client.v1.invoices.mark_uncollectible(sent[1]).status == "uncollectible"
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.invoices.pay(sent[0])
        assert client.v1.invoices.pay(sent[1], {"paid_out_of_band": True}).status == "paid"
        with pytest.raises(stripe.InvalidRequestError) as refused:
            client.v1.invoices.pay(sent[1])
        assert refused.value.code == "invoice_already_paid"
