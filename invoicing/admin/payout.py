"""Payouts: to read, cancel, and approve above the limit. They are asked for on the payee's page."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.approvals import register_effect
from billing_site.backoffice.display import (
    format_money,
    link_display,
    link_to,
    money_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.platform.models import Approval
from invoicing.models import Payout, PayoutStatus
from invoicing.services.payout_sending import cancel_payout
from invoicing.services.payouts import PAYOUT_KIND, find_payout

CANCEL = "invoicing.cancel_payout"


def _is_pending(payout: Payout) -> bool:
    return payout.can_become(PayoutStatus.CANCELED)


@admin.register(Payout)
class PayoutAdmin(BackOfficeAdmin):
    """Money that is sent out."""

    financial = True
    nav_icon = "output"
    nav_order = 35
    nav_title = "Payouts"
    empty_title = "No payout yet"
    empty_text = "Open an account to which money is owed and choose “Pay out”, or ask for one through the API."
    list_display = ("label", "state", "shown_amount", "account_link", "destination_link", "origin", "created")
    list_filter = ("status", "origin", "currency", "provider_type")
    list_select_related = ("account", "destination")
    search_fields = ("=provider_ref", "description", "account__name", "account__external_id__iexact")
    search_help_text = "The provider's id, a description, the payee's name or external id, or an id such as po_…"
    actions_detail = ("cancel",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("label", "state"),
                    ("shown_amount", "account_link"),
                    ("destination_type", "destination_link"),
                    ("arrival_date", "ended"),
                    ("failure_code", "failure_message"),
                    ("entry_link", "approval_link"),
                    ("provider_type", "provider_ref"),
                    ("called", "asked"),
                    ("origin", "requested_by"),
                    "public_id",
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("label", "state", "shown_amount", "account_link", "destination_link", "ended", "entry_link"),
        *("approval_link", "called", "asked", "public_id", "timeline"),
    )
    state = status_badge(tones={"paid": "good", "failed": "bad", "in_transit": "info", "pending": "info"})
    shown_amount = money_display("amount", description="Amount")
    account_link = link_display("account", description="Payee")
    destination_link = link_display("destination", description="To")
    entry_link = link_display("entry", description="Ledger entry")
    approval_link = link_display("approval", description="Approval")
    created = timestamp_display("created_at", description="Asked for")
    called = timestamp_display("called_at", description="Handed to the provider")
    asked = timestamp_display("asked_at", description="Provider last asked")
    ended = timestamp_display("ended_at", description="Ended")
    timeline = timeline_display()

    @admin.display(description="Payout")
    def label(self, payout: Payout) -> str:
        return str(payout)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payout]:
        rows: QuerySet[Payout] = super().get_queryset(request)
        return rows.select_related("account__test_clock", "destination", "entry", "approval")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Payout], search_term: str
    ) -> tuple[QuerySet[Payout], bool]:
        key = Payout.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    @service_action(
        description="Cancel",
        permission=CANCEL,
        effect="The payout is not sent, and the money it held is back. One that the provider has already is called "
        "back, if it has not left.",
        allowed=_is_pending,
        icon="block",
        variant="danger",
    )
    def cancel(self, request: HttpRequest, payout: Payout, call: Call) -> str:
        cancel_payout(payout_id=payout.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{payout} is canceled."


def render_payout(approval: Approval) -> SafeString | str:
    """Return what approving a payout sends, or sent."""
    payout = find_payout(approval)
    if payout is None:
        return "The payout is gone."
    if not approval.is_pending:
        return format_html("<p>{} is {} now.</p>", link_to(payout), payout.get_status_display().lower())
    return format_html(
        "<p>{} are sent to {} of {}. The money is held already; refusing gives it back.</p>",
        format_money(payout.amount, payout.currency),
        link_to(payout.destination),
        link_to(payout.account) if payout.account is not None else "our own account",
    )


register_effect(PAYOUT_KIND, render_payout, find_subject=find_payout)
