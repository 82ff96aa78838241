"""Meters as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import CurrencyField, TimestampField
from catalog.models import Aggregation, Meter


class MeterQuery(serializers.Serializer[dict[str, Any]]):
    """What meters are filtered by."""

    event_name = serializers.CharField(required=False, max_length=100)


class MeterInput(StrictSerializer):
    """A meter to define."""

    name = serializers.CharField(max_length=255)
    event_name = serializers.CharField(max_length=100, help_text="What usage is sent under; unique.")
    aggregation_type = serializers.ChoiceField(choices=Aggregation.choices, default=Aggregation.SUM.value)
    unit = serializers.CharField(required=False, allow_blank=True, max_length=50)
    currency = CurrencyField(default="usd")
    dimensions = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, help_text="Names that events may be told apart by."
    )


class MeterSerializer(serializers.Serializer[Meter]):
    """What is counted. Prices carry a currency of their own; a meter of the catalog document has none."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField(source="display_name")
    event_name = serializers.CharField()
    aggregation_type = serializers.ChoiceField(choices=Aggregation.choices, source="aggregation")
    unit = serializers.CharField()
    currency = CurrencyField(allow_null=True)
    dimensions = serializers.ListField(child=serializers.CharField())
    created_at = TimestampField()

    def to_representation(self, instance: Meter) -> dict[str, Any]:
        shown = super().to_representation(instance)
        return {**shown, "currency": instance.currency or None}
