"""Webhooks as a provider sends them: an event in its envelope, signed, posted to the door."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.test import Client

from billing_site.kernel import clock
from invoicing.webhooks.signatures import sign

STRIPE_SECRET: Final = "whsec_" + "1" * 32
LOCAL_SECRET: Final = "whsec_" + "2" * 32
DOOR: Final = "/api/v1/billing/webhooks/stripe"
_numbers = itertools.count(1)


def make_event(type: str, about: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """Return an event of Stripe's about an object; `created` (Unix seconds, or an instant) is now unless given."""
    created = values.pop("created", None) or clock.now()
    return {
        "id": f"evt_{next(_numbers):06d}",
        "object": "event",
        "api_version": "2026-04-22.dahlia",
        "created": int(created.timestamp()) if isinstance(created, datetime) else created,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type,
        "data": {"object": dict(about)},
        **values,
    }


def encode(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, indent=2).encode()


def post_body(
    body: bytes,
    *,
    path: str = DOOR,
    secret: str = STRIPE_SECRET,
    header: str = "Stripe-Signature",
    signed_at: datetime | None = None,
    signature: str | None = None,
    client: Client | None = None,
) -> Any:
    """Post bytes with their signature, or with `signature`; an empty one leaves the header out."""
    if signature is None:
        timestamp = int((signed_at or clock.now()).astimezone(UTC).timestamp())
        signature = sign(body=body, timestamp=timestamp, secret=secret)
    headers = {"Accept": "*/*; q=0.5, application/xml"} | ({header: signature} if signature else {})
    return (client or Client()).post(path, body, content_type="application/json; charset=utf-8", headers=headers)


def post_event(event: Mapping[str, Any], **options: Any) -> Any:
    """Post an event, signed, and return the answer."""
    return post_body(encode(event), **options)


def deliver(type: str, about: Mapping[str, Any], **values: Any) -> Any:
    """Make an event about an object and post it."""
    answer = post_event(make_event(type, about, **values))
    assert answer.status_code == 200, answer.content
    return answer
