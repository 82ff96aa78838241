"""Coupons in use, and discounts given, as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.api.serializers.ledger import ACCOUNT_HELP
from accounts.models import CouponRedemption
from accounts.queries.coupons import MESSAGES, CouponCheck
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, DecimalStringField, MoneyField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS
from catalog.models import DiscountType

_VALUE = "Percent, or minor units of the coupon's currency."


class CouponCheckInput(StrictSerializer):
    also_known = ACCOUNT_SYNONYMS

    code = serializers.CharField(max_length=64, help_text="In any case.")
    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    plan_id = serializers.CharField(required=False, allow_null=True, max_length=100)


class CouponCheckSerializer(serializers.Serializer[CouponCheck]):
    """Whether a code can be used."""

    valid = serializers.BooleanField(source="is_valid")
    coupon_id = serializers.SerializerMethodField()
    discount_type = serializers.ChoiceField(source="coupon.discount_type", choices=DiscountType.choices, default=None)
    discount_value = DecimalStringField(source="coupon.discount_value", default=None, help_text=_VALUE)
    message = serializers.CharField()
    reason = serializers.SerializerMethodField(help_text=f"Only when it is not valid: {', '.join(MESSAGES)}.")

    def get_coupon_id(self, check: CouponCheck) -> str | None:
        return None if check.coupon is None else check.coupon.public_id

    def get_reason(self, check: CouponCheck) -> str | None:
        return check.reason or None


class CouponRedeemInput(StrictSerializer):
    also_known = ACCOUNT_SYNONYMS

    code = serializers.CharField(max_length=64, help_text="In any case.")
    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    subscription_id = serializers.CharField(max_length=100)


class CouponRedemptionSerializer(serializers.Serializer[CouponRedemption]):
    """That an account used a coupon, and what became of it."""

    id = serializers.CharField(source="public_id")
    coupon_id = serializers.CharField(source="coupon.public_id")
    code = serializers.CharField(source="coupon.code")
    account_id = serializers.CharField(source="account.public_id")
    subscription_id = serializers.SerializerMethodField()
    discount_type = serializers.CharField(source="coupon.discount_type")
    discount_value = DecimalStringField(source="coupon.discount_value", help_text=_VALUE)
    remaining_months = serializers.SerializerMethodField(help_text="Invoices it still has; null for credit.")
    credit_grant_id = serializers.SerializerMethodField(help_text="Credit coupons.")
    redeemed_at = TimestampField()

    def get_subscription_id(self, redemption: CouponRedemption) -> str | None:
        return None if redemption.subscription is None else redemption.subscription.public_id

    def get_remaining_months(self, redemption: CouponRedemption) -> int | None:
        return None if redemption.discount is None else redemption.discount.months_left

    def get_credit_grant_id(self, redemption: CouponRedemption) -> str | None:
        return None if redemption.credit_grant is None else redemption.credit_grant.public_id


class DiscountInput(StrictSerializer):
    """A discount to give: its value, or a coupon."""

    percent_off = DecimalStringField(required=False, allow_null=True, help_text="Above 0 up to 100, or amount_off.")
    amount_off = MoneyField(required=False, allow_null=True, positive=True, help_text="Off each invoice.")
    duration_months = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=1200, help_text="Invoices; null: until it is removed."
    )
    name = serializers.CharField(required=False, allow_blank=True, max_length=255)
    coupon_code = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=64, help_text="Alone: the coupon says the rest."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a coupon together with other terms."""
        given = {name: value for name, value in attrs.items() if value not in (None, "")}
        if "coupon_code" in given and len(given) > 1:
            others = ", ".join(sorted(given.keys() - {"coupon_code"}))
            raise serializers.ValidationError(
                {"coupon_code": [f"The coupon says what it takes off and for how long; leave out {others}."]},
                code="ambiguous",
            )
        return given
