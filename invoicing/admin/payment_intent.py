"""Payments through a provider: to read, to ask about, to capture and to give up."""

from __future__ import annotations

from collections.abc import Sequence

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from billing_site.backoffice.actions import Call, ObjectForm, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    format_money,
    link_display,
    money_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from billing_site.kernel.money import format_decimal, parse_major
from invoicing.admin.refund import PaymentRefundInline
from invoicing.admin.refunding import PaymentRefundingActions
from invoicing.models import IntentStatus, PaymentAllocation, PaymentIntent
from invoicing.services.payment_intents import cancel_intent, capture_intent
from invoicing.services.settling_sweep import settle_payment


class PaidInvoiceInline(ReadOnlyInline):
    """The invoices that the payment is for."""

    model = PaymentAllocation
    verbose_name_plural = "Invoices"
    fields = ("invoice_link", "meant", "paid", "entry_link")
    readonly_fields = fields
    ordering = ("invoice_id",)
    invoice_link = link_display("invoice", description="Invoice")
    entry_link = link_display("entry", description="Ledger entry")
    meant = money_display("amount", currency="intent.currency", description="To be paid")
    paid = money_display("applied", currency="intent.currency", description="Paid")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PaymentAllocation]:
        rows: QuerySet[PaymentAllocation] = super().get_queryset(request)
        return rows.select_related("invoice", "intent", "entry")


class CaptureForm(ObjectForm):
    """How much to take of what is authorised."""

    amount = forms.CharField(
        max_length=30, widget=UnfoldAdminTextInputWidget(), help_text="What is not taken is released."
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.obj, PaymentIntent):
            self.fields["amount"].initial = format_decimal(self.obj.amount_capturable, self.obj.currency)

    def clean_amount(self) -> int:
        """Return minor units."""
        try:
            return parse_major(self.cleaned_data["amount"], self.obj.currency)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


def _foresee_canceling(intents: Sequence[PaymentIntent]) -> str:
    return " ".join(
        f"{format_money(intent.amount_capturable, intent.currency)} that are set aside are released."
        if intent.amount_capturable
        else f"{intent} is given up; nothing was taken."
        for intent in intents
    )


@admin.register(PaymentIntent)
class PaymentIntentAdmin(PaymentRefundingActions, BackOfficeAdmin):
    """Payments through a provider. Their rows change only by what the provider says."""

    financial = True
    nav_icon = "payments"
    nav_order = 14
    nav_title = "Payments"
    empty_title = "No payment yet"
    empty_text = "Invoices of accounts with a card are collected by themselves; top-ups and other payments appear too."
    list_display = ("label", "account_link", "state", "shown_amount", "received", "refunded", "purpose", "method_link")
    list_filter = ("status", "purpose", "provider_type", "currency", "decline_reason", "created_at")
    list_select_related = ("account", "payment_method")
    search_fields = (
        "=provider_ref",
        "=allocations__invoice__number_text",
        "account__external_id__iexact",
        "account__email__iexact",
    )
    search_help_text = "An id (pi_…), the provider's id, an invoice number, or the account's external id or e-mail"
    actions_detail = ("refund", "ask", "capture", "give_up")
    inlines = (PaidInvoiceInline, PaymentRefundInline)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("label", "state"),
                    ("account_link", "method_link"),
                    ("purpose", "attempt"),
                    ("public_id", "provider_ref"),
                    ("created", "succeeded"),
                    "canceled",
                )
            },
        ),
        (
            "Amounts",
            {
                "fields": (
                    ("shown_amount", "capturable"),
                    ("received", "refunded", "shown_fee"),
                )
            },
        ),
        (
            "The provider",
            {
                "fields": (
                    ("provider_type", "off_session"),
                    ("capture_method", "waiting"),
                    ("call_key", "called"),
                    ("decline_reason", "last_error"),
                    ("cancellation_reason", "description"),
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("label", "state", "account_link", "method_link", "public_id", "created", "succeeded", "canceled"),
        *("shown_amount", "capturable", "received", "refunded", "shown_fee", "waiting", "called", "timeline"),
    )
    state = status_badge()
    account_link = link_display("account", description="Account", ordering="account__name")
    method_link = link_display("payment_method", description="Payment method")
    created = timestamp_display("created_at", description="Begun")
    succeeded = timestamp_display("succeeded_at", description="Succeeded")
    canceled = timestamp_display("canceled_at", description="Given up")
    called = timestamp_display("called_at", description="Asked")
    shown_amount = money_display("amount")
    capturable = money_display("amount_capturable", description="Set aside")
    received = money_display("amount_received", description="Received")
    refunded = money_display("amount_refunded", description="Given back")
    shown_fee = money_display("fee", description="Kept by the provider")
    timeline = timeline_display()

    @admin.display(description="Payment", ordering="id")
    def label(self, intent: PaymentIntent) -> str:
        return str(intent)

    @admin.display(description="Waits for")
    def waiting(self, intent: PaymentIntent) -> SafeString | str:
        return badge(f"the answer to {intent.pending_call}", "warning") if intent.pending_call else NOTHING

    def get_queryset(self, request: HttpRequest) -> QuerySet[PaymentIntent]:
        rows: QuerySet[PaymentIntent] = super().get_queryset(request)
        return rows.select_related("account__test_clock", "payment_method")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PaymentIntent], search_term: str
    ) -> tuple[QuerySet[PaymentIntent], bool]:
        key = PaymentIntent.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    @service_action(
        description="Ask the provider",
        permission="invoicing.settle_payment",
        effect="What the provider says of the payment is recorded: money that came is booked, once.",
        allowed=lambda intent: intent.is_unsettled,
        icon="sync",
    )
    def ask(self, request: HttpRequest, intent: PaymentIntent, call: Call) -> str:
        settled = settle_payment(intent_id=intent.pk, at=clock.now(), actor=call.actor)
        now = PaymentIntent.objects.get(pk=intent.pk)
        return f"{now} is {now.get_status_display().lower()}." if settled else "The provider has not answered yet."

    @service_action(
        description="Capture",
        permission="invoicing.capture_payment",
        effect="The money that was set aside is taken.",
        allowed=lambda intent: intent.status == IntentStatus.REQUIRES_CAPTURE and not intent.pending_call,
        form=CaptureForm,
        icon="download_done",
    )
    def capture(self, request: HttpRequest, intent: PaymentIntent, call: Call) -> str:
        captured = capture_intent(intent_id=intent.pk, at=call.at, actor=call.actor, amount=call.data["amount"])
        return f"{format_money(captured.amount_received, captured.currency)} taken."

    @service_action(
        description="Give up",
        permission="invoicing.cancel_payment",
        effect=_foresee_canceling,
        allowed=lambda intent: (
            intent.can_become(IntentStatus.CANCELED)
            and intent.status != IntentStatus.PROCESSING
            and not intent.pending_call
        ),
        icon="block",
        variant="danger",
    )
    def give_up(self, request: HttpRequest, intent: PaymentIntent, call: Call) -> str:
        given_up = cancel_intent(intent_id=intent.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{given_up} is {given_up.get_status_display().lower()}."
