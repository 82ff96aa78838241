"""Meters as the API shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.fields import CurrencyField, TimestampField
from catalog.models import Aggregation, Meter


class MeterQuery(serializers.Serializer[dict[str, Any]]):
    """What meters are filtered by."""

    event_name = serializers.CharField(required=False, max_length=100)


class MeterSerializer(serializers.Serializer[Meter]):
    """What is counted. Prices carry the currency, so a meter has none of its own."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField(source="display_name")
    event_name = serializers.CharField()
    aggregation_type = serializers.ChoiceField(choices=Aggregation.choices, source="aggregation")
    unit = serializers.CharField()
    currency = CurrencyField(allow_null=True, default=None)
    dimensions = serializers.ListField(child=serializers.CharField())
    created_at = TimestampField()
