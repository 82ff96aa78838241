"""Products and features."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import json_display, link_display, link_to, timestamp_display
from billing_site.backoffice.history import timeline_display
from catalog.admin.once import leave_to_list, warn_of_references
from catalog.models import Feature, Plan, Product
from catalog.services.products import archive_product, delete_product, restore_product


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
    actions = ("archive", "restore")
    actions_detail = ("archive", "restore", "remove")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "key"),
                    "description",
                    ("lookup_key", "org_id"),
                    ("is_active", "public_id"),
                    ("since", "changed"),
                    "more",
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = ("public_id", "since", "changed", "more", "timeline")
    since = timestamp_display("created_at", zone="timezone", description="Created")
    changed = timestamp_display("updated_at", zone="timezone", description="Changed")
    more = json_display("metadata")
    timeline = timeline_display(zone="")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        rows: QuerySet[Product] = super().get_queryset(request)
        return rows.annotate(active_plans=Count("plans", filter=Q(plans__is_active=True)))

    @admin.display(description="Active plans", ordering="active_plans")
    def plan_count(self, product: Product) -> int:
        return int(getattr(product, "active_plans", 0))

    @service_action(
        description="Archive",
        permission="catalog.archive_product",
        effect="Its plans are no longer on offer; running subscriptions go on. A catalog document that names it brings "
        "it back when it is published.",
        allowed=lambda product: product.is_active,
        icon="archive",
    )
    def archive(self, request: HttpRequest, product: Product, call: Call) -> str:
        archive_product(product_id=product.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{product} is archived."

    @service_action(
        description="Restore",
        permission="catalog.restore_product",
        effect="Those of its plans that the published catalog names are on offer again.",
        allowed=lambda product: not product.is_active,
        icon="unarchive",
    )
    def restore(self, request: HttpRequest, product: Product, call: Call) -> str:
        restore_product(product_id=product.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{product} is back."

    @service_action(
        description="Remove",
        permission="catalog.delete_product",
        effect="It is removed as if it had never been made. Possible only while it never had a plan and no published "
        "document names it.",
        warnings=warn_of_references,
        icon="delete",
        variant="danger",
    )
    def remove(self, request: HttpRequest, product: Product, call: Call) -> HttpResponse:
        delete_product(product_id=product.pk, at=call.at, actor=call.actor, reason=call.reason)
        return leave_to_list(self, request, f"{product} was removed.")


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
