"""dj-stripe's own endpoint feeds the same inbox: known events are known at both doors, and no header opens it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from djstripe.models import Event as MirroredEvent
from djstripe.models import WebhookEndpoint

from invoicing.models import InboundEvent
from invoicing.webhooks.signatures import sign
from tests.support.webhooks import encode, make_event, post_event

SECRET = "whsec_" + "7" * 32
pytestmark = pytest.mark.django_db


@pytest.fixture
def path(settings: Any) -> str:
    settings.STRIPE_TEST_SECRET_KEY = "sk_" + "test_" + "0" * 24
    endpoint = WebhookEndpoint.objects.create(
        id="we_1", livemode=False, secret=SECRET, enabled_events=["*"], url="https://x.example.com", status="enabled"
    )
    return reverse("djstripe:djstripe_webhook_by_uuid", args=[endpoint.djstripe_uuid])


def post(path: str, event: dict[str, Any], *, secret: str = SECRET, **headers: str) -> int:
    body = encode(event)
    signature = sign(body=body, timestamp=int(time.time()), secret=secret)
    sent = {"Stripe-Signature": signature, **headers}
    return Client().post(path, body, content_type="application/json", headers=sent).status_code


def test_both_doors_feed_one_inbox(path: str) -> None:
    event = make_event("customer.updated", {"id": "cus_1", "object": "customer"})
    assert post(path, event) == 200
    assert post(path, event) == 200
    assert post_event(event).json()["duplicate"] is True
    row = InboundEvent.objects.get()
    assert (row.provider, row.event_id, row.status, row.object_id) == ("stripe", event["id"], "pending", "cus_1")
    assert bytes(row.body) == encode(event)


def test_its_own_handlers_do_not_run(path: str) -> None:
    """They would ask Stripe while the request waits; there is no Stripe here."""
    assert post(path, make_event("customer.deleted", {"id": "cus_1", "object": "customer"})) == 200
    assert not MirroredEvent.objects.exists()


def test_a_wrong_signature_is_refused(path: str) -> None:
    event = make_event("customer.updated", {"id": "cus_1"})
    assert post(path, event, secret="whsec_" + "8" * 32) == 401
    assert not InboundEvent.objects.exists()


def test_a_secret_that_comes_along_is_not_believed(path: str, settings: Any) -> None:
    settings.DEBUG = True  # dj-stripe would take it then
    own = "whsec_" + "8" * 32
    event = make_event("customer.updated", {"id": "cus_1"})
    assert post(path, event, secret=own, **{"X-Djstripe-Webhook-Secret": own}) == 401
    assert not InboundEvent.objects.exists()


def test_an_event_of_the_other_mode_is_not_applied(path: str) -> None:
    assert post(path, make_event("customer.updated", {"id": "cus_1"}, livemode=True)) == 200
    assert InboundEvent.objects.get().status == "stored"


def test_large_bodies_are_refused(path: str, settings: Any) -> None:
    settings.BILLING_WEBHOOK_MAX_BYTES = 100
    assert post(path, make_event("customer.updated", {"id": "cus_1", "name": "x" * 100})) == 400
    assert not InboundEvent.objects.exists()


def test_an_endpoint_of_the_other_mode_or_of_nobody_is_not_there(path: str) -> None:
    WebhookEndpoint.objects.update(livemode=True)
    event = make_event("customer.updated", {"id": "cus_1"})
    assert post(path, event) == 404
    assert post("/stripe/webhook/00000000-0000-0000-0000-000000000000/", event) == 404
    assert Client().get(path).status_code == 405
