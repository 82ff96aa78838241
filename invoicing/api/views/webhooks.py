"""Webhooks of payment providers. Open to anyone: the signature of the provider is what is checked."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import StorageUnavailable
from invoicing.api.serializers.webhooks import WebhookReceiptSerializer
from invoicing.webhooks.adapters import ProviderUnknown, get_door
from invoicing.webhooks.ingress import receive_event
from invoicing.webhooks.signatures import WebhookSignatureInvalid, WebhookSignatureMissing

_PROBLEMS = [WebhookSignatureMissing, WebhookSignatureInvalid, ProviderUnknown, StorageUnavailable]
_SCHEMA: dict[str, Any] = {
    "request": {"application/json": OpenApiTypes.BINARY},
    "responses": WebhookReceiptSerializer,
}


class WebhookDoorView(BillingAPIView):
    """What the doors of webhooks share."""

    authentication_classes = []
    permission_classes = [AllowAny]
    problems = {"post": [*_PROBLEMS]}
    takes_raw_body = True

    @classmethod
    def get_body_limit(cls) -> int:
        return int(settings.BILLING_WEBHOOK_MAX_BYTES)

    def receive(self, request: Request, provider: str) -> Response:
        """Store the event of a provider and answer its receipt."""
        door = get_door(provider)
        plain = request._request
        receipt = receive_event(door=door, headers=plain.headers, body=plain.body, at=clock.now())
        answer = {"received": True, "type": receipt.type, "id": receipt.id, "duplicate": receipt.is_duplicate}
        return Response(answer)


class WebhookView(WebhookDoorView):
    """Takes an event of the provider in the path."""

    operation_ids = {"post": "provider_webhook"}

    @extend_schema(**_SCHEMA)
    def post(self, request: Request, provider: str) -> Response:
        """
        Take an event from a payment provider.

        It is stored and answered, then handled in the background. A known event answers `duplicate` true; types and
        objects nobody knows are kept.
        """
        return self.receive(request, provider)


class StripeWebhookView(WebhookDoorView):
    """The same for Stripe."""

    operation_ids = {"post": "stripe_webhook"}

    @extend_schema(**_SCHEMA)
    def post(self, request: Request) -> Response:
        """Take an event from Stripe: the same door as `webhooks/stripe`."""
        return self.receive(request, "stripe")


class InternalStripeWebhookView(WebhookDoorView):
    """The same under the internal path."""

    operation_ids = {"post": "stripe_webhook_internal"}

    @extend_schema(**_SCHEMA)
    def post(self, request: Request) -> Response:
        """Take an event from Stripe under the internal path: the same door as `webhooks/stripe`."""
        return self.receive(request, "stripe")
