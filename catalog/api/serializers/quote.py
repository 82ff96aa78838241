"""Price quotes as the API takes and shows them. The request only describes: it is read by the pricing vocabulary."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.fields import CurrencyField, DecimalStringField, MoneyField


class QuoteEventSerializer(serializers.Serializer[dict[str, Any]]):
    """One event to price."""

    value = DecimalStringField(help_text="For percentages an amount of money in minor units.")
    unit_amount = DecimalStringField(required=False, help_text="The price the event carries, for dynamic prices.")
    dimensions = serializers.DictField(
        child=serializers.CharField(), required=False, help_text="Which variant it counts for."
    )


class QuoteRequestSerializer(serializers.Serializer[dict[str, Any]]):
    """What to price: a quantity, or single events."""

    currency = CurrencyField()
    price = serializers.DictField(help_text="As in a catalog document; currency, interval and meter may be left out.")
    quantity = DecimalStringField(required=False, help_text="Either this or events.")
    events = QuoteEventSerializer(many=True, required=False)
    dimensions = serializers.DictField(
        child=serializers.CharField(), required=False, help_text="Which variant the quantity counts for."
    )


class QuotedTierSerializer(serializers.Serializer[dict[str, Any]]):
    """One step of the breakdown; the steps sum to the usage."""

    tier = serializers.IntegerField(help_text="Number of the step, from 1.")
    quantity = DecimalStringField()
    unit = DecimalStringField(help_text="Minor units per unit.")
    flat = DecimalStringField(help_text="Minor units once.")
    amount_decimal = DecimalStringField(help_text="Exact minor units.")
    kind = serializers.CharField(
        required=False, help_text="What the step is, unless a tier: free, package, percentage, per_event, maximum …"
    )
    variant = serializers.CharField(required=False, help_text="Dimensions of the variant, or other.")


class QuoteSerializer(serializers.Serializer[dict[str, Any]]):
    """What it would cost."""

    currency = CurrencyField()
    amount_decimal = DecimalStringField(help_text="Exact minor units, with what a minimum adds.")
    amount = MoneyField(help_text="The charges, each rounded once.")
    tiers = QuotedTierSerializer(many=True)
    usage_amount = MoneyField(required=False, help_text="With a minimum: the usage alone.")
    true_up_amount = MoneyField(required=False, help_text="With a minimum: what is missing to it.")
