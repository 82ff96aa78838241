"""Plans as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_framework import serializers

from billing_site.api.fields import CurrencyField, DecimalStringField, MoneyField, SignedMoneyField, format_plain
from catalog.models import (
    BillingTiming,
    Enforcement,
    PriceInterval,
    PriceModel,
    ProrationBasis,
    ProrationUnit,
    QuotaWindow,
)
from catalog.pricing.monthly import Fee, compute_monthly_price
from catalog.queries.plans import ListedPlan, ListedPrice, ListedQuota


class PlanQuery(serializers.Serializer[dict[str, Any]]):
    """What plans are filtered by."""

    category = serializers.CharField(required=False, max_length=100)
    product = serializers.CharField(required=False, max_length=100, help_text="Product id.")
    currency = CurrencyField(required=False, help_text="Only plans with a price in it; prices are shown in it.")
    include_inactive = serializers.BooleanField(required=False, default=False, help_text="Internal callers only.")


class PlanPriceSerializer(serializers.Serializer[dict[str, Any]]):
    """A fee, or with `meter` a usage price."""

    currency = CurrencyField()
    unit_amount = MoneyField(allow_null=True, help_text="A fee: minor units for the whole interval. Null for usage.")
    unit_amount_decimal = DecimalStringField(
        allow_null=True, help_text="Exact minor units: per interval, unit of the meter or package. Null with tiers."
    )
    options = serializers.DictField(
        help_text="What the model needs beside the amount, as in the catalog document: tiers, package_size, percent …"
    )
    model = serializers.ChoiceField(choices=PriceModel.choices)
    meter = serializers.CharField(allow_null=True, help_text="Event name of the meter; null for a fee.")
    unit = serializers.CharField(allow_null=True)
    interval = serializers.ChoiceField(choices=PriceInterval.choices)
    interval_count = serializers.IntegerField()
    billing_timing = serializers.ChoiceField(choices=BillingTiming.choices)
    lookup_key = serializers.CharField()


class PlanQuotaSerializer(serializers.Serializer[dict[str, Any]]):
    """How much of a meter the plan allows in a window."""

    feature = serializers.CharField()
    meter_event_name = serializers.CharField()
    window = serializers.ChoiceField(choices=QuotaWindow.choices)
    limit = serializers.IntegerField()
    enforcement = serializers.ChoiceField(choices=Enforcement.choices)
    overage_price = DecimalStringField(allow_null=True, help_text="Minor units per unit.")
    upgrade_plan_id = serializers.CharField(allow_null=True)


class PlanSerializer(serializers.Serializer[ListedPlan]):
    """
    A plan on offer, in the version new subscriptions get.

    The price of a contact-sales plan is not published: public callers see none.
    """

    id = serializers.CharField(help_text="Slug, case-sensitive.")
    slug = serializers.CharField()
    product_id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    category = serializers.CharField(allow_blank=True)
    price = MoneyField(allow_null=True, help_text="Per month, minor units.")
    price_annual = MoneyField(allow_null=True, help_text="Per month when billed yearly, minor units.")
    currency = CurrencyField(allow_null=True)
    interval = serializers.ChoiceField(choices=[("month", "month"), ("year", "year")], allow_null=True)
    interval_count = serializers.IntegerField()
    trial_period_days = serializers.IntegerField(allow_null=True)
    proration = serializers.ChoiceField(
        choices=ProrationUnit.choices,
        allow_null=True,
        help_text="How parts of a period are charged; null: the seller's.",
    )
    proration_basis = serializers.ChoiceField(
        choices=ProrationBasis.choices, allow_null=True, help_text="What a whole period counts; null: the seller's."
    )
    price_per_seat = serializers.BooleanField()
    contact_sales = serializers.BooleanField()
    popular = serializers.BooleanField()
    active = serializers.BooleanField()
    version = serializers.IntegerField(help_text="Number of the plan's version.")
    features = serializers.ListField(child=serializers.CharField(), help_text="Texts to display.")
    feature_scopes = serializers.ListField(child=serializers.CharField(), help_text="Scopes the plan grants.")
    limits = serializers.DictField(child=SignedMoneyField(), help_text="Named limits; -1 is unlimited.")
    prices = PlanPriceSerializer(many=True)
    quotas = PlanQuotaSerializer(many=True)

    def to_representation(self, instance: ListedPlan) -> dict[str, Any]:
        version = instance.version
        prices = self._list_visible_prices(instance)
        currency = self.context.get("currency") or _find_first_currency(prices)
        fees = [
            Fee(price.compute_unit_fee(), price.interval, price.interval_count)
            for price in prices
            if price.currency == currency and not price.is_metered
        ]
        monthly = compute_monthly_price(fees)
        return {
            "id": instance.plan.key,
            "slug": instance.plan.key,
            "product_id": instance.plan.product.key,
            "name": version.name,
            "description": version.description,
            "category": version.category,
            "price": monthly.price,
            "price_annual": monthly.price_annual,
            "currency": currency,
            "interval": monthly.interval,
            "interval_count": monthly.interval_count,
            "trial_period_days": version.trial_period_days,
            "proration": version.proration or None,
            "proration_basis": version.proration_basis or None,
            "price_per_seat": version.price_per_seat,
            "contact_sales": version.contact_sales,
            "popular": version.popular,
            "active": instance.is_on_offer,
            "version": version.version,
            "features": version.feature_texts,
            "feature_scopes": list(instance.features),
            "limits": version.limits,
            "prices": [_render_price(price) for price in prices],
            "quotas": [_render_quota(quota) for quota in instance.quotas],
        }

    def _list_visible_prices(self, instance: ListedPlan) -> Sequence[ListedPrice]:
        if instance.version.contact_sales and not self.context.get("show_all_prices"):
            return ()
        return instance.prices


def _find_first_currency(prices: Sequence[ListedPrice]) -> str | None:
    return prices[0].currency if prices else None


def _render_price(price: ListedPrice) -> dict[str, Any]:
    amount = price.unit_amount
    is_whole = amount is not None and not price.is_metered and amount == amount.to_integral_value()
    return {
        "currency": price.currency,
        "unit_amount": int(amount) if amount is not None and is_whole else None,
        "unit_amount_decimal": None if amount is None else format_plain(amount),
        "options": price.options,
        "model": price.model,
        "meter": price.meter,
        "unit": price.unit,
        "interval": price.interval,
        "interval_count": price.interval_count,
        "billing_timing": price.billing_timing,
        "lookup_key": price.lookup_key,
    }


def _render_quota(quota: ListedQuota) -> dict[str, Any]:
    return {
        "feature": quota.feature,
        "meter_event_name": quota.meter_event_name,
        "window": quota.window,
        "limit": quota.limit,
        "enforcement": quota.enforcement,
        "overage_price": None if quota.overage_price is None else format_plain(quota.overage_price),
        "upgrade_plan_id": quota.upgrade_plan_id or None,
    }
