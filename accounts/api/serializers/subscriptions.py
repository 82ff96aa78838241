"""Subscriptions as callers send and see them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from accounts.api.serializers.ledger import ACCOUNT_HELP
from accounts.models import (
    Alignment,
    CollectionMethod,
    PaymentMethod,
    ProviderType,
    Subscription,
    SubscriptionDiscount,
    SubscriptionItem,
    SubscriptionSchedule,
    SubscriptionStatus,
)
from accounts.queries.discounts import compute_end, find_discount
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import (
    AccountRefField,
    CurrencyField,
    MetadataField,
    MoneyField,
    TimestampField,
    format_instant,
)
from billing_site.api.params import ACCOUNT_SYNONYMS
from billing_site.kernel.ids import encode_id
from billing_site.kernel.money import round_to_minor
from catalog.pricing.breakdown import to_text
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
    alignment = serializers.ChoiceField(
        choices=Alignment.choices, required=False, help_text="Internal callers only; default: the seller's."
    )
    billing_cycle_anchor = serializers.DateField(
        required=False,
        help_text="Internal callers only. A day on which a period begins; the first period is the stub up to the next.",
    )
    start_at = TimestampField(
        required=False, help_text="Internal callers only. A start in the past: every period since then is billed."
    )
    payment_gated = serializers.BooleanField(
        required=False,
        help_text="Internal callers only. Where a fee is due in advance: incomplete until its first invoice is paid, "
        "canceled when that does not happen in time. Default: the seller's.",
    )
    metadata = MetadataField(required=False)
    default_payment_method = serializers.CharField(
        required=False, allow_null=True, max_length=100, help_text="Id; default: that of the account."
    )
    coupon_code = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=64, help_text="Used on the first invoice."
    )
    provider_customer_id = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=255,
        help_text="Links an existing customer of the payment provider to the account; public callers may only name "
        "theirs.",
    )
    stripe_customer_id = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=255,
        help_text="The same for a customer of Stripe.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse two customers at once."""
        if attrs.get("provider_customer_id") and attrs.get("stripe_customer_id"):
            text = "Name the customer once."
            raise serializers.ValidationError({"stripe_customer_id": ErrorDetail(text, "conflicting")})
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
        prices = [item.price for item in items if item.price is not None and not item.price.is_metered]
        own = [price for price in prices if price.plan_version_id == subscription.plan_version_id]
        return round_to_minor(compute_unit_fee(own[0])) if own else 0


def show_discount(subscription: Subscription) -> dict[str, Any] | None:
    """Return what the subscription's next invoices get taken off, or None."""
    loaded: list[SubscriptionDiscount] | None = getattr(subscription, "current_discounts", None)
    discount = find_discount(subscription) if loaded is None else next(iter(loaded), None)
    if discount is None:
        return None
    ends_at = compute_end(discount, subscription)
    return {
        "percent_off": None if discount.percent_off is None else to_text(discount.percent_off),
        "amount_off": discount.amount_off,
        "name": discount.name or None,
        "ends_at": None if ends_at is None else format_instant(ends_at),
        "months_left": discount.months_left,
    }


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
    pending_quantity = serializers.IntegerField(allow_null=True, help_text="Quantity from the next period on.")
    pending_interval = serializers.SerializerMethodField(help_text="Interval from the next period on.")
    pending_at = serializers.SerializerMethodField(help_text="When what is pending takes effect.")
    discount = serializers.SerializerMethodField()
    provider_type = serializers.ChoiceField(choices=ProviderType.choices)
    provider_subscription_id = serializers.SerializerMethodField(help_text="Internal callers only.")
    default_payment_method = serializers.SerializerMethodField(help_text="Null: the default of the account.")
    collection_method = serializers.ChoiceField(choices=CollectionMethod.choices)
    billing_threshold = MoneyField(allow_null=True)
    billing_anchor = serializers.IntegerField(source="anchor_date.day", help_text="Day of the first period, 1 to 31.")
    alignment = serializers.ChoiceField(choices=Alignment.choices)
    billing_cycle_anchor = serializers.DateField(allow_null=True)
    current_invoice_id = serializers.SerializerMethodField()
    schedule_id = serializers.SerializerMethodField(help_text="Its schedule, until that is finished.")
    trial_start = TimestampField(allow_null=True)
    trial_end = TimestampField(allow_null=True)
    paused_at = TimestampField(allow_null=True)
    incomplete_until = TimestampField(
        allow_null=True, help_text="When it is canceled unless its first invoice is paid."
    )
    canceled_at = TimestampField(allow_null=True)
    ended_at = TimestampField(allow_null=True)
    metadata = MetadataField()
    created_at = TimestampField()
    updated_at = TimestampField()

    def get_pending_plan_id(self, subscription: Subscription) -> str | None:
        pending = subscription.pending_plan_version
        return None if pending is None else pending.plan.key

    def get_pending_interval(self, subscription: Subscription) -> str | None:
        return subscription.pending_interval or None

    @extend_schema_field({"type": ["string", "null"], "format": "date-time"})
    def get_pending_at(self, subscription: Subscription) -> str | None:
        return format_instant(subscription.current_period_end) if subscription.has_pending_change else None

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": True})
    def get_discount(self, subscription: Subscription) -> dict[str, Any] | None:
        """The discount in force, which the view loads."""
        return show_discount(subscription)

    def get_provider_subscription_id(self, subscription: Subscription) -> str | None:
        return subscription.provider_subscription_id or None if self.context.get("internal") else None

    def get_default_payment_method(self, subscription: Subscription) -> str | None:
        method_id = subscription.default_payment_method_id
        return None if method_id is None else encode_id(PaymentMethod.id_prefix, method_id)

    def get_current_invoice_id(self, subscription: Subscription) -> str | None:
        """The newest invoice, which the view loads."""
        invoice_id = getattr(subscription, "newest_invoice_id", None)
        return None if invoice_id is None else str(self.context["encode_invoice_id"](invoice_id))

    def get_schedule_id(self, subscription: Subscription) -> str | None:
        """The schedule that is not finished, which the query loads."""
        key = getattr(subscription, "schedule_key", None)
        return None if key is None else encode_id(SubscriptionSchedule.id_prefix, key)
