"""What payment providers that bill usage were told, what failed and why, and what was told too much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter
from unfold.enums import ActionVariant

from accounts.models import Account
from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import (
    NOTHING,
    link_display,
    quantity_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from metering.models import ExportStatus, UsageExport, UsageExportSurplus
from metering.services.usage_exports import OUTCOME_UNKNOWN, retry_export

_TONES: Final[dict[str, str]] = {"exported": "good", "failed": "bad", "pending": "info"}


class AttemptFilter(admin.SimpleListFilter):
    """Whether somebody must look at it."""

    title = "next attempt"
    parameter_name = "next"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return (("waits", "Tried again by itself"), ("given_up", "Waits for a person"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageExport]) -> QuerySet[UsageExport] | None:
        match self.value():
            case "waits":
                return queryset.filter(next_attempt_at__isnull=False)
            case "given_up":
                return filter_given_up(queryset)
        return None


def filter_given_up(rows: QuerySet[UsageExport]) -> QuerySet[UsageExport]:
    """Return the quantities that only a person can have tried again."""
    return rows.filter(status=ExportStatus.FAILED, next_attempt_at__isnull=True)


def _has_failed(export: UsageExport) -> bool:
    return export.status == ExportStatus.FAILED


def _warn_retry(exports: Sequence[UsageExport]) -> Iterable[str]:
    unknown = sum(export.uncertain_since is not None or export.reason_code == OUTCOME_UNKNOWN for export in exports)
    if unknown:
        yield (
            f"{unknown} of {len(exports)} may have reached the provider, which never answered. Sent again more than a "
            "day later it counts twice there: look it up at the provider by its identifier first."
        )


@admin.register(UsageExport)
class UsageExportAdmin(BackOfficeAdmin):
    """One row per quantity. Rows come from the schedule and the API."""

    financial = True
    nav_title = "Usage exports"
    nav_icon = "outbound"
    nav_order = 22
    empty_title = "No usage was exported yet"
    empty_text = "Usage of accounts whose payment provider bills it is told to the provider. See docs/usage-feed.md."
    list_display = ("used", "account_link", "meter_link", "amount", "state", "why", "attempts", "next_try", "provider")
    list_display_links = ("used",)
    list_filter = (
        "status",
        AttemptFilter,
        "source",
        "provider",
        ("meter", RelatedDropdownFilter),
        ("account", AutocompleteSelectFilter),
    )
    list_select_related = ("account", "meter")
    sortable_by = ()
    search_fields = ("=identifier", "=idempotency_key", "=provider_event_id")
    search_help_text = "An identifier or key, the provider's name of it, an id such as uex_…, or an account's id"
    actions = ("retry",)
    actions_detail = ("retry",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("public_id", "state"),
                    ("account_link", "meter_link"),
                    ("amount", "used"),
                    ("source", "feature"),
                    ("provider", "provider_event_id"),
                    ("identifier", "idempotency_key"),
                )
            },
        ),
        (
            "Attempts",
            {"fields": (("attempts", "next_try"), ("requested", "exported"), ("uncertain", "reason_code"), "why")},
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = ("public_id", "why", "timeline")
    account_link = link_display("account", description="Account")
    meter_link = link_display("meter", description="Meter")
    amount = quantity_display("quantity", description="Quantity")
    state = status_badge(tones=_TONES)
    used = timestamp_display("timestamp", zone="account.timezone", description="Used")
    next_try = timestamp_display("next_attempt_at", zone="account.timezone", description="Next attempt")
    requested = timestamp_display("requested_at", zone="account.timezone", description="Asked for")
    exported = timestamp_display("exported_at", zone="account.timezone", description="Exported")
    uncertain = timestamp_display("uncertain_since", zone="account.timezone", description="May have counted since")
    timeline = timeline_display()

    @admin.display(description="Why")
    def why(self, export: UsageExport) -> str:
        return export.reason or NOTHING

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageExport], search_term: str
    ) -> tuple[QuerySet[UsageExport], bool]:
        if (key := UsageExport.parse_id(search_term.strip())) is not None:
            return queryset.filter(pk=key), False
        return _search(super().get_search_results, request, queryset, search_term)

    def nav_badge(self, request: HttpRequest) -> str:
        waiting = filter_given_up(UsageExport.objects.all()).count()
        return str(waiting) if waiting else ""

    @service_action(
        description="Try again",
        permission="metering.retry_usageexport",
        effect="It is sent within a minute, under its own identifier, and tried from the beginning.",
        warnings=_warn_retry,
        allowed=_has_failed,
        icon="replay",
        variant=ActionVariant.PRIMARY,
        url_path="retry",
    )
    def retry(self, request: HttpRequest, export: UsageExport, call: Call) -> str:
        retry_export(export_id=export.pk, at=call.at, actor=call.actor, reason=call.reason)
        return "It is tried again within a minute."


@admin.register(UsageExportSurplus)
class UsageExportSurplusAdmin(BackOfficeAdmin):
    """Hours of which a provider was told more than was used, because usage was corrected afterwards."""

    financial = True
    nav_title = "Told too much"
    nav_icon = "balance"
    nav_order = 23
    empty_title = "Nothing was told too much"
    empty_text = "Usage that is taken back after its provider was told of it is listed here, to be settled there."
    list_display = ("hour_of_use", "account_link", "meter_link", "amount", "noticed")
    list_filter = (("meter", RelatedDropdownFilter), ("account", AutocompleteSelectFilter))
    list_select_related = ("account", "meter")
    sortable_by = ()
    search_fields = ("account__name",)
    search_help_text = "An account's name, id or external id"
    fieldsets = ((None, {"fields": (("account_link", "meter_link"), ("hour_of_use", "amount"), "noticed")}),)
    account_link = link_display("account", description="Account")
    meter_link = link_display("meter", description="Meter")
    amount = quantity_display("quantity", description="Told too much")
    hour_of_use = timestamp_display("hour", description="Hour (UTC)")
    noticed = timestamp_display("noticed_at", description="Noticed")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageExportSurplus], search_term: str
    ) -> tuple[QuerySet[UsageExportSurplus], bool]:
        return _search(super().get_search_results, request, queryset, search_term)

    def nav_badge(self, request: HttpRequest) -> str:
        found = UsageExportSurplus.objects.count()
        return str(found) if found else ""


def _search(search: Any, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
    """Return the rows of the account that is named by id or external id, else what `search` finds."""
    term = search_term.strip()
    account = Account.parse_id(term)
    if account is None and term:
        account = Account.objects.filter(external_id__iexact=term).values_list("pk", flat=True).first()
    if account is not None:
        return queryset.filter(account_id=account), False
    found: tuple[QuerySet[Any], bool] = search(request, queryset, search_term)
    return found
