"""Events and their way to the endpoints: signed, repeated, out of order, late or never."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import stripe

from tests.stripe_server.calling import Payer, connect, wait_until
from tests.stripe_server.receiving import Receiver, run_receiver
from tests.stripe_server.server import StripeServer

PAID = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with run_receiver() as running:
        yield running


@pytest.fixture
def payer(stripe_server: StripeServer, receiver: Receiver) -> Payer:
    """A customer who existed before anybody listened."""
    made = Payer(connect(stripe_server))
    stripe_server.add_endpoint(receiver.url)
    return made


class TestDeliveries:
    def test_are_signed_so_that_the_library_believes_them(
        self, payer: Payer, stripe_server: StripeServer, receiver: Receiver
    ) -> None:
        intent = payer.pay()
        done = stripe_server.deliver_all()
        assert [delivery.answers for delivery in done] == [[200], [200], [200]]
        assert receiver.events == PAID
        secret = stripe_server.webhook_secret
        event = stripe.Webhook.construct_event(receiver.bodies[2], receiver.signatures[2], secret)
        assert (event.type, event.data.object["id"], event.livemode) == (
            "payment_intent.succeeded",
            intent.id,
            False,
        )
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(receiver.bodies[1], receiver.signatures[2], secret)
        assert [event["pending_webhooks"] for event in stripe_server.events()[-3:]] == [0, 0, 0]

    def test_know_the_request_that_caused_them(
        self, payer: Payer, stripe_server: StripeServer, receiver: Receiver
    ) -> None:
        intent = payer.pay(key="k1")
        stripe_server.deliver_all()
        request = json.loads(receiver.bodies[0])["request"]
        assert intent.last_response is not None
        assert request == {"id": intent.last_response.request_id, "idempotency_key": "k1"}
        stripe_server.open_dispute(intent.id)
        stripe_server.deliver_all()
        assert json.loads(receiver.bodies[-1])["request"] == {"id": None, "idempotency_key": None}

    def test_that_are_refused_are_tried_again(
        self, payer: Payer, stripe_server: StripeServer, receiver: Receiver
    ) -> None:
        receiver.answers = [500, 302, 200, 200, 404]
        payer.pay()
        done = stripe_server.deliver_all()
        assert [(delivery.event["type"], delivery.answers) for delivery in done] == [
            ("payment_intent.succeeded", [200]),
            ("payment_intent.created", [500, 200]),
            ("charge.succeeded", [302, 404, 200]),
        ]

    def test_end_after_some_tries(self, payer: Payer, stripe_server: StripeServer, receiver: Receiver) -> None:
        receiver.answers = [500] * 15
        payer.pay()
        done = stripe_server.deliver_all()
        assert [delivery.answers for delivery in done] == [[500] * 5] * 3
        assert [event.type for event in payer.client.v1.events.list({"delivery_success": False}).data] == PAID[::-1]
        stripe_server.resend(stripe_server.events("payment_intent.succeeded")[0]["id"])
        assert [delivery.answers for delivery in stripe_server.deliver_all()] == [[200]]

    def test_outlive_a_receiver_that_is_not_there(self, stripe_server: StripeServer) -> None:
        with run_receiver() as gone:
            pass
        payer = Payer(connect(stripe_server))
        stripe_server.add_endpoint(gone.url, types=("payment_intent.succeeded",))
        payer.pay()
        assert [delivery.answers for delivery in stripe_server.deliver_all()] == [[0] * 5]

    def test_go_to_a_function_in_the_thread_of_the_test(self, stripe_server: StripeServer) -> None:
        came: list[str] = []

        def receive(body: bytes, headers: Mapping[str, str]) -> int:
            signature = headers["Stripe-Signature"]
            event = stripe.Webhook.construct_event(body, signature, stripe_server.webhook_secret)
            came.append(event.type)
            return 200

        stripe_server.add_endpoint("http://testserver/hooks", types=("payment_intent.*",), receive=receive)
        Payer(connect(stripe_server)).pay()
        assert came == []
        stripe_server.deliver_all()
        assert came == ["payment_intent.created", "payment_intent.succeeded"]


class TestTrouble:
    def test_duplicates(self, payer: Payer, stripe_server: StripeServer, receiver: Receiver) -> None:
        stripe_server.duplicate_webhooks("payment_intent.succeeded", copies=3)
        payer.pay()
        stripe_server.deliver_all()
        assert receiver.events == [*PAID, PAID[2], PAID[2]]
        assert len(set(receiver.bodies)) == 3

    def test_reverses(self, payer: Payer, stripe_server: StripeServer, receiver: Receiver) -> None:
        stripe_server.reverse_webhooks(3)
        payer.pay()
        stripe_server.deliver_all()
        assert receiver.events == PAID[::-1]
        stripe_server.reverse_webhooks(5)
        payer.pay()
        stripe_server.deliver_all()  # does not wait for the other two
        assert receiver.events == [*PAID[::-1], *PAID[::-1]]

    def test_holds_back_and_loses(self, payer: Payer, stripe_server: StripeServer, receiver: Receiver) -> None:
        stripe_server.hold_webhooks("payment_intent.*")
        stripe_server.lose_webhooks("charge.*", times=1)
        payer.pay()
        stripe_server.deliver_all()
        assert receiver.events == []
        assert stripe_server.release_webhooks("*.succeeded") == 1
        stripe_server.deliver_all()
        assert receiver.events == ["payment_intent.succeeded"]
        stripe_server.heal()
        payer.pay()
        stripe_server.deliver_all()
        assert receiver.events == ["payment_intent.succeeded", *PAID]
        assert [event["type"] for event in stripe_server.deliveries.held] == ["payment_intent.created"]

    def test_delays(self, payer: Payer, stripe_server: StripeServer, receiver: Receiver) -> None:
        stripe_server.delay_webhooks(3600, "payment_intent.created")
        payer.pay()
        wait_until(lambda: len(receiver.events) == 2)  # without being asked to hurry
        assert receiver.events == PAID[1:]
        stripe_server.deliver_all()
        assert receiver.events == [*PAID[1:], PAID[0]]

    def test_makes_events_up(self, payer: Payer, stripe_server: StripeServer, receiver: Receiver) -> None:
        stripe_server.make_event("customer.updated", payer.customer)
        stripe_server.deliver_all()
        assert receiver.events == ["customer.updated"]


class TestEndpoints:
    def test_are_made_and_removed_by_callers(self, stripe_server: StripeServer, receiver: Receiver) -> None:
        client = connect(stripe_server)
        form: Any = {"url": receiver.url, "enabled_events": ["payment_intent.succeeded"], "description": "x"}
        made = client.v1.webhook_endpoints.create(form)
        secret = str(made.secret)
        assert secret.startswith("whsec_")
        assert "secret" not in client.v1.webhook_endpoints.retrieve(made.id)
        payer = Payer(client)
        payer.pay()
        stripe_server.deliver_all()
        assert receiver.events == ["payment_intent.succeeded"]
        assert stripe.Webhook.construct_event(receiver.bodies[0], receiver.signatures[0], secret)
        client.v1.webhook_endpoints.update(made.id, {"disabled": True})
        payer.pay()
        client.v1.webhook_endpoints.update(made.id, {"disabled": False})
        client.v1.webhook_endpoints.delete(made.id)
        assert client.v1.webhook_endpoints.list().data == []
        payer.pay()
        stripe_server.deliver_all()
        assert len(receiver.bodies) == 1


class TestEvents:
    def test_are_listed_by_type_and_keep_how_it_was(self, payer: Payer) -> None:
        intent = payer.pay()
        payer.client.v1.payment_intents.update(intent.id, {"description": "later"})
        events = payer.client.v1.events
        (event,) = events.list({"type": "payment_intent.succeeded"}).data
        assert event.data.object["description"] is None
        assert [found.type for found in events.list({"types": ["payment_intent.*", "charge.*"]}).data] == PAID[::-1]
        assert events.retrieve(event.id).data.object["id"] == intent.id
