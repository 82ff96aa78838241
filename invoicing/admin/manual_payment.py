"""Payments by hand: to read, and to take back when a cheque bounces. They are recorded on the account's page."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldBooleanSwitchWidget

from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.approvals import register_effect
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
from billing_site.platform.models import Approval
from invoicing.models import Invoice, ManualPayment, ManualPaymentPart, ManualPaymentStatus
from invoicing.services.manual_payment_approvals import (
    RECORD_KIND,
    REVERSE_KIND,
    find_paying_account,
    find_reversed_payment,
    reverse_or_request,
)
from invoicing.services.manual_payments import NewManualPayment

REVERSE = "invoicing.reverse_manual_payment"


class ReverseForm(ReasonForm):
    allow_negative = forms.BooleanField(
        required=False,
        label="Also when its credit was spent",
        help_text="The invoice credit of the account goes below zero then.",
        widget=UnfoldBooleanSwitchWidget(),
    )


class ManualPaymentPartInline(ReadOnlyInline):
    """What it paid."""

    model = ManualPaymentPart
    verbose_name_plural = "Invoices"
    fields = ("invoice_link", "shown_amount")
    readonly_fields = fields
    shown_amount = money_display("amount", "payment.currency", description="Paid")

    @admin.display(description="Invoice")
    def invoice_link(self, part: ManualPaymentPart) -> SafeString | str:
        return link_to(part.invoice)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ManualPaymentPart]:
        rows: QuerySet[ManualPaymentPart] = super().get_queryset(request)
        return rows.select_related("invoice", "payment")


@admin.register(ManualPayment)
class ManualPaymentAdmin(BackOfficeAdmin):
    """Money that came outside."""

    financial = True
    nav_icon = "receipt"
    nav_order = 36
    nav_title = "Payments by hand"
    empty_title = "No payment was recorded by hand yet"
    empty_text = "Open the account that paid by cheque, in cash or by wire, and choose “Record a payment”."
    list_display = ("label", "account_link", "state", "shown_amount", "received_on", "recorded_by")
    list_filter = ("status", "method", "currency")
    list_select_related = ("account",)
    search_fields = ("reference", "account__name", "account__external_id__iexact")
    search_help_text = "A reference, or the account's name or external id"
    actions_detail = ("reverse",)
    inlines = (ManualPaymentPartInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("label", "state"),
                    ("account_link", "received_on"),
                    ("shown_amount", "shown_credited"),
                    ("entry_link", "reversal_link"),
                    ("recorded_by", "approval_link"),
                    "note",
                    ("reversed", "reverse_reason"),
                    "public_id",
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("label", "state", "account_link", "shown_amount", "shown_credited", "entry_link", "reversal_link"),
        *("approval_link", "reversed", "public_id", "timeline"),
    )
    state = status_badge(tones={"recorded": "good", "reversed": "bad"})
    account_link = link_display("account", description="Account", ordering="account__name")
    shown_amount = money_display("amount", description="Amount")
    shown_credited = money_display("amount_credited", description="Became invoice credit")
    entry_link = link_display("entry", description="Ledger entry")
    reversal_link = link_display("reversal", description="Reversed by")
    approval_link = link_display("approval", description="Approved")
    reversed = timestamp_display("reversed_at", zone="account.timezone", description="Reversed")
    timeline = timeline_display()

    @admin.display(description="Payment")
    def label(self, payment: ManualPayment) -> str:
        return str(payment)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ManualPayment]:
        rows: QuerySet[ManualPayment] = super().get_queryset(request)
        return rows.select_related("account__test_clock", "entry", "reversal", "approval")

    @service_action(
        description="Take back",
        permission=REVERSE,
        effect="The money did not come after all: its ledger entry is reversed, what it paid is owed again. Above the "
        "limit of this installation, another person must approve it first.",
        allowed=lambda payment: payment.can_become(ManualPaymentStatus.REVERSED),
        form=ReverseForm,
        icon="undo",
        variant="danger",
    )
    def reverse(self, request: HttpRequest, payment: ManualPayment, call: Call) -> str:
        done = reverse_or_request(
            payment_id=payment.pk,
            at=call.at,
            actor=call.actor,
            reason=call.reason,
            allow_negative=call.data["allow_negative"],
        )
        if isinstance(done, Approval):
            return "Another person must approve that it is taken back."
        return f"{payment} is taken back."


def render_record(approval: Approval) -> SafeString | str:
    """Return what approving a payment books."""
    new = NewManualPayment.from_dict(approval.payload["payment"])
    keys = {public_id: Invoice.parse_id(public_id) for public_id, _ in new.parts}
    invoices = Invoice.objects.in_bulk([key for key in keys.values() if key is not None])
    rows = []
    for public_id, amount in new.parts:
        key = keys[public_id]
        invoice = None if key is None else invoices.get(key)
        rows.append((format_money(amount, new.currency), public_id if invoice is None else link_to(invoice)))
    return format_html(
        "<p>{} came by {} on {} (reference: {}). It pays:</p><ul>{}</ul><p>What is left becomes invoice credit.</p>",
        format_money(new.amount, new.currency),
        new.method,
        new.received_on.isoformat(),
        new.reference or NOTHING,
        format_html_join("", "<li>{} of {}</li>", rows),
    )


def render_reversal(approval: Approval) -> SafeString | str:
    """Return what approving a reversal takes back."""
    payment = find_reversed_payment(approval)
    if payment is None:
        return "The payment is gone."
    return format_html(
        "<p>{} over {} is taken back: what it paid is owed again.</p>",
        link_to(payment),
        format_money(payment.amount, payment.currency),
    )


register_effect(RECORD_KIND, render_record, find_subject=find_paying_account)
register_effect(REVERSE_KIND, render_reversal, find_subject=find_reversed_payment)
