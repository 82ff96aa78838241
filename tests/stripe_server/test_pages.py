"""The pages of the server, and its doors for other processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import stripe

from tests.stripe_server.calling import Payer, connect
from tests.stripe_server.server import StripeServer


@pytest.fixture
def http(stripe_server: StripeServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stripe_server.url) as client:
        yield client


@pytest.fixture
def client(stripe_server: StripeServer) -> stripe.StripeClient:
    return connect(stripe_server)


def open_checkout(client: stripe.StripeClient, **more: Any) -> stripe.checkout.Session:
    form: Any = {
        "mode": "setup",
        "currency": "usd",
        "customer": client.v1.customers.create({"name": "<Ada>"}).id,
        "success_url": "https://shop.example/done?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example/cart",
        **more,
    }
    return client.v1.checkout.sessions.create(form)


class TestCheckoutPage:
    def test_ends_at_the_success_url(self, http: httpx.Client, client: stripe.StripeClient) -> None:
        session = open_checkout(client)
        shown = http.get(str(session.url))
        assert shown.status_code == 200
        assert "https://shop.example/cart" in shown.text
        done = http.post(str(session.url), data={"card": "visa"})
        assert (done.status_code, done.headers["location"]) == (
            303,
            f"https://shop.example/done?session={session.id}",
        )
        assert client.v1.checkout.sessions.retrieve(session.id).status == "complete"
        again = http.post(str(session.url), data={"card": "visa"})
        assert again.status_code == 410
        assert "the session is complete" in again.text

    def test_stays_open_when_the_card_is_declined(self, http: httpx.Client, client: stripe.StripeClient) -> None:
        line = {"price_data": {"currency": "usd", "unit_amount": 250, "product_data": {"name": "<Tea>"}}, "quantity": 2}
        session = open_checkout(client, mode="payment", line_items=[line])
        assert "&lt;Tea&gt;" in http.get(str(session.url)).text
        assert "$5.00 usd" in http.get(str(session.url)).text
        declined = http.post(str(session.url), data={"card": "chargeDeclinedInsufficientFunds"})
        assert declined.status_code == 402
        assert "Your card has insufficient funds." in declined.text
        assert client.v1.checkout.sessions.retrieve(session.id).status == "open"
        assert http.post(str(session.url), data={"card": "no such card"}).status_code == 402

    def test_of_nothing(self, http: httpx.Client) -> None:
        assert http.get("/c/pay/cs_test_none").status_code == 404


class TestPortalPage:
    def test_manages_cards_and_subscriptions(self, http: httpx.Client, client: stripe.StripeClient) -> None:
        payer = Payer(client)
        form: Any = {"currency": "usd", "unit_amount": 1000, "product_data": {"name": "Plan"}}
        form["recurring"] = {"interval": "month"}
        price = client.v1.prices.create(form).id
        bought: Any = {"customer": payer.customer, "items": [{"price": price}], "default_payment_method": payer.method}
        subscription = client.v1.subscriptions.create(bought)
        page = client.v1.billing_portal.sessions.create({"customer": payer.customer, "return_url": "https://a.example"})
        assert "4242" in http.get(page.url).text
        assert http.post(page.url, data={"add": "mastercard"}).status_code == 303
        assert http.post(page.url, data={"add": "chargeDeclined"}).status_code == 402
        added, first = client.v1.customers.payment_methods.list(payer.customer).data
        http.post(page.url, data={"default": added.id})
        settings = client.v1.customers.retrieve(payer.customer).invoice_settings
        assert settings is not None
        assert settings.default_payment_method == added.id
        http.post(page.url, data={"remove": first.id})
        assert [method.id for method in client.v1.customers.payment_methods.list(payer.customer).data] == [added.id]
        http.post(page.url, data={"cancel": subscription.id})
        assert client.v1.subscriptions.retrieve(subscription.id).cancel_at_period_end
        other = Payer(client)
        assert http.post(page.url, data={"remove": other.method}).status_code == 402


class TestBankPage:
    @pytest.mark.parametrize(("answer", "status"), [("yes", "succeeded"), ("no", "requires_payment_method")])
    def test_goes_back_with_the_outcome(
        self, http: httpx.Client, client: stripe.StripeClient, answer: str, status: str
    ) -> None:
        payer = Payer(client, "pm_card_authenticationRequired")
        intent = payer.pay(off_session=False, return_url="https://shop.example/back?a=1")
        action: Any = intent.next_action
        address = action.redirect_to_url.url
        assert "$20.00 usd" in http.get(address).text
        back = http.post(address, data={"answer": answer}).headers["location"]
        told = "succeeded" if answer == "yes" else "failed"
        assert back == f"https://shop.example/back?a=1&payment_intent={intent.id}&redirect_status={told}"
        assert client.v1.payment_intents.retrieve(intent.id).status == status
        assert http.get(address).status_code == 410


class TestFrontPage:
    def test_shows_what_there_is_and_does_what_is_pressed(
        self, http: httpx.Client, client: stripe.StripeClient, stripe_server: StripeServer
    ) -> None:
        open_checkout(client)
        intent = Payer(client, "pm_card_pendingRefund").pay()
        client.v1.refunds.create({"payment_intent": intent.id})
        stripe_server.open_dispute(Payer(client).pay().id)
        stripe_server.add_funds(10_000)
        client.v1.payouts.create({"amount": 100, "currency": "usd"})
        text = http.get("/").text
        assert "&lt;Ada&gt;" in text
        for word in (intent.id, "needs_response", "Open the page", "Come back", "Move on", "charge.dispute.created"):
            assert word in text, word
        pressed = {"door": "open_dispute", "arguments": json.dumps({"charge_or_intent": intent.id})}
        assert http.post("/act", data=pressed).status_code == 303
        assert len(client.v1.disputes.list().data) == 2
        refused = http.post("/act", data=pressed)
        assert refused.status_code == 400
        assert "cannot be disputed" in refused.text

    def test_is_not_for_other_sites(self, http: httpx.Client, stripe_server: StripeServer) -> None:
        pressed = {"door": "add_funds", "arguments": '{"amount": 5}'}
        answer = http.post("/act", data=pressed, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
        assert http.post("/_sandbox/doors/add_funds", data=pressed).status_code == 415
        assert stripe_server.objects("balance_transaction") == []

    def test_does_not_hide_the_api(self, http: httpx.Client) -> None:
        assert http.get("/v2/core/accounts").json()["error"]["type"] == "invalid_request_error"


class TestDoors:
    def open(self, http: httpx.Client, name: str, **arguments: Any) -> Any:
        answer = http.post(f"/_sandbox/doors/{name}", json=arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def test_are_open_to_other_processes(self, http: httpx.Client, client: stripe.StripeClient) -> None:
        assert http.get("/_sandbox/health").json() == {"status": "ok"}
        payer = Payer(client)
        self.open(http, "decline_next", decline_code="insufficient_funds")
        with pytest.raises(stripe.CardError):
            payer.pay()
        self.open(http, "fail_next", status=503, path="/v1/refunds")
        self.open(http, "hold_webhooks", types="charge.*")
        state = http.get("/_sandbox/state").json()
        assert [fault["status"] for fault in state["faults"]] == [503]
        assert state["plans"] == [{"fate": "hold", "types": "charge.*", "times": None}]
        self.open(http, "heal")
        assert http.get("/_sandbox/state").json()["faults"] == []
        intent = payer.pay()
        assert self.open(http, "find", id=intent.id)["status"] == "succeeded"
        assert self.open(http, "open_dispute", charge_or_intent=intent.id)["status"] == "needs_response"
        assert self.open(http, "events", type="charge.dispute.created")[0]["type"] == "charge.dispute.created"

    def test_make_drifts(self, http: httpx.Client, client: stripe.StripeClient, stripe_server: StripeServer) -> None:
        payer = Payer(client)
        intent = payer.pay(1000)
        count = len(stripe_server.events())
        self.open(http, "change", id=intent.id, values={"amount_received": 999})
        self.open(http, "refund_unseen", intent=intent.id)
        assert len(stripe_server.events()) == count
        assert client.v1.payment_intents.retrieve(intent.id).amount_received == 999
        assert [refund.amount for refund in client.v1.refunds.list({"payment_intent": intent.id}).data] == [1000]
        unknown = self.open(http, "pay_unknown", customer=payer.customer, amount=700)
        assert (unknown["status"], unknown["metadata"]) == ("succeeded", {})
        assert stripe_server.events()[-1]["type"] == "payment_intent.succeeded"

    def test_move_time(self, http: httpx.Client, client: stripe.StripeClient) -> None:
        Payer(client, "pm_card_createDispute").pay()
        assert self.open(http, "pass_time", days=1) == 1
        assert len(client.v1.disputes.list().data) == 1

    @pytest.mark.parametrize(
        ("name", "arguments", "status"),
        [
            ("explode", {}, 404),
            ("find", {"id": "pi_none"}, 404),
            ("decline_next", {"decline_code": "unknown"}, 400),
            ("decline_next", {"colour": "red"}, 400),
            ("add_endpoint", {"url": "http://127.0.0.1", "receive": "x"}, 400),
        ],
    )
    def test_refuse_what_makes_no_sense(
        self, http: httpx.Client, name: str, arguments: dict[str, Any], status: int
    ) -> None:
        answer = http.post(f"/_sandbox/doors/{name}", json=arguments)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
