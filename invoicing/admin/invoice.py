"""Invoices: to read, explain, finalize, void and download."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    NOTHING,
    format_money,
    format_period,
    link_display,
    link_to,
    money,
    money_display,
    period_display,
    quantity_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import Explanation, Step, render_explanations, timeline_display
from invoicing.models import Invoice, InvoiceLine, InvoiceStatus
from invoicing.services.documents import get_invoice_pdf
from invoicing.services.invoices import finalize_invoice, void_invoice
from invoicing.services.verification import verify_invoice


class LineInline(ReadOnlyInline):
    """The lines, as they stand on the document."""

    model = InvoiceLine
    verbose_name_plural = "Lines"
    fields = ("position", "type", "description", "covered", "counted", "price_each", "line_amount")
    readonly_fields = fields
    ordering = ("position",)
    covered = period_display(zone="invoice.account.timezone")
    counted = quantity_display("quantity")
    price_each = quantity_display("unit_amount", description="Unit price (minor)")
    line_amount = money_display("amount")

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceLine]:
        rows: QuerySet[InvoiceLine] = super().get_queryset(request)
        return rows.select_related("invoice__account")


@admin.register(Invoice)
class InvoiceAdmin(BackOfficeAdmin):
    """Issued documents never change; what may happen to one is an action with a reason."""

    financial = True
    nav_order = 10
    empty_title = "No invoice yet"
    empty_text = "Publish a catalog, start a subscription and run the billing cycle: invoices appear here."
    list_display = ("label", "account_link", "state", "shown_total", "open_amount", "covered", "issue_date", "due_date")
    list_filter = ("status", "currency", "issue_date", "seller")
    list_select_related = ("account", "seller")
    search_fields = ("=number_text", "account__external_id__iexact", "account__email__iexact", "=run__id")
    search_help_text = "An exact number (INV-0042), or the account's external id or e-mail"
    actions = ("void",)
    actions_detail = ("download", "finalize", "void")
    inlines = (LineInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("label", "state"),
                    ("account_link", "subscription_link"),
                    ("covered", "run_link"),
                    ("issue_date", "due_date"),
                    ("public_id", "finalized"),
                )
            },
        ),
        (
            "Amounts",
            {
                "fields": (
                    ("shown_subtotal", "shown_discount"),
                    ("shown_tax", "shown_total"),
                    ("shown_due", "shown_paid"),
                    ("open_amount", "recomputed"),
                )
            },
        ),
        ("Why this amount", {"fields": ("explanation",)}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        "label",
        "public_id",
        "state",
        "account_link",
        "subscription_link",
        "run_link",
        "covered",
        "finalized",
        "shown_subtotal",
        "shown_discount",
        "shown_tax",
        "shown_total",
        "shown_due",
        "shown_paid",
        "open_amount",
        "recomputed",
        "explanation",
        "timeline",
    )
    state = status_badge()
    account_link = link_display("account", description="Account", ordering="account__name")
    run_link = link_display("run", description="Billing run")
    covered = period_display()
    finalized = timestamp_display("finalized_at", description="Issued")
    shown_subtotal = money_display("subtotal")
    shown_discount = money_display("discount")
    shown_tax = money_display("tax")
    shown_total = money_display("total")
    shown_due = money_display("amount_due", description="Amount due")
    shown_paid = money_display("amount_paid", description="Paid")
    timeline = timeline_display()

    @admin.display(description="Subscription")
    def subscription_link(self, invoice: Invoice) -> SafeString | str:
        subscription = invoice.subscription
        return link_to(subscription, str(subscription.plan_version) if subscription else "")

    @admin.display(description="Number", ordering="number")
    def label(self, invoice: Invoice) -> str:
        return str(invoice)

    @admin.display(description="Open", ordering="amount_due")
    def open_amount(self, invoice: Invoice) -> SafeString | str:
        return money(invoice.amount_remaining, invoice.currency) if invoice.amount_remaining else NOTHING

    @admin.display(description="Recomputed")
    def recomputed(self, invoice: Invoice) -> SafeString:
        result = verify_invoice(invoice)
        if result.holds:
            return format_html('<span class="ch-badge ch-good">{}</span>', "The trace gives the same, to the cent")
        wrong = "; ".join(str(difference) for difference in result.differences)
        return format_html('<span class="ch-badge ch-bad">{}</span> {}', "Differs", wrong)

    @admin.display(description="")
    def explanation(self, invoice: Invoice) -> SafeString:
        lines = [_explain(line, invoice) for line in invoice.lines.order_by("position")[:50]]
        return render_explanations(lines, intro="Stored when the invoice was made; each line is rounded once.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invoice]:
        rows: QuerySet[Invoice] = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and match.url_name == "invoicing_invoice_changelist":
            return rows.defer("trace", "account_snapshot", "seller_snapshot")
        return rows.select_related("account__test_clock", "seller", "run", "subscription__plan_version")

    @action(description="Download PDF", url_path="pdf", icon="picture_as_pdf")  # type: ignore[untyped-decorator]
    def download(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send the stored document, or a marked preview of a draft."""
        invoice = self.get_object(request, object_id)
        if invoice is None or not self.has_view_permission(request, invoice):
            raise Http404("No such invoice.")
        response = HttpResponse(get_invoice_pdf(invoice), content_type="application/pdf")
        response["Content-Disposition"] = f'inline; filename="{invoice.number_text or "draft"}.pdf"'
        return response

    @service_action(
        description="Finalize",
        permission="invoicing.finalize_invoice",
        effect="The draft gets the next number, is posted to the ledger and can never be changed again.",
        allowed=lambda invoice: invoice.status == InvoiceStatus.DRAFT,
        icon="task_alt",
        variant="primary",
    )
    def finalize(self, request: HttpRequest, invoice: Invoice, call: Call) -> str:
        issued = finalize_invoice(invoice_id=invoice.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{issued} is issued: {format_money(issued.total, issued.currency)}."

    @service_action(
        description="Void",
        permission="invoicing.void_invoice",
        effect="The invoice is cancelled: number kept, ledger entry reversed, its periods free to be billed again.",
        allowed=lambda invoice: invoice.can_become(InvoiceStatus.VOID) and not invoice.amount_paid,
        icon="block",
        variant="danger",
    )
    def void(self, request: HttpRequest, invoice: Invoice, call: Call) -> str:
        void_invoice(invoice_id=invoice.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{invoice} is void."


def _explain(line: InvoiceLine, invoice: Invoice) -> Explanation:
    steps: list[dict[str, Any]] = line.trace.get("steps", [])
    return Explanation(
        title=f"{line.position}. {line.description}",
        value=format_money(line.amount, line.currency),
        subtitle=str(format_period(line.period_start, line.period_end, invoice.account.timezone)),
        steps=[Step(step["title"], step["formula"], step["value"]) for step in steps],
    )
