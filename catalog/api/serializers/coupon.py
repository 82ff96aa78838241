"""Coupons as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import CurrencyField, DecimalStringField, TimestampField
from catalog.models import Coupon, DiscountType

_MAX_COUNT = 2**31 - 1
_VALUE = "Percent above 0 up to 100, or whole minor units of the currency."


class CouponQuery(serializers.Serializer[dict[str, Any]]):
    """What coupons are filtered by."""

    active = serializers.BooleanField(required=False, default=None, allow_null=True)
    code = serializers.CharField(required=False, max_length=64, help_text="In any case.")


class CouponInput(StrictSerializer):
    """A promotion code to define."""

    code = serializers.CharField(max_length=64, help_text="3 to 64 letters, digits or dashes; kept in upper case.")
    description = serializers.CharField(required=False, allow_blank=True, max_length=5000)
    discount_type = serializers.ChoiceField(choices=DiscountType.choices)
    discount_value = DecimalStringField(help_text=_VALUE)
    currency = CurrencyField(required=False, allow_null=True, help_text="Needed unless it is a percentage.")
    max_redemptions = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=_MAX_COUNT)
    starts_at = TimestampField(required=False, allow_null=True)
    expires_at = TimestampField(required=False, allow_null=True, end=True)
    applicable_plan_ids = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, max_length=500, help_text="Empty: every plan."
    )
    duration_months = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=1200, help_text="Null: the next invoice only."
    )


class CouponSerializer(serializers.Serializer[Coupon]):
    """A promotion code and how often it was used."""

    id = serializers.CharField(source="public_id")
    code = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    discount_type = serializers.ChoiceField(choices=DiscountType.choices)
    discount_value = DecimalStringField(help_text=_VALUE)
    currency = CurrencyField(allow_null=True)
    max_redemptions = serializers.IntegerField(allow_null=True, help_text="Null: any number.")
    redemption_count = serializers.IntegerField()
    starts_at = TimestampField(allow_null=True)
    expires_at = TimestampField(allow_null=True)
    applicable_plan_ids = serializers.ListField(child=serializers.CharField(), help_text="Empty: every plan.")
    duration_months = serializers.IntegerField(allow_null=True, help_text="Null: once.")
    active = serializers.BooleanField(source="is_active", help_text="False once deactivated.")
    created_at = TimestampField()

    def to_representation(self, instance: Coupon) -> dict[str, Any]:
        shown = super().to_representation(instance)
        return {**shown, "currency": instance.currency or None}
