"""Usage events, to look at. With the list narrowed to one account its summary of the current period stands above."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import make_aware
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RangeDateTimeFilter, RelatedDropdownFilter

from accounts.models import Account
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
from catalog.models import Meter
from metering.admin.explorer import download_series, show_explorer
from metering.models import UsageEvent
from metering.queries.usage import UsageSummary, summarize_usage

ACCOUNT_FILTER: Final = "account__id__exact"
CENTER_FILTER: Final = "cost_center__id__exact"


class EventTimeFilter(RangeDateTimeFilter):
    """A half-open stretch of event time, typed in the site's zone; either end may be left open, and so may the time."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageEvent]) -> QuerySet[UsageEvent]:
        start, end = self._read("from"), self._read("to")
        if start is not None:
            queryset = queryset.filter(timestamp__gte=start)
        return queryset.filter(timestamp__lt=end) if end is not None else queryset

    def _read(self, side: str) -> datetime | None:
        day = self.used_parameters.get(f"{self.parameter_name}_{side}_0") or ""
        clock_time = self.used_parameters.get(f"{self.parameter_name}_{side}_1") or "00:00:00"
        try:
            moment = datetime.fromisoformat(f"{day} {clock_time}")
        except ValueError:
            return None
        return make_aware(moment) if moment.tzinfo is None else moment


@admin.register(UsageEvent)
class UsageEventAdmin(BackOfficeAdmin):
    """What was recorded, one row per event. Corrections are further events, never edits."""

    financial = True
    nav_icon = "monitoring"
    nav_order = 10
    nav_pages = (NavPage("Usage explorer", "query_stats", "admin:metering_usageevent_explore"),)
    empty_title = "No usage yet"
    empty_text = "Your application sends events to the API, and a CSV file can be imported with the command line."
    list_before_template = "metering/usage_summary.html"
    list_display = ("event_time", "account_link", "meter_link", "counted", "unit", "center_link", "key", "arrived")
    list_display_links = ("event_time",)
    list_filter = (
        ("account", AutocompleteSelectFilter),
        ("meter", RelatedDropdownFilter),
        ("cost_center", AutocompleteSelectFilter),
        ("timestamp", EventTimeFilter),
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
            return queryset.filter(pk=key), False
        account = Account.parse_id(term)
        if account is None:
            account = Account.objects.filter(external_id__iexact=term).values_list("pk", flat=True).first()
        if account is not None:
            return queryset.filter(account_id=account), False
        # Keys are indexed below account and meter: naming all of those turns the search into look-ups.
        return queryset.filter(
            account_id__in=Account.objects.values("pk"), meter_id__in=Meter.objects.values("pk"), idempotency_key=term
        ), False

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
        account_key = _get_account_key(request)
        account = Account.objects.select_related("test_clock").filter(pk=account_key).first() if account_key else None
        context: dict[str, Any] = {}
        if account is not None and self.has_view_permission(request):
            context["usage_summary"] = _describe_summary(summarize_usage(account=account, at=clock.now(account)))
        return super().changelist_view(request, {**context, **(extra_context or {})})


def _get_account_key(request: HttpRequest) -> uuid.UUID | None:
    try:
        return uuid.UUID(request.GET.get(ACCOUNT_FILTER, ""))
    except ValueError:
        return None


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
