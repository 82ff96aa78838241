"""Refunds: to read, and to try again. They are asked for from the page of the invoice or of the payment."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    NOTHING,
    format_money,
    link_display,
    link_to,
    money_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from invoicing.models import Refund, RefundSource, RefundStatus
from invoicing.queries.refunds import list_batch
from invoicing.services.refund_settling import retry_refund, write_missing_note

TONES = {"succeeded": "good", "pending": "warning", "failed": "bad", "canceled": "neutral"}


class RefundInline(ReadOnlyInline):
    """The refunds of an invoice or of a payment, oldest first."""

    model = Refund
    fk_name = "invoice"
    verbose_name_plural = "Refunds"
    fields = ("refund_link", "state", "destination", "shown_amount", "note_link", "ended")
    readonly_fields = fields
    ordering = ("id",)
    state = status_badge(tones=TONES, description="Status")
    shown_amount = money_display("amount")
    note_link = link_display("credit_note", description="Credit note")
    ended = timestamp_display("ended_at", zone="account.timezone", description="Ended")

    @admin.display(description="Refund")
    def refund_link(self, refund: Refund) -> SafeString | str:
        return link_to(refund, refund.public_id[:12])

    def get_queryset(self, request: HttpRequest) -> QuerySet[Refund]:
        rows: QuerySet[Refund] = super().get_queryset(request)
        return rows.select_related("credit_note", "account")


class PaymentRefundInline(RefundInline):
    """The refunds of a payment, oldest first."""

    fk_name = "payment_intent"


def _can_be_retried(refund: Refund) -> bool:
    return (
        refund.status == RefundStatus.FAILED
        and refund.source != RefundSource.OUTSIDE
        and not Refund.objects.filter(retry_of=refund).exists()
    )


def _lacks_note(refund: Refund) -> bool:
    return refund.is_uncovered and refund.invoice_id is not None


@admin.register(Refund)
class RefundAdmin(BackOfficeAdmin):
    """Money that went back, or is to. Amounts and states come from the services and the provider."""

    financial = True
    nav_icon = "currency_exchange"
    nav_order = 13
    empty_title = "No refund yet"
    empty_text = "Open a paid invoice or a payment and choose “Refund” to give money back."
    list_display = (
        *("label", "account_link", "state", "shown_amount", "destination", "invoice_link", "note_link", "asked"),
    )
    list_filter = ("status", "destination", "reason", "source", "currency", "provider_type")
    list_select_related = ("account", "invoice", "credit_note")
    search_fields = (
        "=provider_ref",
        "=receipt_number",
        "=invoice__number_text",
        "account__external_id__iexact",
        "account__email__iexact",
        "account__name",
    )
    search_help_text = "An id such as re_…, the provider's name of it, a number of an invoice, or the account"
    actions_detail = ("retry", "write_note")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("public_id", "state"),
                    ("account_link", "shown_amount"),
                    ("invoice_link", "note_link"),
                    ("payment_link", "destination"),
                    ("reason", "approval_link"),
                    "together",
                )
            },
        ),
        (
            "At the provider",
            {
                "fields": (
                    ("provider_type", "provider_ref"),
                    ("asked_provider", "ended"),
                    ("receipt_number", "failure_reason"),
                    ("source", "retry_link"),
                    "entry_link",
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("public_id", "state", "account_link", "shown_amount", "invoice_link", "note_link", "payment_link"),
        *("approval_link", "together", "asked_provider", "ended", "retry_link", "entry_link", "timeline"),
    )
    state = status_badge(tones=TONES)
    account_link = link_display("account", description="Account", ordering="account__name")
    invoice_link = link_display("invoice", description="Invoice")
    note_link = link_display("credit_note", description="Credit note")
    payment_link = link_display("payment_intent", description="Payment")
    approval_link = link_display("approval", description="Second person")
    retry_link = link_display("retry_of", description="Tried again after")
    entry_link = link_display("entry", description="Ledger entry")
    shown_amount = money_display("amount", description="Amount")
    asked = timestamp_display("created_at", description="Asked for", ordering="id")
    asked_provider = timestamp_display("called_at", description="Asked there")
    ended = timestamp_display("ended_at", description="Ended")
    timeline = timeline_display()

    @admin.display(description="Refund", ordering="id")
    def label(self, refund: Refund) -> str:
        return refund.public_id

    @admin.display(description="Of the same request")
    def together(self, refund: Refund) -> SafeString | str:
        from django.utils.html import format_html_join

        others = [row for row in list_batch(refund.batch) if row.pk != refund.pk]
        if not others:
            return NOTHING
        named = ((link_to(row, f"{format_money(row.amount, row.currency)}, {row.status}"),) for row in others)
        return format_html_join("; ", "{}", named)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Refund]:
        rows: QuerySet[Refund] = super().get_queryset(request)
        return rows.select_related(
            *("account__test_clock", "invoice", "credit_note", "payment_intent", "approval", "retry_of", "entry")
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Refund], search_term: str
    ) -> tuple[QuerySet[Refund], bool]:
        key = Refund.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    @service_action(
        description="Try again",
        permission="invoicing.create_refund",
        effect="What came back of the refund as invoice credit is taken once more and sent the same way.",
        allowed=_can_be_retried,
        icon="replay",
    )
    def retry(self, request: HttpRequest, refund: Refund, call: Call) -> str:
        again = retry_refund(refund_id=refund.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{format_money(again.amount, again.currency)} are sent again."

    @service_action(
        description="Write the credit note",
        permission="invoicing.create_refund",
        effect="The provider gave this money back by itself. The invoice gets the credit note that it lacks for it.",
        allowed=_lacks_note,
        icon="assignment_return",
    )
    def write_note(self, request: HttpRequest, refund: Refund, call: Call) -> str:
        note = write_missing_note(refund_id=refund.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{note} is issued."
