"""Tax rates as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import DecimalStringField
from catalog.models import TaxRate

_RATE = "A fraction: 0.0875 is 8.75 %."


class TaxRateQuery(serializers.Serializer[dict[str, Any]]):
    """What tax rates are filtered by."""

    country = serializers.CharField(required=False, max_length=2, help_text="ISO 3166-1 alpha-2.")
    state = serializers.CharField(required=False, max_length=100, help_text="`CA`, or `US-CA` with its country.")


class TaxRateInput(StrictSerializer):
    """A rate to add for a country, or for one state of it."""

    name = serializers.CharField(max_length=255)
    code = serializers.CharField(required=False, allow_blank=True, max_length=50)
    rate = DecimalStringField(help_text=_RATE)
    country = serializers.CharField(max_length=2, help_text="ISO 3166-1 alpha-2.")
    state = serializers.CharField(required=False, allow_blank=True, max_length=100, help_text="Empty: whole country.")
    inclusive = serializers.BooleanField(default=False, help_text="Whether prices hold the tax already.")
    combinable = serializers.BooleanField(default=True, help_text="Whether it adds to other rates of the place.")
    is_default = serializers.BooleanField(default=False, help_text="Chosen among rates that do not add up.")
    valid_from = serializers.DateField(required=False, allow_null=True, help_text="First day.")
    valid_to = serializers.DateField(required=False, allow_null=True, help_text="Last day.")


class TaxRateSerializer(serializers.Serializer[TaxRate]):
    """A share of the price that a place asks for, by date."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    code = serializers.CharField(allow_blank=True)
    rate = DecimalStringField(help_text=_RATE)
    country = serializers.CharField()
    state = serializers.CharField(allow_blank=True, help_text="Empty: whole country.")
    inclusive = serializers.BooleanField()
    combinable = serializers.BooleanField()
    is_default = serializers.BooleanField()
    valid_from = serializers.DateField(allow_null=True, help_text="First day.")
    valid_to = serializers.DateField(allow_null=True, help_text="Last day.")
