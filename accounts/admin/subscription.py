"""Subscriptions, to look at: they change through use cases that also bill."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import Subscription, SubscriptionItem
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    json_display,
    link_display,
    money_display,
    period_display,
    quantity_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display


class ItemInline(ReadOnlyInline):
    """The prices in force, and those that were."""

    model = SubscriptionItem
    verbose_name_plural = "Items"
    fields = ("price", "model_name", "meter", "quantity", "unit_price", "since", "until")
    readonly_fields = fields
    unit_price = quantity_display("price.unit_amount", description="Amount (minor)")
    since = timestamp_display("started_at", zone="subscription.timezone", description="Since")
    until = timestamp_display("ended_at", zone="subscription.timezone", description="Until")

    @admin.display(description="Model")
    def model_name(self, item: SubscriptionItem) -> str:
        return "by rule or quota" if item.price is None else item.price.get_model_display()

    def get_queryset(self, request: HttpRequest) -> QuerySet[SubscriptionItem]:
        rows: QuerySet[SubscriptionItem] = super().get_queryset(request)
        return rows.select_related("price", "meter", "subscription")


@admin.register(Subscription)
class SubscriptionAdmin(BackOfficeAdmin):
    """Who uses which plan, and when it is billed next."""

    financial = True
    nav_icon = "autorenew"
    nav_order = 30
    empty_title = "No subscription yet"
    empty_text = "A subscription starts through the API, or with the default plan of a new account."
    list_display = ("account_link", "plan_link", "state", "quantity", "covered", "next_due", "cancel_at_period_end")
    list_filter = ("status", "interval", "currency", "product")
    list_select_related = ("account", "plan_version", "pending_plan_version", "product")
    search_fields = ("account__name", "account__external_id__iexact", "account__email__iexact")
    search_help_text = "The account's name, external id or e-mail, or an id such as sub_…"
    inlines = (ItemInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("account_link", "state"),
                    ("plan_link", "pending_link"),
                    ("product",),
                    ("quantity", "currency"),
                    ("interval", "interval_count"),
                    ("public_id", "provider_type"),
                )
            },
        ),
        (
            "Time",
            {
                "fields": (
                    ("covered", "anchor_date"),
                    ("next_due", "next_boundary"),
                    ("started", "timezone"),
                    ("trial_until", "cancel_at_period_end"),
                    ("canceled", "ended"),
                )
            },
        ),
        ("Collection", {"fields": (("collection_method", "threshold"), "shown_metadata")}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        "account_link",
        "state",
        "plan_link",
        "pending_link",
        "product",
        "quantity",
        "currency",
        "interval",
        "interval_count",
        "public_id",
        "provider_type",
        "covered",
        "anchor_date",
        "next_due",
        "next_boundary",
        "started",
        "timezone",
        "trial_until",
        "cancel_at_period_end",
        "canceled",
        "ended",
        "collection_method",
        "threshold",
        "shown_metadata",
        "timeline",
    )
    state = status_badge()
    account_link = link_display("account", description="Account", ordering="account__name")
    plan_link = link_display("plan_version", description="Plan", ordering="plan_version__name")
    pending_link = link_display("pending_plan_version", description="From the next period")
    covered = period_display("current_period_start", "current_period_end", zone="timezone", description="Period")
    next_due = timestamp_display("next_billing_at", zone="timezone", description="Billed next")
    started = timestamp_display("started_at", zone="timezone", description="Started")
    trial_until = timestamp_display("trial_end", zone="timezone", description="Trial until")
    canceled = timestamp_display("canceled_at", zone="timezone", description="Canceled")
    ended = timestamp_display("ended_at", zone="timezone", description="Ended")
    threshold = money_display("billing_threshold", description="Billing threshold")
    shown_metadata = json_display("metadata", description="Metadata")
    timeline = timeline_display()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Subscription], search_term: str
    ) -> tuple[QuerySet[Subscription], bool]:
        key = Subscription.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates
