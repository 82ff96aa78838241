"""Collecting from the page of an invoice: what would be charged, and charging it."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet
from django.http import HttpRequest

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import ReadOnlyInline
from billing_site.backoffice.display import (
    format_money,
    link_display,
    money_display,
    status_badge,
    timestamp_display,
)
from billing_site.kernel import clock
from invoicing.models import Invoice, PaymentAllocation
from invoicing.queries.collection import choose_method, is_collected_by_itself
from invoicing.services.balance_payments import PAYABLE_STATUSES, preview_balance_payment
from invoicing.services.collecting import collect_invoice


class PaymentInline(ReadOnlyInline):
    """The payments through a provider that were to pay the invoice."""

    model = PaymentAllocation
    verbose_name_plural = "Payments"
    fields = ("payment_link", "state", "method_link", "meant", "paid", "error", "began")
    readonly_fields = fields
    ordering = ("id",)
    payment_link = link_display("intent", description="Payment")
    method_link = link_display("intent.payment_method", description="Method")
    state = status_badge("intent.status", description="Status")
    meant = money_display("amount", currency="invoice.currency", description="To be paid")
    paid = money_display("applied", currency="invoice.currency", description="Paid")
    began = timestamp_display("intent.created_at", description="Begun")

    def error(self, row: PaymentAllocation) -> str:
        return row.intent.last_error

    def get_queryset(self, request: HttpRequest) -> QuerySet[PaymentAllocation]:
        rows: QuerySet[PaymentAllocation] = super().get_queryset(request)
        return rows.select_related("invoice", "intent__payment_method")


def _foresee(invoices: Sequence[Invoice]) -> str:
    return " ".join(_tell(invoice) for invoice in invoices)


def _tell(invoice: Invoice) -> str:
    """Say what would be taken, and from where."""
    stored = preview_balance_payment(invoice, at=clock.now(invoice.account))
    taken = 0 if stored is None else stored.applied
    rest = invoice.amount_remaining - taken
    first = f"{format_money(taken, invoice.currency)} of {invoice} come from stored money. " if taken else ""
    if not rest:
        return f"{first}Nothing is charged."
    method = choose_method(invoice) if is_collected_by_itself(invoice) else None
    if method is None:
        return f"{first}No payment method is charged: {format_money(rest, invoice.currency)} stays open."
    return f"{first}{method} is charged {format_money(rest, invoice.currency)}."


class CollectionActions:
    """The actions of an invoice's page that collect it."""

    @service_action(
        description="Collect now",
        permission="invoicing.collect_invoice",
        effect=_foresee,
        allowed=lambda invoice: invoice.status in PAYABLE_STATUSES,
        icon="credit_card",
    )
    def collect(self, request: HttpRequest, invoice: Invoice, call: Call) -> str:
        collected, collection = collect_invoice(invoice_id=invoice.pk, at=call.at, actor=call.actor, reason=call.reason)
        if collection.success:
            return f"{collected} is paid: {format_money(collection.amount_charged, collected.currency)} taken."
        rest = format_money(collected.amount_remaining, collected.currency)
        return f"{collected}: {rest} stays open. {collection.error}"
