"""Plans and their versions."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.queries.plan_usage import count_running_subscriptions
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    NOTHING,
    format_quantity,
    json_display,
    link_display,
    link_to,
    timestamp_display,
)
from catalog.admin.amounts import summarise_prices
from catalog.admin.plan_history import render_plan_history
from catalog.admin.price import PriceInline, QuotaRuleInline
from catalog.models import Plan, PlanVersion, Price

_AS_SELLER = "as the seller"


class VersionInline(ReadOnlyInline):
    """All versions of a plan, newest first."""

    model = PlanVersion
    fk_name = "plan"
    verbose_name_plural = "Versions"
    fields = ("version_link", "name", "revision_link", "since")
    readonly_fields = fields
    ordering = ("-version",)
    revision_link = link_display("revision", description="Published with", ordering=False)
    since = timestamp_display("created_at", zone="timezone", description="Published", ordering=False)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlanVersion]:
        rows: QuerySet[PlanVersion] = super().get_queryset(request)
        return rows.select_related("revision").defer("revision__document")

    @admin.display(description="Version")
    def version_link(self, version: PlanVersion) -> SafeString | str:
        return link_to(version, f"v{version.version}")


@admin.register(Plan)
class PlanAdmin(BackOfficeAdmin):
    """What customers can subscribe to, with the version that is on sale."""

    nav_order = 40
    empty_title = "No plan yet"
    empty_text = "Plans, their prices and quotas come from a catalog document: publish a draft."
    list_display = ("key", "plan_name", "product_link", "prices", "version_number", "org_id", "is_active")
    list_filter = ("is_active", "product", "org_id")
    list_select_related = ("product", "current_version")
    search_fields = ("key", "current_version__name")
    ordering = ("org_id", "product", "key")
    inlines = (VersionInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("key", "plan_name"),
                    ("product_link", "version_on_sale"),
                    "prices",
                    ("running", "org_id"),
                    ("is_active", "since"),
                    "public_id",
                )
            },
        ),
        ("Price history", {"fields": ("price_history",)}),
    )
    readonly_fields = (
        "plan_name",
        "product_link",
        "version_on_sale",
        "prices",
        "running",
        "public_id",
        "since",
        "price_history",
    )
    product_link = link_display("product", ordering="product__key")
    version_on_sale = link_display("current_version", description="Version on sale")
    since = timestamp_display("created_at", zone="timezone", description="First published")

    class Media:
        css = {"all": ("backoffice/catalog.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        rows: QuerySet[Plan] = super().get_queryset(request)
        prices = Price.objects.select_related("meter").order_by("id")
        return rows.select_related("product", "current_version").prefetch_related(
            Prefetch("current_version__prices", prices)
        )

    @admin.display(description="Name", ordering="current_version__name")
    def plan_name(self, plan: Plan) -> str:
        return plan.current_version.name if plan.current_version else NOTHING

    @admin.display(description="Version", ordering="current_version__version")
    def version_number(self, plan: Plan) -> str:
        return f"v{plan.current_version.version}" if plan.current_version else NOTHING

    @admin.display(description="Prices")
    def prices(self, plan: Plan) -> SafeString | str:
        version = plan.current_version
        if version is None:
            return NOTHING
        lines = format_html_join("", '<div class="{}">{}</div>', summarise_prices(version.prices.all()))
        return lines or ("By agreement" if version.contact_sales else NOTHING)

    @admin.display(description="Running subscriptions")
    def running(self, plan: Plan) -> str:
        counts = count_running_subscriptions(version_ids=plan.versions.values_list("pk", flat=True))
        return format_quantity(sum(counts.values()))

    @admin.display(description="Price history")
    def price_history(self, plan: Plan) -> SafeString:
        return render_plan_history(plan)


@admin.register(PlanVersion)
class PlanVersionAdmin(BackOfficeAdmin):
    """What a plan was from one publication on. Subscriptions keep the version they started with."""

    financial = True
    nav_hidden = True
    list_display = ("__str__", "plan_link", "revision_link", "on_sale", "since")
    list_filter = ("plan__product", "contact_sales", "plan__org_id")
    list_select_related = ("plan", "revision")
    search_fields = ("plan__key", "name")
    inlines = (PriceInline, QuotaRuleInline)
    fields = (
        ("name", "version"),
        ("plan_link", "revision_link"),
        ("since", "on_sale"),
        "description",
        ("category", "trial_period_days"),
        ("prorates_by", "counts_periods_as"),
        ("price_per_seat", "contact_sales", "popular"),
        "scopes",
        "texts",
        "shown_limits",
        "public_id",
    )
    readonly_fields = (
        "plan_link",
        "revision_link",
        "since",
        "on_sale",
        "prorates_by",
        "counts_periods_as",
        "scopes",
        "texts",
        "shown_limits",
        "public_id",
    )
    plan_link = link_display("plan", ordering="plan__key")
    revision_link = link_display("revision", description="Published with", ordering="revision__revision")
    since = timestamp_display("created_at", zone="timezone", description="Published")
    shown_limits = json_display("limits")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlanVersion]:
        rows: QuerySet[PlanVersion] = super().get_queryset(request)
        return rows.select_related("plan", "revision").defer("revision__document")

    @admin.display(description="On sale", boolean=True)
    def on_sale(self, version: PlanVersion) -> bool:
        return version.plan.is_active and version.plan.current_version_id == version.pk

    @admin.display(description="Proration")
    def prorates_by(self, version: PlanVersion) -> str:
        return version.get_proration_display() or _AS_SELLER

    @admin.display(description="A whole period counts")
    def counts_periods_as(self, version: PlanVersion) -> str:
        return version.get_proration_basis_display() or _AS_SELLER

    @admin.display(description="Features")
    def scopes(self, version: PlanVersion) -> str:
        links = version.feature_links.select_related("feature")
        return ", ".join(link.feature.key for link in links) or NOTHING

    @admin.display(description="Feature texts")
    def texts(self, version: PlanVersion) -> SafeString | str:
        return format_html_join("", "<div>{}</div>", [(text,) for text in version.feature_texts]) or NOTHING
