"""Prices and quota rules, as inlines of their version and as lists of their own."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import NOTHING, link_display, quantity_display
from catalog.admin.amounts import describe_price
from catalog.models import Price, QuotaRule


@admin.display(description="Price", ordering="unit_amount")
def shown_price(*arguments: Price) -> str:
    """A column with the price in words."""
    return describe_price(arguments[-1])


class PriceInline(ReadOnlyInline):
    """The prices of a version."""

    model = Price
    verbose_name_plural = "Prices"
    fields = ("shown_price", "meter_link", "unit_price", "billing_timing", "lookup_key")
    readonly_fields = fields
    ordering = ("currency", "id")
    shown_price = shown_price
    meter_link = link_display("meter", ordering=False)
    unit_price = quantity_display("unit_amount", description="Minor units", ordering=False)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Price]:
        rows: QuerySet[Price] = super().get_queryset(request)
        return rows.select_related("meter")


class QuotaRuleInline(ReadOnlyInline):
    """The quotas of a version."""

    model = QuotaRule
    verbose_name_plural = "Quotas"
    fields = ("feature_link", "meter_link", "window", "allowed", "enforcement", "overage", "upgrade_plan_key")
    readonly_fields = fields
    feature_link = link_display("feature", ordering=False)
    meter_link = link_display("meter", ordering=False)
    allowed = quantity_display("limit", ordering=False)
    overage = quantity_display("overage_price", description="Overage (minor units)", ordering=False)

    def get_queryset(self, request: HttpRequest) -> QuerySet[QuotaRule]:
        rows: QuerySet[QuotaRule] = super().get_queryset(request)
        return rows.select_related("feature", "meter")


@admin.register(Price)
class PriceAdmin(BackOfficeAdmin):
    """Every price that was ever published. A price never changes; a new plan version has new ones."""

    financial = True
    nav_order = 50
    empty_title = "No price yet"
    empty_text = "Prices belong to plans: publish a catalog draft."
    list_display = ("lookup_key", "shown_price", "version_link", "meter_link", "billing_timing", "on_sale")
    list_filter = ("currency", "interval", "model", "billing_timing")
    list_select_related = ("plan_version__plan", "meter")
    search_fields = ("lookup_key", "plan_version__plan__key")
    fields = (
        ("shown_price", "lookup_key"),
        ("version_link", "meter_link"),
        ("model", "unit_price"),
        ("currency", "billing_timing"),
        ("interval", "interval_count"),
        "public_id",
    )
    readonly_fields = ("shown_price", "version_link", "meter_link", "unit_price", "public_id")
    shown_price = shown_price
    version_link = link_display("plan_version", description="Plan version", ordering="plan_version__name")
    meter_link = link_display("meter", ordering="meter__event_name")
    unit_price = quantity_display("unit_amount", description="Minor units")

    @admin.display(description="On sale", boolean=True)
    def on_sale(self, price: Price) -> bool:
        plan = price.plan_version.plan
        return plan.is_active and plan.current_version_id == price.plan_version_id


@admin.register(QuotaRule)
class QuotaRuleAdmin(BackOfficeAdmin):
    """How much of a meter each plan version allows."""

    financial = True
    nav_order = 55
    empty_title = "No quota yet"
    empty_text = "Without a quota a plan is unlimited. Name quotas in a catalog draft."
    list_display = ("version_link", "feature_link", "meter_link", "window", "allowed", "enforcement", "upgrade")
    list_filter = ("window", "enforcement", "feature")
    list_select_related = ("plan_version", "feature", "meter")
    search_fields = ("plan_version__plan__key", "feature__key", "meter__event_name")
    fields = (
        ("version_link", "feature_link"),
        ("meter_link", "window"),
        ("allowed", "enforcement"),
        ("overage", "upgrade"),
        "public_id",
    )
    readonly_fields = ("version_link", "feature_link", "meter_link", "allowed", "overage", "upgrade", "public_id")
    version_link = link_display("plan_version", description="Plan version", ordering="plan_version__name")
    feature_link = link_display("feature", ordering="feature__key")
    meter_link = link_display("meter", ordering="meter__event_name")
    allowed = quantity_display("limit")
    overage = quantity_display("overage_price", description="Overage (minor units)")

    @admin.display(description="Upgrade to", ordering="upgrade_plan_key")
    def upgrade(self, rule: QuotaRule) -> str:
        return rule.upgrade_plan_key or NOTHING
