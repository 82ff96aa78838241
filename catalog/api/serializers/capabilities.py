"""What this installation offers, as the API shows it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class CapabilitiesSerializer(serializers.Serializer[dict[str, Any]]):
    """What callers can use here; computed, so it grows with what is installed and configured."""

    payment_methods = serializers.ListField(child=serializers.CharField(), help_text="Ways to pay.")
    currencies = serializers.ListField(
        child=serializers.CharField(),
        help_text="The configured ones; without such a list, those the catalog has prices in.",
    )
    features = serializers.ListField(
        child=serializers.CharField(), help_text="Parts of the product that are installed."
    )
    billing_models = serializers.ListField(
        child=serializers.CharField(),
        help_text="flat_rate, per_seat, metered, tiered, volume, threshold, hybrid, package …",
    )
    tax_calculation = serializers.BooleanField(help_text="Whether a tax rate is defined.")
    bank_transfer_reconciliation = serializers.BooleanField()
