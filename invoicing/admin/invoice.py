"""Invoices: to read, explain, finalize, void and download."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.decorators import action

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    format_money,
    link_display,
    link_to,
    money,
    money_display,
    period_display,
    quantity_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from billing_site.platform.services.approvals import find_pending
from invoicing.admin.collecting import CollectionActions, PaymentInline
from invoicing.admin.credit_note import CreditNoteInline
from invoicing.admin.crediting import CreditingActions
from invoicing.admin.explanations import explain_lines
from invoicing.admin.invoice_editing import EditingActions
from invoicing.admin.invoice_mails import MailActions
from invoicing.admin.papers import send_pdf, show_sheet
from invoicing.admin.refund import RefundInline
from invoicing.admin.refunding import RefundingActions
from invoicing.admin.reports import REPORTS_PAGE, ReportPages
from invoicing.calculation.explain_taxes import percent as show_percent
from invoicing.models import Invoice, InvoiceCredit, InvoiceLine, InvoiceStatus, InvoiceTax
from invoicing.queries.credit_notes import sum_credited
from invoicing.queries.documents import load_invoice_view
from invoicing.services.balance_payments import PAYABLE_STATUSES, pay_from_balance, preview_balance_payment
from invoicing.services.credit_notes import CREDIT_NOTE_KIND
from invoicing.services.documents import get_invoice_pdf
from invoicing.services.invoices import finalize_invoice, void_invoice
from invoicing.services.verification import verify_invoice

_state = status_badge()


class LineInline(ReadOnlyInline):
    """The lines, as they stand on the document."""

    model = InvoiceLine
    verbose_name_plural = "Lines"
    fields = (
        "position",
        "type",
        "description",
        "covered",
        "counted",
        "price_each",
        "line_amount",
        "line_discount",
        "centers",
    )
    readonly_fields = fields
    ordering = ("position",)
    covered = period_display(zone="invoice.account.timezone")
    counted = quantity_display("quantity")
    price_each = quantity_display("unit_amount", description="Unit price (minor)")
    line_amount = money_display("amount")
    line_discount = money_display("discount", description="Discount")

    @admin.display(description="Cost centers")
    def centers(self, line: InvoiceLine) -> SafeString | str:
        parts = ((str(part), format_money(part.amount, line.currency)) for part in line.splits.all())
        return format_html_join(mark_safe("<br>"), "{}: {}", parts) or NOTHING

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceLine]:
        rows: QuerySet[InvoiceLine] = super().get_queryset(request)
        return rows.select_related("invoice__account").prefetch_related("splits")


class TaxInline(ReadOnlyInline):
    """What each tax rate comes to."""

    model = InvoiceTax
    verbose_name_plural = "Tax by rate"
    fields = ("position", "name", "jurisdiction", "percent", "tax_base", "tax_amount", "inclusive", "note")
    readonly_fields = fields
    ordering = ("position",)
    tax_base = money_display("base", currency="invoice.currency", description="On")
    tax_amount = money_display("amount", currency="invoice.currency", description="Tax")

    @admin.display(description="Rate")
    def percent(self, tax: InvoiceTax) -> str:
        return f"{show_percent(tax.rate)} %"

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceTax]:
        rows: QuerySet[InvoiceTax] = super().get_queryset(request)
        return rows.select_related("invoice")


class CreditInline(ReadOnlyInline):
    """What stored money paid of the invoice, when it was issued and later."""

    model = InvoiceCredit
    verbose_name_plural = "Paid from stored money"
    fields = ("position", "source", "description", "grant_link", "entry_link", "paid_when", "paid_amount")
    readonly_fields = fields
    ordering = ("position",)
    grant_link = link_display("grant", description="Credit grant")
    entry_link = link_display("entry", description="Ledger entry")
    paid_when = timestamp_display("created_at", description="Paid")
    paid_amount = money_display("amount", currency="invoice.currency")

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceCredit]:
        rows: QuerySet[InvoiceCredit] = super().get_queryset(request)
        return rows.select_related("invoice", "grant", "entry")


@admin.register(Invoice)
class InvoiceAdmin(
    EditingActions,
    CollectionActions,
    CreditingActions,
    RefundingActions,
    MailActions,
    ReportPages,
    BackOfficeAdmin,
):
    """Issued documents never change; what may happen to one is an action with a reason."""

    financial = True
    nav_pages = (REPORTS_PAGE,)
    nav_order = 10
    empty_title = "No invoice yet"
    empty_text = "Publish a catalog, start a subscription and run the billing cycle: invoices appear here."
    list_display = ("label", "account_link", "state", "shown_total", "open_amount", "covered", "issue_date", "due_date")
    list_filter = ("status", "currency", "issue_date", "seller")
    list_select_related = ("account", "seller")
    search_fields = ("=number_text", "account__external_id__iexact", "account__email__iexact", "=run__id")
    search_help_text = "An exact number (INV-0042), or the account's external id or e-mail"
    actions = ("void",)
    actions_list = ("create",)
    actions_detail = (
        {"title": "Document", "icon": "article", "items": ["look", "download", "send_again"]},
        "finalize",
        {"title": "Edit", "icon": "edit", "items": ["add_line", "take_line", "put_discount"]},
        {"title": "Pay", "icon": "payments", "items": ["collect", "pay"]},
        {"title": "Correct", "icon": "undo", "items": ["refund", "credit", "reissue", "give_up", "void"]},
    )
    inlines = (LineInline, TaxInline, CreditInline, PaymentInline, CreditNoteInline, RefundInline)
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
                    ("shown_subtotal", "shown_discount", "discount_name"),
                    ("shown_tax", "shown_total"),
                    ("shown_credit", "shown_due"),
                    ("shown_paid", "payment_method"),
                    ("open_amount", "credited"),
                    "recomputed",
                )
            },
        ),
        ("Why this amount", {"fields": ("explanation",)}),
        ("Mails", {"fields": ("mails",)}),
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
        "discount_name",
        "shown_tax",
        "shown_total",
        "shown_credit",
        "payment_method",
        "shown_due",
        "shown_paid",
        "open_amount",
        "credited",
        "recomputed",
        "explanation",
        "mails",
        "timeline",
    )
    account_link = link_display("account", description="Account", ordering="account__name")
    run_link = link_display("run", description="Billing run")
    covered = period_display()
    finalized = timestamp_display("finalized_at", description="Issued")
    shown_subtotal = money_display("subtotal")
    shown_discount = money_display("discount")
    shown_tax = money_display("tax")
    shown_total = money_display("total")
    shown_credit = money_display("credit_applied", description="Credit applied")
    shown_due = money_display("amount_due", description="Amount due")
    shown_paid = money_display("amount_paid", description="Paid or credited")
    timeline = timeline_display()

    @admin.display(description="Subscription")
    def subscription_link(self, invoice: Invoice) -> SafeString | str:
        if invoice.is_grouped:
            members = [each.subscription for each in invoice.members.select_related("subscription__plan_version")]
            links = ((link_to(each, str(each.plan_version)),) for each in members)
            return format_html_join(mark_safe(", "), "{}", links)
        subscription = invoice.subscription
        return link_to(subscription, str(subscription.plan_version) if subscription else "")

    @admin.display(description="Status", ordering="status")
    def state(self, invoice: Invoice) -> SafeString | str:
        return badge("draft, in review", "warning") if invoice.in_review else _state(invoice)

    @admin.display(description="Number", ordering="number")
    def label(self, invoice: Invoice) -> str:
        return str(invoice)

    @admin.display(description="Open", ordering="amount_due")
    def open_amount(self, invoice: Invoice) -> SafeString | str:
        return money(invoice.amount_remaining, invoice.currency) if invoice.amount_remaining else NOTHING

    @admin.display(description="Taken back by credit notes")
    def credited(self, invoice: Invoice) -> SafeString | str:
        taken, waiting = sum_credited(invoice), find_pending(kind=CREDIT_NOTE_KIND, subject=invoice)
        shown = money(taken, invoice.currency) if taken else NOTHING
        return shown if waiting is None else format_html("{} {}", shown, link_to(waiting, f"{waiting.title} waits."))

    @admin.display(description="Recomputed")
    def recomputed(self, invoice: Invoice) -> SafeString:
        result = verify_invoice(invoice)
        if result.holds:
            return format_html('<span class="ch-badge ch-good">{}</span>', "The trace gives the same, to the cent")
        wrong = "; ".join(str(difference) for difference in result.differences)
        return format_html('<span class="ch-badge ch-bad">{}</span> {}', "Differs", wrong)

    @admin.display(description="")
    def explanation(self, invoice: Invoice) -> SafeString:
        return explain_lines(invoice)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invoice]:
        rows: QuerySet[Invoice] = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and match.url_name == "invoicing_invoice_changelist":
            return rows.defer("trace", "account_snapshot", "seller_snapshot")
        return rows.select_related("account__test_clock", "seller", "run", "subscription__plan_version")

    @action(description="View document", url_path="view", icon="article")  # type: ignore[untyped-decorator]
    def look(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the document as a page, in the words of its file."""
        invoice = self.get_object(request, object_id)
        if invoice is None or not self.has_view_permission(request, invoice):
            raise Http404("No such invoice.")
        return show_sheet(self, request, invoice, load_invoice_view(invoice))

    @action(description="Download PDF", url_path="pdf", icon="picture_as_pdf")  # type: ignore[untyped-decorator]
    def download(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send the stored document, or a marked preview of a draft."""
        invoice = self.get_object(request, object_id)
        if invoice is None or not self.has_view_permission(request, invoice):
            raise Http404("No such invoice.")
        return send_pdf(get_invoice_pdf(invoice), invoice.number_text or "draft")

    @service_action(
        description="Finalize",
        permission="invoicing.finalize_invoice",
        effect="Stored credit and prepaid money pay what they can; the draft gets the next number, is posted to the "
        "ledger and can never be changed again.",
        allowed=lambda invoice: invoice.status == InvoiceStatus.DRAFT and not invoice.in_review,
        icon="task_alt",
        variant="primary",
    )
    def finalize(self, request: HttpRequest, invoice: Invoice, call: Call) -> str:
        issued = finalize_invoice(invoice_id=invoice.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{issued} is issued: {format_money(issued.total, issued.currency)}."

    @service_action(
        description="Pay from balance",
        permission="invoicing.pay_invoice",
        effect=lambda invoices: " ".join(_tell_payment(invoice) for invoice in invoices),
        allowed=lambda invoice: invoice.status in PAYABLE_STATUSES,
        icon="account_balance_wallet",
    )
    def pay(self, request: HttpRequest, invoice: Invoice, call: Call) -> str:
        paid = pay_from_balance(invoice_id=invoice.pk, at=call.at, actor=call.actor, reason=call.reason)
        if not paid.amount_remaining:
            return f"{paid} is paid."
        return f"{paid}: {format_money(paid.amount_remaining, paid.currency)} stays open."

    @service_action(
        description="Void",
        permission="invoicing.void_invoice",
        effect="The invoice is cancelled: number kept, ledger entry reversed, credit and prepaid money that paid of it "
        "given back, its periods free to be billed again.",
        allowed=lambda invoice: invoice.can_become(InvoiceStatus.VOID),
        icon="block",
        variant="danger",
    )
    def void(self, request: HttpRequest, invoice: Invoice, call: Call) -> str:
        void_invoice(invoice_id=invoice.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{invoice} is void."


def _tell_payment(invoice: Invoice) -> str:
    """Say what stored money would pay of an invoice now, in the order in which it is taken."""
    settlement = preview_balance_payment(invoice, at=clock.now(invoice.account))
    if settlement is None:
        return f"The account has nothing stored that may pay {invoice}."
    sources = (
        ("invoice credit", settlement.invoice_credit),
        ("credit grants", settlement.granted),
        ("the prepaid balance", settlement.prepaid),
    )
    taken = [f"{format_money(amount, invoice.currency)} from {name}" for name, amount in sources if amount]
    rest = invoice.amount_remaining - settlement.applied
    what = f"{format_money(rest, invoice.currency)} of {invoice} stays open" if rest else f"{invoice} is paid then"
    return f"Taken now: {', '.join(taken)}. {what}. A subscription that waits for it becomes active."
