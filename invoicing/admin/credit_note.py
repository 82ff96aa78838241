"""Credit notes: to read, explain, void and download. They are issued from the invoice's page."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    format_money,
    link_display,
    link_to,
    money_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from invoicing.admin.explanations import explain_note
from invoicing.admin.invoice_mails import MailActions
from invoicing.admin.papers import send_pdf, show_sheet
from invoicing.calculation.explain_taxes import percent as show_percent
from invoicing.models import CreditNote, CreditNoteLine, CreditNoteStatus, CreditNoteTax
from invoicing.queries.credit_note_documents import load_credit_note_view
from invoicing.services.credit_note_documents import get_credit_note_pdf
from invoicing.services.credit_note_verification import verify_credit_note
from invoicing.services.credit_notes import void_credit_note

VOID = "invoicing.void_credit_note"


class NoteLineInline(ReadOnlyInline):
    """What is credited of each line, before tax."""

    model = CreditNoteLine
    verbose_name_plural = "Lines"
    fields = ("position", "description", "invoiced_as", "invoiced", "credited")
    readonly_fields = fields
    ordering = ("position",)
    credited = money_display("amount", "credit_note.currency", description="Credited")

    @admin.display(description="Line of the invoice")
    def invoiced_as(self, line: CreditNoteLine) -> str:
        return f"{line.invoice_line.position}. {line.invoice_line.description}"

    @admin.display(description="Invoiced")
    def invoiced(self, line: CreditNoteLine) -> str:
        origin = line.invoice_line
        return format_money(origin.amount - origin.discount, origin.currency)

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditNoteLine]:
        rows: QuerySet[CreditNoteLine] = super().get_queryset(request)
        return rows.select_related("credit_note", "invoice_line")


class NoteTaxInline(ReadOnlyInline):
    """The tax that is credited, by rate of the invoice."""

    model = CreditNoteTax
    verbose_name_plural = "Tax by rate"
    fields = ("position", "name", "percent", "tax_base", "tax_amount")
    readonly_fields = fields
    ordering = ("position",)
    tax_base = money_display("base", currency="credit_note.currency", description="On")
    tax_amount = money_display("amount", currency="credit_note.currency", description="Tax")

    @admin.display(description="Rate")
    def percent(self, tax: CreditNoteTax) -> str:
        return f"{show_percent(tax.rate)} %"

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditNoteTax]:
        rows: QuerySet[CreditNoteTax] = super().get_queryset(request)
        return rows.select_related("credit_note")


class CreditNoteInline(ReadOnlyInline):
    """The credit notes of an invoice, oldest first."""

    model = CreditNote
    verbose_name_plural = "Credit notes"
    fields = ("note_link", "state", "issue_date", "net", "taxes", "sum")
    readonly_fields = fields
    ordering = ("id",)
    state = status_badge(description="Status")
    net = money_display("subtotal", description="Net")
    taxes = money_display("tax", description="Tax")
    sum = money_display("total", description="Total")

    @admin.display(description="Number")
    def note_link(self, note: CreditNote) -> SafeString | str:
        return link_to(note)


def _is_issued(note: CreditNote) -> bool:
    return note.can_become(CreditNoteStatus.VOID)


def _foresee_voiding(notes: Sequence[CreditNote]) -> str:
    return " ".join(_tell_voiding(note) for note in notes)


def _tell_voiding(note: CreditNote) -> str:
    parts = [f"{note} is cancelled: its number stays used, its ledger entry is reversed."]
    if note.amount_applied:
        owed = format_money(note.amount_applied, note.currency)
        parts.append(f"{owed} of {note.invoice} are to be paid again.")
    if note.amount_credited:
        given = format_money(note.amount_credited, note.currency)
        parts.append(f"{given} of invoice credit are taken from {note.account}; they must still be there.")
    if note.out_of_band_amount:
        outside = format_money(note.out_of_band_amount, note.currency)
        parts.append(f"{outside} that were booked as paid back outside are booked as received.")
    return " ".join(parts)


@admin.register(CreditNote)
class CreditNoteAdmin(MailActions, BackOfficeAdmin):
    """What was taken back of issued invoices. Notes never change; they can be voided."""

    financial = True
    nav_icon = "assignment_return"
    nav_order = 12
    nav_title = "Credit notes"
    empty_title = "No credit note yet"
    empty_text = "An issued invoice never changes: open it and choose “Issue a credit note” to take some of it back."
    list_display = (
        *("label", "invoice_link", "account_link", "state", "shown_total", "disposition", "reason", "issue_date"),
    )
    list_filter = ("status", "disposition", "reason", "currency", "issue_date", "seller")
    list_select_related = ("account", "invoice")
    search_fields = (
        "=number_text",
        "=invoice__number_text",
        "account__external_id__iexact",
        "account__email__iexact",
        "account__name",
    )
    search_help_text = "A number (CN-0042 or INV-0042), an id such as cn_…, or the account's name, id or e-mail"
    actions_detail = ("look", "download", "send_again", "void")
    inlines = (NoteLineInline, NoteTaxInline)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("label", "state"),
                    ("invoice_link", "account_link"),
                    ("issue_date", "issued"),
                    ("entry_link", "approval_link"),
                    "public_id",
                )
            },
        ),
        (
            "Amounts",
            {
                "fields": (
                    ("shown_subtotal", "shown_tax", "shown_total"),
                    ("shown_applied", "shown_credited", "shown_outside"),
                    ("reason", "disposition"),
                    "memo",
                    "recomputed",
                )
            },
        ),
        ("Voided", {"fields": (("voided", "reversal"), "void_reason")}),
        ("Why this amount", {"fields": ("explanation",)}),
        ("Mails", {"fields": ("mails",)}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("label", "state", "invoice_link", "account_link", "issued", "entry_link", "approval_link", "public_id"),
        *("shown_subtotal", "shown_tax", "shown_total", "shown_applied", "shown_credited", "shown_outside"),
        *("recomputed", "voided", "reversal", "explanation", "mails", "timeline"),
    )
    state = status_badge()
    invoice_link = link_display("invoice", description="Invoice", ordering="invoice__number")
    account_link = link_display("account", description="Account", ordering="account__name")
    entry_link = link_display("entry", description="Ledger entry")
    approval_link = link_display("approval", description="Approved")
    issued = timestamp_display("issued_at", description="Issued")
    voided = timestamp_display("voided_at", description="Voided")
    shown_subtotal = money_display("subtotal", description="Net")
    shown_tax = money_display("tax", description="Tax")
    shown_total = money_display("total", description="Total")
    shown_applied = money_display("amount_applied", description="Not to be paid any more")
    shown_credited = money_display("amount_credited", description="Became invoice credit")
    shown_outside = money_display("out_of_band_amount", description="Paid back outside")
    timeline = timeline_display()

    @admin.display(description="Number", ordering="number")
    def label(self, note: CreditNote) -> str:
        return str(note)

    @admin.display(description="Reversed by")
    def reversal(self, note: CreditNote) -> SafeString | str:
        return link_to(next(iter(note.entry.reversals.all()), None))

    @admin.display(description="Recomputed")
    def recomputed(self, note: CreditNote) -> SafeString:
        result = verify_credit_note(note)
        if result.holds:
            return format_html('<span class="ch-badge ch-good">{}</span>', "The trace gives the same, to the cent")
        wrong = "; ".join(str(difference) for difference in result.differences)
        return format_html('<span class="ch-badge ch-bad">{}</span> {}', "Differs", wrong)

    @admin.display(description="")
    def explanation(self, note: CreditNote) -> SafeString:
        return explain_note(note)

    def get_fieldsets(self, request: HttpRequest, obj: CreditNote | None = None) -> list[object]:
        """Leave out voiding of a note that stands."""
        stands = obj is not None and obj.status == CreditNoteStatus.ISSUED
        return [part for part in super().get_fieldsets(request, obj) if not (stands and part[0] == "Voided")]

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditNote]:
        rows: QuerySet[CreditNote] = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and match.url_name == "invoicing_creditnote_changelist":
            return rows.defer("trace", "account_snapshot", "seller_snapshot")
        rows = rows.select_related("account__test_clock", "invoice__account", "seller", "entry", "approval")
        return rows.prefetch_related("entry__reversals")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[CreditNote], search_term: str
    ) -> tuple[QuerySet[CreditNote], bool]:
        key = CreditNote.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    @action(description="View document", url_path="view", icon="article")  # type: ignore[untyped-decorator]
    def look(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the document as a page, in the words of its file."""
        note = self._find(request, object_id)
        return show_sheet(self, request, note, load_credit_note_view(note))

    @action(description="Download PDF", url_path="pdf", icon="picture_as_pdf")  # type: ignore[untyped-decorator]
    def download(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send the stored document."""
        note = self._find(request, object_id)
        return send_pdf(get_credit_note_pdf(note), note.number_text)

    @service_action(
        description="Void",
        permission=VOID,
        effect=_foresee_voiding,
        allowed=_is_issued,
        icon="block",
        variant="danger",
    )
    def void(self, request: HttpRequest, note: CreditNote, call: Call) -> str:
        void_credit_note(credit_note_id=note.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{note} is void."

    def _find(self, request: HttpRequest, object_id: str) -> CreditNote:
        note: CreditNote | None = self.get_object(request, object_id)
        if note is None or not self.has_view_permission(request, note):
            raise Http404("No such credit note.")
        return note
