"""Stripe's webhooks. The secrets are those of its endpoints in this installation's mode."""

from __future__ import annotations

from functools import partial

from django.conf import settings

from invoicing.webhooks.adapters.port import WebhookDoor, read_envelope

_read = partial(read_envelope, provider="stripe")


def open_stripe_door() -> WebhookDoor | None:
    """Return the door, or None while there is no secret."""
    secrets = tuple(settings.BILLING_STRIPE_WEBHOOK_SECRETS)
    return WebhookDoor("stripe", "Stripe-Signature", secrets, _read) if secrets else None
