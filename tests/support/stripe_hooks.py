"""A Stripe of one's own whose webhooks come in at our door, in this process and transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import stripe
from django.test import Client, override_settings

from invoicing.models import InboundEvent
from invoicing.webhooks.inbox import sweep_events
from tests.stripe_server import StripeServer, run_stripe_server
from tests.support.webhooks import DOOR


class HookedStripe:
    """The server, a client of its own for what people do there, and the way of its events to us."""

    def __init__(self, server: StripeServer) -> None:
        self.server = server
        self.answers: list[int] = []
        self.client: Any = stripe.StripeClient(
            server.test_key, base_addresses={"api": server.url}, max_network_retries=0
        ).v1
        server.add_endpoint("https://billing.example.com/hooks", receive=self._receive)

    def _receive(self, body: bytes, headers: Mapping[str, str]) -> int:
        signature = next(value for name, value in headers.items() if name.lower() == "stripe-signature")
        answer = Client().post(DOOR, body, content_type="application/json", headers={"Stripe-Signature": signature})
        self.answers.append(answer.status_code)
        return answer.status_code

    def tell(self) -> int:
        """Let everything that happened reach us, handle it, and return how many events were settled."""
        self.server.deliver_all()
        return sweep_events(limit=1000)

    def send(self, type: str, object_id: str) -> InboundEvent:
        """Send an event about an object as it is now, handle all, and return what became of this one."""
        event = self.server.make_event(type, object_id)
        self.tell()
        return InboundEvent.objects.get(event_id=event["id"])


@contextmanager
def hooked_stripe() -> Iterator[HookedStripe]:
    """Run a server, with the product configured to be its customer."""
    with run_stripe_server() as server:
        settings: dict[str, Any] = {
            "BILLING_PAYMENT_PROVIDER": "stripe",
            "STRIPE_TEST_SECRET_KEY": server.test_key,
            "BILLING_STRIPE_API_BASE": server.url,
            "BILLING_STRIPE_WEBHOOK_SECRETS": [server.webhook_secret],
        }
        with override_settings(**settings):
            yield HookedStripe(server)
