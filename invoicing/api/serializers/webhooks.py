"""The answer to a provider's webhook."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class WebhookReceiptSerializer(serializers.Serializer[dict[str, Any]]):
    """What came was kept."""

    received = serializers.BooleanField(help_text="Always true here: the event is stored.")
    type = serializers.CharField(help_text="Our name of the event's type; the provider's where we have none.")
    id = serializers.CharField(help_text="The provider's id of the event.")
    duplicate = serializers.BooleanField(help_text="Whether the event was known already.")
