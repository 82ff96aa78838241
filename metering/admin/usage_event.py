"""Usage events, to look at. With the list narrowed to one account its summary of the current period stands above."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter

from accounts.models import Account
from billing_site.backoffice.actions import error_text
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import (
    format_money,
    format_period,
    format_quantity,
    json_display,
    link_display,
    quantity_display,
    timestamp_display,
)
from billing_site.backoffice.navigation import NavPage
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountRequired
from catalog.models import Meter
from invoicing.queries.usage_inspection import inspect_usage
from metering.admin.correction_actions import CorrectionActions
from metering.admin.event_filters import (
    ActorFilter,
    CorrectionFilter,
    DimensionFilter,
    EventTimeFilter,
    ResourceFilter,
    read_account_filter,
)
from metering.admin.explorer import download_series, show_explorer
from metering.admin.inspection import build_inspection
from metering.models import UsageEvent
from metering.queries.inspecting import MAX_PLACES, find_event_by_id, find_events_by_key
from metering.queries.usage import UsageSummary, summarize_usage


@admin.register(UsageEvent)
class UsageEventAdmin(CorrectionActions, BackOfficeAdmin):
    """What was recorded, one row per event, and what became of it. Corrections are further events, never edits."""

    financial = True
    nav_icon = "monitoring"
    nav_order = 10
    nav_pages = (NavPage("Usage explorer", "query_stats", "admin:metering_usageevent_explore"),)
    empty_title = "No usage yet"
    empty_text = "Your application sends events to the API, and a CSV file can be imported with the command line."
    list_before_template = "metering/usage_summary.html"
    change_form_outer_before_template = "metering/inspection.html"
    actions_detail = ("amend_event", "void_event")
    list_display = ("event_time", "account_link", "meter_link", "counted", "unit", "center_link", "key", "arrived")
    list_display_links = ("event_time",)
    list_filter = (
        ("account", AutocompleteSelectFilter),
        ("meter", RelatedDropdownFilter),
        ("cost_center", AutocompleteSelectFilter),
        ("timestamp", EventTimeFilter),
        DimensionFilter,
        ResourceFilter,
        ActorFilter,
        CorrectionFilter,
    )
    list_filter_submit = True
    list_select_related = ("account", "meter", "cost_center")
    sortable_by = ()
    ordering = ("-timestamp", "-id")
    search_fields = ("=idempotency_key",)
    search_help_text = "An idempotency key, an id such as evu_…, or an account's id or external id"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("account_link", "meter_link"),
                    ("counted", "unit"),
                    "center_link",
                    ("event_time", "arrived"),
                    ("idempotency_key", "public_id"),
                    ("charged",),
                )
            },
        ),
        (
            "What and who",
            {"fields": (("resource_id", "resource_type"), "actor_id", "shown_dimensions", "shown_metadata")},
        ),
    )
    event_time = timestamp_display("timestamp", description="Event time")
    arrived = timestamp_display("recorded_at", description="Recorded")
    account_link = link_display("account", description="Account")
    meter_link = link_display("meter", description="Meter")
    center_link = link_display("cost_center", description="Cost center")
    counted = quantity_display("value", description="Quantity")
    shown_dimensions = json_display("dimensions", description="Dimensions")
    shown_metadata = json_display("metadata", description="Metadata")

    class Media:
        css = {"all": ("backoffice/usage.css",)}

    @admin.display(description="Unit")
    def unit(self, event: UsageEvent) -> str:
        return event.meter.unit

    @admin.display(description="Key")
    def key(self, event: UsageEvent) -> SafeString:
        return format_html('<span title="{}">{}</span>', event.idempotency_key, event.idempotency_key[:24])

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageEvent], search_term: str
    ) -> tuple[QuerySet[UsageEvent], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if (key := UsageEvent.parse_id(term)) is not None:
            return _narrow(queryset, [found] if (found := self._find(request, key)) is not None else []), False
        account = Account.parse_id(term)
        if account is None:
            account = Account.objects.filter(external_id__iexact=term).values_list("pk", flat=True).first()
        if account is not None:
            return queryset.filter(account_id=account), False
        accounts = Account.objects.order_by("pk")
        if (chosen := read_account_filter(request)) is not None:
            accounts = accounts.filter(pk=chosen)
        try:
            events = find_events_by_key(term, accounts=accounts[: MAX_PLACES + 1], meters=list(Meter.objects.all()))
        except AccountRequired as refusal:
            messages.warning(request, error_text(refusal))
            events = []
        return _narrow(queryset, events), False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> UsageEvent | None:
        """Return the event without reading all of them: by its key, which tells when it happened."""
        try:
            return self._find(request, uuid.UUID(str(object_id)))
        except ValueError:
            return None

    def _find(self, request: HttpRequest, key: uuid.UUID) -> UsageEvent | None:
        known: dict[uuid.UUID, UsageEvent | None] = request.__dict__.setdefault("found_events", {})
        if key not in known:
            known[key] = find_event_by_id(key) or self.get_queryset(request).filter(pk=key).first()
        return known[key]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Put what became of the event above what was recorded."""
        page = super().changeform_view(request, object_id, form_url, extra_context)
        context = getattr(page, "context_data", None)
        if context is not None and isinstance(event := context.get("original"), UsageEvent):
            found = inspect_usage(event, at=clock.now(event.account))
            context["inspection"] = build_inspection(found)
        return page

    def get_queryset(self, request: HttpRequest) -> QuerySet[UsageEvent]:
        rows: QuerySet[UsageEvent] = super().get_queryset(request)
        return rows.select_related("account__test_clock", "meter", "cost_center")

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("explore/", self.admin_site.admin_view(self.explore), name="metering_usageevent_explore"),
            path("explore/csv/", self.admin_site.admin_view(self.explore_csv), name="metering_usageevent_explore_csv"),
        ]
        return [*own, *super().get_urls()]

    def explore(self, request: HttpRequest) -> HttpResponse:
        """Answer the usage explorer."""
        return show_explorer(self, request)

    def explore_csv(self, request: HttpRequest) -> HttpResponseBase:
        """Answer what the explorer shows as CSV."""
        return download_series(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        account_key = read_account_filter(request)
        account = Account.objects.select_related("test_clock").filter(pk=account_key).first() if account_key else None
        context: dict[str, Any] = {}
        if account is not None and self.has_view_permission(request):
            context["usage_summary"] = _describe_summary(summarize_usage(account=account, at=clock.now(account)))
        return super().changelist_view(request, {**context, **(extra_context or {})})


def _narrow(queryset: QuerySet[UsageEvent], events: Sequence[UsageEvent]) -> QuerySet[UsageEvent]:
    """Return the list of these events, found by what they are indexed by."""
    return queryset.filter(
        account_id__in={event.account_id for event in events},
        timestamp__in={event.timestamp for event in events},
        pk__in={event.pk for event in events},
    )


def _describe_summary(summary: UsageSummary) -> dict[str, Any]:
    """Return what the template shows of a summary."""
    account = summary.account
    return {
        "account": account,
        "account_url": reverse("admin:accounts_account_change", args=[account.pk]),
        "period": format_period(summary.period.start, summary.period.end, account.timezone),
        "total": format_money(summary.total_cost, summary.currency),
        "metrics": [
            {
                "name": metric.meter.display_name,
                "quantity": format_quantity(metric.quantity),
                "unit": metric.meter.unit,
                "events": format_quantity(metric.event_count),
                "cost": format_money(metric.cost, summary.currency),
            }
            for metric in summary.metrics
        ],
    }
