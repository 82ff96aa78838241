"""Subscriptions: where each stands, and what people do to it; every change is a use case that also bills."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from accounts.admin.discount import DiscountActions, DiscountInline
from accounts.admin.prospects import describe_discount, describe_pending, show_waiting
from accounts.admin.schedule import ScheduleInline
from accounts.admin.subscription_actions import LifeActions, TermActions
from accounts.models import Subscription, SubscriptionItem
from accounts.queries.discounts import find_discount
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    NOTHING,
    json_display,
    link_display,
    money_display,
    period_display,
    quantity_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from invoicing.queries.pending_charges import select_waiting


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
class SubscriptionAdmin(TermActions, LifeActions, DiscountActions, BackOfficeAdmin):
    """Who uses which plan, and when it is billed next."""

    financial = True
    nav_icon = "autorenew"
    nav_order = 30
    empty_title = "No subscription yet"
    empty_text = (
        "A subscription starts on an account's page, through the API, or with the default plan of a new account."
    )
    list_display = ("account_link", "plan_link", "state", "quantity", "covered", "next_due", "cancel_at_period_end")
    list_filter = ("status", "interval", "currency", "product")
    list_select_related = ("account", "plan_version", "pending_plan_version", "product", "plan_version__plan")
    search_fields = ("account__name", "account__external_id__iexact", "account__email__iexact")
    search_help_text = "The account's name, external id or e-mail, or an id such as sub_…"
    actions_detail = (
        "change_terms",
        "drop_change",
        "extend_trial",
        "pause",
        "resume",
        "give_discount",
        "remove_discount",
        "redeem_coupon",
        "renew",
        "cancel",
        "reactivate",
    )
    inlines = (ItemInline, DiscountInline, ScheduleInline)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("account_link", "state"),
                    ("plan_link", "pending"),
                    ("product", "discount"),
                    ("quantity", "currency"),
                    ("interval", "interval_count"),
                    ("public_id", "provider_type"),
                    ("provider", "provider_subscription_id"),
                )
            },
        ),
        (
            "Time",
            {
                "fields": (
                    ("covered", "anchor_date"),
                    ("alignment", "billing_cycle_anchor"),
                    ("next_due", "next_boundary"),
                    ("started", "timezone"),
                    ("trial_until", "cancel_at_period_end"),
                    ("canceled", "ended"),
                    ("paused", "resumes"),
                )
            },
        ),
        ("Waits for the next invoice", {"fields": ("waiting",)}),
        ("Collection", {"fields": (("collection_method", "threshold"), "method_link", "shown_metadata")}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        "account_link",
        "state",
        "plan_link",
        "pending",
        "discount",
        "product",
        "quantity",
        "currency",
        "interval",
        "interval_count",
        "public_id",
        "provider_type",
        "provider",
        "provider_subscription_id",
        "covered",
        "anchor_date",
        "alignment",
        "billing_cycle_anchor",
        "next_due",
        "next_boundary",
        "started",
        "timezone",
        "trial_until",
        "cancel_at_period_end",
        "canceled",
        "ended",
        "paused",
        "resumes",
        "waiting",
        "collection_method",
        "threshold",
        "method_link",
        "shown_metadata",
        "timeline",
    )
    state = status_badge()
    account_link = link_display("account", description="Account", ordering="account__name")
    plan_link = link_display("plan_version", description="Plan", ordering="plan_version__name")
    method_link = link_display("default_payment_method", description="Payment method")
    covered = period_display("current_period_start", "current_period_end", zone="timezone", description="Period")
    next_due = timestamp_display("next_billing_at", zone="timezone", description="Billed next")
    started = timestamp_display("started_at", zone="timezone", description="Started")
    trial_until = timestamp_display("trial_end", zone="timezone", description="Trial until")
    canceled = timestamp_display("canceled_at", zone="timezone", description="Canceled")
    ended = timestamp_display("ended_at", zone="timezone", description="Ended")
    paused = timestamp_display("paused_at", zone="timezone", description="Paused since")
    resumes = timestamp_display("resume_at", zone="timezone", description="Resumes")
    threshold = money_display("billing_threshold", description="Billing threshold")
    shown_metadata = json_display("metadata", description="Metadata")
    timeline = timeline_display()

    class Media:
        css = {"all": ("backoffice/desk.css",)}

    @admin.display(description="From the next period")
    def pending(self, subscription: Subscription) -> str:
        return describe_pending(subscription) or NOTHING

    @admin.display(description="Discount")
    def discount(self, subscription: Subscription) -> str:
        return describe_discount(find_discount(subscription)) or NOTHING

    @admin.display(description="")
    def waiting(self, subscription: Subscription) -> SafeString | str:
        charges = list(select_waiting().filter(subscription=subscription))
        papers = [
            render_to_string("backoffice/paper.html", {"paper": paper}) for paper in show_waiting(subscription, charges)
        ]
        return mark_safe(f'<div class="ch-trace">{papers[0]}</div>') if papers else NOTHING  # noqa: S308 - escaped

    def get_fieldsets(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        """Leave out what waits where nothing does."""
        parts = super().get_fieldsets(request, obj)
        if obj is not None and select_waiting().filter(subscription=obj).exists():
            return parts
        return [part for part in parts if part[0] != "Waits for the next invoice"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Subscription], search_term: str
    ) -> tuple[QuerySet[Subscription], bool]:
        key = Subscription.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates
