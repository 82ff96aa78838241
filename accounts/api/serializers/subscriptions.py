"""Subscriptions as callers send and see them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from accounts.api.serializers.ledger import ACCOUNT_HELP
from accounts.models import (
    CollectionMethod,
    ProviderType,
    Subscription,
    SubscriptionItem,
    SubscriptionStatus,
)
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, CurrencyField, MetadataField, MoneyField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS
from billing_site.kernel.money import round_to_minor
from catalog.queries.prices import compute_unit_fee

INTERVALS = ("month", "year")


class SubscriptionTermsInput(StrictSerializer):
    """What both doors take."""

    plan_id = serializers.CharField(required=False, max_length=100, help_text="Needed; may be in the query string.")
    quantity = serializers.IntegerField(default=1, min_value=1, max_value=2_147_483_647)
    interval = serializers.ChoiceField(choices=INTERVALS, default="month")
    currency = CurrencyField(required=False, help_text="Default: the account's.")
    collection_method = serializers.ChoiceField(choices=CollectionMethod.choices, required=False)
    billing_threshold = MoneyField(required=False, positive=True, help_text="Invoice early past this running total.")
    trial_period_days = serializers.IntegerField(
        required=False, min_value=0, max_value=730, help_text="Internal callers only; default: the plan's."
    )
    metadata = MetadataField(required=False)
    default_payment_method = serializers.CharField(required=False, allow_null=True, help_text="Not available yet.")
    coupon_code = serializers.CharField(required=False, allow_null=True, help_text="Not available yet.")
    provider_customer_id = serializers.CharField(required=False, allow_null=True, help_text="Not available yet.")
    stripe_customer_id = serializers.CharField(required=False, allow_null=True, help_text="Not available yet.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse what cannot be honoured: nothing is passed over in silence."""
        later = {
            "default_payment_method": "Payment methods are",
            "coupon_code": "Coupons are",
            "provider_customer_id": "Linking a customer of the payment provider is",
            "stripe_customer_id": "Linking a customer of the payment provider is",
        }
        refused = {name: f"{what} not available yet." for name, what in later.items() if attrs.pop(name, None)}
        if refused:
            raise serializers.ValidationError(
                {name: ErrorDetail(text, "not_available") for name, text in refused.items()}
            )
        return attrs


class SubscriptionCreateInput(SubscriptionTermsInput):
    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)


class SubscriptionTermsQuery(serializers.Serializer[dict[str, Any]]):
    plan_id = serializers.CharField(required=False, max_length=100, help_text="Instead of in the body.")


class SubscriptionStatusQuery(serializers.Serializer[dict[str, Any]]):
    status = serializers.ChoiceField(required=False, choices=SubscriptionStatus.choices)


class SubscriptionQuery(SubscriptionStatusQuery):
    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    plan_id = serializers.CharField(required=False, max_length=100)


class CurrentSubscriptionQuery(serializers.Serializer[dict[str, Any]]):
    product = serializers.CharField(required=False, max_length=100, help_text="Product id, when several run.")


class SubscriptionPlanSerializer(serializers.Serializer[Subscription]):
    id = serializers.CharField(source="plan_version.plan.key")
    name = serializers.CharField(source="plan_version.name")
    price = serializers.SerializerMethodField(help_text="Fee of one unit for one period, minor units.")
    currency = serializers.CharField()
    interval = serializers.CharField()

    def get_price(self, subscription: Subscription) -> int:
        items: list[SubscriptionItem] = getattr(subscription, "current_items", [])
        fees = [compute_unit_fee(item.price) for item in items if item.price is not None and not item.price.is_metered]
        return round_to_minor(fees[0]) if fees else 0


class SubscriptionSerializer(serializers.Serializer[Subscription]):
    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    plan_id = serializers.CharField(source="plan_version.plan.key")
    plan = SubscriptionPlanSerializer(source="*")
    status = serializers.ChoiceField(choices=SubscriptionStatus.choices)
    quantity = serializers.IntegerField()
    current_period_start = TimestampField()
    current_period_end = TimestampField()
    cancel_at_period_end = serializers.BooleanField()
    cancellation_reason = serializers.CharField(allow_blank=True)
    pending_plan_id = serializers.SerializerMethodField(help_text="Plan that starts at the next period.")
    discount = serializers.SerializerMethodField()
    provider_type = serializers.ChoiceField(choices=ProviderType.choices)
    provider_subscription_id = serializers.SerializerMethodField(help_text="Internal callers only.")
    default_payment_method = serializers.SerializerMethodField()
    collection_method = serializers.ChoiceField(choices=CollectionMethod.choices)
    billing_threshold = MoneyField(allow_null=True)
    billing_anchor = serializers.IntegerField(source="anchor_date.day", help_text="Day of the first period, 1 to 31.")
    current_invoice_id = serializers.SerializerMethodField()
    schedule_id = serializers.SerializerMethodField()
    trial_start = TimestampField(allow_null=True)
    trial_end = TimestampField(allow_null=True)
    paused_at = TimestampField(allow_null=True)
    canceled_at = TimestampField(allow_null=True)
    ended_at = TimestampField(allow_null=True)
    metadata = MetadataField()
    created_at = TimestampField()
    updated_at = TimestampField()

    def get_pending_plan_id(self, subscription: Subscription) -> str | None:
        pending = subscription.pending_plan_version
        return None if pending is None else pending.plan.key

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": True})
    def get_discount(self, subscription: Subscription) -> None:
        return None

    def get_provider_subscription_id(self, subscription: Subscription) -> str | None:
        return None

    def get_default_payment_method(self, subscription: Subscription) -> str | None:
        return None

    def get_current_invoice_id(self, subscription: Subscription) -> str | None:
        """The newest invoice, which the view loads."""
        invoice_id = getattr(subscription, "newest_invoice_id", None)
        return None if invoice_id is None else str(self.context["encode_invoice_id"](invoice_id))

    def get_schedule_id(self, subscription: Subscription) -> str | None:
        return None
