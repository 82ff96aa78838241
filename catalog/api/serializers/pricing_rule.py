"""Pricing rules as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import CurrencyField, DecimalStringField, MoneyField, TimestampField
from catalog.models import PricingRule, RuleModel
from catalog.services.pricing_rules import MAX_TIERS

_BOUND = "Inclusive cumulative bound; 0 or null in the last tier, which has none."


class PricingRuleQuery(serializers.Serializer[dict[str, Any]]):
    """What pricing rules are filtered by."""

    meter_id = serializers.CharField(required=False, max_length=100)
    plan_id = serializers.CharField(required=False, max_length=100)
    currency = CurrencyField(required=False)


class PriceTierInput(StrictSerializer):
    """A step of a tiered price."""

    up_to = DecimalStringField(required=False, allow_null=True, minimum=0, help_text=_BOUND)
    price = DecimalStringField(required=False, help_text="Minor units per unit; 0 when left out.")
    flat = MoneyField(required=False, help_text="Minor units, added once when the tier is entered.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "price" not in attrs and "flat" not in attrs:
            raise serializers.ValidationError({"price": ["A tier has a price, a flat amount or both."]}, "required")
        return attrs


class PricingRuleInput(StrictSerializer):
    """A rule to add."""

    meter_id = serializers.CharField(max_length=100, help_text="Id or event name.")
    plan_id = serializers.CharField(
        required=False, allow_blank=True, allow_null=True, max_length=100, help_text="Empty: every plan."
    )
    model = serializers.ChoiceField(choices=RuleModel.choices, default=RuleModel.PER_UNIT.value)
    currency = CurrencyField(default="usd")
    unit_price = DecimalStringField(required=False, allow_null=True, help_text="Minor units per unit; for per_unit.")
    tiers = PriceTierInput(many=True, required=False, help_text=f"For tiered and volume; at most {MAX_TIERS}.")


class PriceTierSerializer(serializers.Serializer[dict[str, Any]]):
    """A step of a tiered price."""

    up_to = DecimalStringField(allow_null=True, help_text="Inclusive cumulative bound; null: none.")
    price = DecimalStringField(help_text="Minor units per unit.")
    flat = MoneyField(help_text="Minor units, added once when the tier is entered.")


class PricingRuleSerializer(serializers.Serializer[PricingRule]):
    """What a meter costs, for one plan or every plan."""

    id = serializers.CharField(source="public_id")
    meter_id = serializers.CharField(source="meter.public_id")
    plan_id = serializers.CharField(source="plan_key", allow_blank=True, help_text="Empty: every plan.")
    model = serializers.ChoiceField(choices=RuleModel.choices)
    currency = CurrencyField()
    unit_price = DecimalStringField(allow_null=True, help_text="Minor units per unit; null with tiers.")
    tiers = PriceTierSerializer(many=True)
    created_at = TimestampField()
    updated_at = TimestampField()
