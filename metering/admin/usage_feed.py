"""The usage feed: what producers told and nobody has collected yet, and what of it could not be counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.enums import ActionVariant

from accounts.models import Account
from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import NOTHING, badge, json_display, link_to, timestamp_display
from metering.models import FeedOutcome, UsageFeedEvent
from metering.services.export_policy import get_export_rules
from metering.services.feed_counting import count_again

_TONES: Final[dict[str, str]] = {"counted": "good", "uncounted": "bad", "repeated": "neutral", "not_billed": "neutral"}


class CollectedFilter(admin.SimpleListFilter):
    """Events wait until a collector has stored them; then only their ids are remembered for a while."""

    title = "collected"
    parameter_name = "collected"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return (("no", "Waits for a collector"), ("yes", "Collected"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageFeedEvent]) -> QuerySet[UsageFeedEvent] | None:
        match self.value():
            case "no":
                return queryset.filter(collected_at__isnull=True)
            case "yes":
                return queryset.filter(collected_at__isnull=False)
        return None


def _may_count(event: UsageFeedEvent) -> bool:
    return event.is_uncounted and event.collected_at is None


@admin.register(UsageFeedEvent)
class UsageFeedEventAdmin(BackOfficeAdmin):
    """One row per event. Rows come from producers; a collector drops them."""

    financial = True
    nav_title = "Usage feed"
    nav_icon = "dynamic_feed"
    nav_order = 20
    empty_title = "Nothing on the feed"
    empty_text = "Producers tell events to the API; collectors read and drop them page by page. See docs/usage-feed.md."
    list_display = ("number", "happened", "event_type", "account_link", "billing", "why", "event_id", "collected")
    list_display_links = ("number",)
    list_filter = ("outcome", CollectedFilter, "event_type", ("account", AutocompleteSelectFilter))
    list_select_related = ("account",)
    sortable_by = ()
    search_fields = ("=event_id",)
    search_help_text = "An event id, a number of the feed, or an account's id or external id"
    actions = ("count_event",)
    actions_detail = ("count_event",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("number", "event_type"),
                    ("account_link", "organization"),
                    ("happened", "told"),
                    ("event_id", "collected"),
                    ("billing", "why"),
                )
            },
        ),
        ("Data", {"fields": ("shown_data",)}),
    )
    readonly_fields = ("number", "account_link", "organization", "billing", "why")
    happened = timestamp_display("occurred_at", description="Happened")
    told = timestamp_display("recorded_at", description="Told")
    collected = timestamp_display("collected_at", description="Collected")
    shown_data = json_display("data", description="Data")

    @admin.display(description="Number")
    def number(self, event: UsageFeedEvent) -> int:
        return event.pk

    @admin.display(description="Account")
    def account_link(self, event: UsageFeedEvent) -> SafeString | str:
        return link_to(event.account) if event.account is not None else event.account_reference or NOTHING

    @admin.display(description="Organization")
    def organization(self, event: UsageFeedEvent) -> str:
        return event.org_id or NOTHING

    @admin.display(description="Billing")
    def billing(self, event: UsageFeedEvent) -> SafeString:
        return badge(FeedOutcome(event.outcome).label, _TONES[event.outcome])

    @admin.display(description="Why")
    def why(self, event: UsageFeedEvent) -> str:
        return event.outcome_detail or NOTHING

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageFeedEvent], search_term: str
    ) -> tuple[QuerySet[UsageFeedEvent], bool]:
        term = search_term.strip()
        account = Account.parse_id(term)
        if account is None and term:
            account = Account.objects.filter(external_id__iexact=term).values_list("pk", flat=True).first()
        if account is not None:
            return queryset.filter(account_id=account), False
        if term.isascii() and term.isdigit() and len(term) < 19 and (found := queryset.filter(pk=int(term))).exists():
            return found, False
        rows: tuple[QuerySet[UsageFeedEvent], bool] = super().get_search_results(request, queryset, search_term)
        return rows

    def nav_badge(self, request: HttpRequest) -> str:
        uncounted = UsageFeedEvent.objects.filter(outcome=FeedOutcome.UNCOUNTED, collected_at__isnull=True).count()
        return str(uncounted) if uncounted else ""

    @service_action(
        description="Count now",
        permission="metering.record_feed_usage",
        effect=(
            "The rules of today look at the event again: its account, its meter and its quantity. What they find is "
            "counted at the time the event happened and billed with that period; nothing counts twice."
        ),
        allowed=_may_count,
        icon="calculate",
        variant=ActionVariant.PRIMARY,
        url_path="count",
    )
    def count_event(self, request: HttpRequest, event: UsageFeedEvent, call: Call) -> str:
        done = count_again(feed_id=event.pk, rules=get_export_rules(), at=call.at, actor=call.actor, reason=call.reason)
        return f"Event {done.pk} was {FeedOutcome(done.outcome).label.lower()}."
