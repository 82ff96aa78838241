"""Refused usage requests, to look at: what was wrong, and with which events."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RangeDateTimeFilter

from accounts.models import Account
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import NOTHING, link_display, timestamp_display
from metering.models import RejectedUsageRequest
from metering.queries.rejected_usage import count_unkept

_LISTED = 3


class CodeFilter(admin.SimpleListFilter):
    """Of the request or of one of its findings."""

    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        codes = RejectedUsageRequest.objects.order_by("-id").values_list("codes", flat=True)[:500]
        return [(code, code) for code in sorted({code for row in codes for code in row})]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[RejectedUsageRequest]
    ) -> QuerySet[RejectedUsageRequest] | None:
        return queryset.filter(codes__contains=[self.value()]) if self.value() else None


def _show_index(index: int | None) -> str:
    return NOTHING if index is None else str(index)


@admin.register(RejectedUsageRequest)
class RejectedUsageAdmin(BackOfficeAdmin):
    """What was refused, for 30 days: where usage is missing, this tells why."""

    financial = True
    nav_icon = "block"
    nav_order = 30
    nav_title = "Rejected requests"
    empty_title = "Nothing was refused"
    empty_text = "A usage request that cannot be recorded is kept here for 30 days, with everything wrong with it."
    list_display = ("when", "account_shown", "reasons", "events", "door", "caller", "request_id")
    list_filter = (("account", AutocompleteSelectFilter), CodeFilter, ("rejected_at", RangeDateTimeFilter), "door")
    list_filter_submit = True
    list_select_related = ("account",)
    sortable_by = ()
    search_fields = ("=request_id",)
    search_help_text = "A Request-Id, an id such as rju_…, or an account's id or external id"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("code", "http_status"),
                    "detail",
                    ("account_link", "account_reference"),
                    ("when", "door"),
                    ("caller", "request_id"),
                    ("events", "not_kept"),
                    "public_id",
                )
            },
        ),
        ("What was wrong", {"fields": ("shown_findings",)}),
        ("What was sent", {"fields": ("shown_excerpt",)}),
    )
    readonly_fields = ("public_id", "events", "not_kept", "shown_findings", "shown_excerpt")
    when = timestamp_display("rejected_at", description="Refused", ordering=False)
    account_link = link_display("account", description="Account")

    @admin.display(description="Account")
    def account_shown(self, refusal: RejectedUsageRequest) -> str:
        return str(refusal.account) if refusal.account is not None else refusal.account_reference or NOTHING

    @admin.display(description="Reasons")
    def reasons(self, refusal: RejectedUsageRequest) -> SafeString:
        codes = [code for code in refusal.codes if code != "validation_failed"] or refusal.codes
        more = f" +{len(codes) - _LISTED}" if len(codes) > _LISTED else ""
        badges = format_html_join(" ", '<span class="ch-badge ch-bad">{}</span>', ((code,) for code in codes[:_LISTED]))
        return format_html("{}{}", badges, more)

    @admin.display(description="Events")
    def events(self, refusal: RejectedUsageRequest) -> str:
        return NOTHING if refusal.event_count is None else f"{refusal.event_count:,}"

    @admin.display(description="Not kept")
    def not_kept(self, refusal: RejectedUsageRequest) -> str:
        count = count_unkept([refusal])[refusal.pk]
        return f"{count:,} more of this caller in the same minute" if count else NOTHING

    @admin.display(description="Findings")
    def shown_findings(self, refusal: RejectedUsageRequest) -> SafeString | str:
        if not refusal.findings:
            return NOTHING
        rows = format_html_join(
            "",
            "<tr><td class='ch-number'>{}</td><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            (
                (_show_index(each["index"]), each["pointer"] or "/", each["code"], each["detail"])
                for each in refusal.findings
            ),
        )
        left = refusal.finding_count - len(refusal.findings)
        return format_html(
            '<div class="ch-trace"><table class="ch-table"><thead><tr><th>Event</th><th>Where</th><th>Code</th>'
            "<th>What</th></tr></thead><tbody>{}</tbody></table>{}</div>",
            rows,
            f"and {left:,} more" if left > 0 else "",
        )

    @admin.display(description="Excerpt")
    def shown_excerpt(self, refusal: RejectedUsageRequest) -> SafeString | str:
        if not refusal.excerpt:
            return NOTHING
        return format_html_join(
            "",
            '<div class="ch-trace"><div class="ch-muted">{}</div><pre class="ch-json">{}</pre></div>',
            (
                ("The body begins" if each["index"] is None else f"Event {each['index']}", each["content"])
                for each in refusal.excerpt
            ),
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RejectedUsageRequest], search_term: str
    ) -> tuple[QuerySet[RejectedUsageRequest], bool]:
        term = search_term.strip()
        if (key := RejectedUsageRequest.parse_id(term)) is not None:
            return queryset.filter(pk=key), False
        account = Account.parse_id(term)
        if account is None and term:
            account = Account.objects.filter(external_id__iexact=term).values_list("pk", flat=True).first()
        if account is not None:
            return queryset.filter(account_id=account), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates
