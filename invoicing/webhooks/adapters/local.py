"""Webhooks of the local provider, signed as a real one signs, for tests and trying the product out."""

from __future__ import annotations

from functools import partial

from django.conf import settings

from invoicing.webhooks.adapters.port import WebhookDoor, read_envelope

_read = partial(read_envelope, provider="local")


def open_local_door() -> WebhookDoor | None:
    """Return the door, or None while there is no secret, and in live mode always."""
    secrets = tuple(settings.BILLING_LOCAL_WEBHOOK_SECRETS)
    if settings.BILLING_LIVEMODE or not secrets:
        return None
    return WebhookDoor("local", "Local-Signature", secrets, _read)
