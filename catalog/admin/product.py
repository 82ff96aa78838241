"""Products and features."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import json_display, link_display, link_to, timestamp_display
from catalog.models import Feature, Plan, Product


class PlanInline(ReadOnlyInline):
    """The plans of a product."""

    model = Plan
    fields = ("plan_link", "version_name", "is_active")
    readonly_fields = fields
    ordering = ("key",)
    version_name = link_display("current_version", description="Version on sale", ordering=False)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        rows: QuerySet[Plan] = super().get_queryset(request)
        return rows.select_related("current_version")

    @admin.display(description="Plan")
    def plan_link(self, plan: Plan) -> SafeString | str:
        return link_to(plan)


@admin.register(Product)
class ProductAdmin(BackOfficeAdmin):
    """What is sold. Products come from the catalog document."""

    nav_order = 30
    empty_title = "No product yet"
    empty_text = "Publish a catalog draft: its products appear here."
    list_display = ("name", "key", "plan_count", "org_id", "is_active")
    list_filter = ("is_active", "org_id")
    search_fields = ("key", "name")
    ordering = ("org_id", "key")
    inlines = (PlanInline,)
    fields = (
        ("name", "key"),
        "description",
        ("lookup_key", "org_id"),
        ("is_active", "public_id"),
        ("since", "changed"),
        "more",
    )
    readonly_fields = ("public_id", "since", "changed", "more")
    since = timestamp_display("created_at", zone="timezone", description="Created")
    changed = timestamp_display("updated_at", zone="timezone", description="Changed")
    more = json_display("metadata")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        rows: QuerySet[Product] = super().get_queryset(request)
        return rows.annotate(active_plans=Count("plans", filter=Q(plans__is_active=True)))

    @admin.display(description="Active plans", ordering="active_plans")
    def plan_count(self, product: Product) -> int:
        return int(getattr(product, "active_plans", 0))


@admin.register(Feature)
class FeatureAdmin(BackOfficeAdmin):
    """Scopes that plans grant."""

    nav_order = 70
    empty_title = "No feature yet"
    empty_text = "Features are named by the plans of a catalog document."
    list_display = ("key", "org_id", "is_active")
    list_filter = ("is_active", "org_id")
    search_fields = ("key",)
    ordering = ("org_id", "key")
    fields = ("key", "org_id", "is_active", "public_id")
    readonly_fields = ("public_id",)
