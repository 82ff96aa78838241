"""Stripe's own library against the server, for the tests of both."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests
import stripe

from tests.stripe_server.server import StripeServer

NO_REDIRECTS: Any = {"enabled": True, "allow_redirects": "never"}


def wait_until(is_so: Callable[[], bool], *, patience: float = 20.0) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def connect(server: StripeServer, key: str = "", *, retries: int = 0) -> stripe.StripeClient:
    """Return the library's client, with the transport it uses by default; it leaves no connection open."""
    session = requests.Session()
    session.headers["Connection"] = "close"
    return stripe.StripeClient(
        key or server.test_key,
        base_addresses={"api": server.url},
        http_client=stripe.RequestsClient(session=session),
        max_network_retries=retries,
    )


class Payer:
    """A customer with a card, who pays."""

    def __init__(self, client: stripe.StripeClient, card: str = "pm_card_visa") -> None:
        self.client = client
        self.customer = client.v1.customers.create({"email": "ada@example.com"}).id
        self.method = client.v1.payment_methods.attach(card, {"customer": self.customer}).id

    def pay(self, amount: int = 2000, *, key: str | None = None, **more: Any) -> stripe.PaymentIntent:
        """Charge the card while the customer is away, unless told otherwise."""
        form: Any = {
            "amount": amount,
            "currency": "usd",
            "customer": self.customer,
            "payment_method": self.method,
            "confirm": True,
            "off_session": True,
            "automatic_payment_methods": NO_REDIRECTS,
            **more,
        }
        if not form["off_session"]:
            del form["off_session"]
        options: Any = {"idempotency_key": key} if key else {}
        return self.client.v1.payment_intents.create(form, options)
