"""Credit note doors."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import resolve_account
from accounts.services.corrections import AmountExceedsRefundable
from accounts.services.prepaid import InsufficientBalance
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, AmountNotPositive, InvalidState, NotFound
from billing_site.kernel.money import round_to_minor
from invoicing.api.pdf import PdfRenderer, answer_pdf
from invoicing.api.serializers.credit_note import CreditNoteInput, CreditNoteQuery, CreditNoteSerializer
from invoicing.calculation.credit_facts import WantedLine, Wish
from invoicing.models import CreditNote, Invoice, InvoiceLineSplit
from invoicing.queries.credit_notes import get_visible_credit_note, visible_credit_notes
from invoicing.queries.invoices import get_visible_invoice
from invoicing.services.credit_note_documents import get_credit_note_pdf
from invoicing.services.credit_notes import issue_credit_note, void_credit_note
from invoicing.services.credit_requests import AmountExceedsCreditable, CreditRequest

_ACCOUNT = OpenApiParameter("account", str, description="Id or external id of the account.")
_CURSOR = OpenApiParameter("cursor", str, description="Opaque position from next_cursor.")
_LIMIT = OpenApiParameter("limit", int, description="Page size, 1 to 200.")


class CreditNoteViewSet(BillingViewSet):
    """Credit notes: issue, list, show, document, void."""

    queryset = CreditNote.objects.none()
    serializer_class = CreditNoteSerializer
    scopes = {
        "create": internal("billing:money"),
        "list": BOTH_READ,
        "retrieve": BOTH_READ,
        "pdf": BOTH_READ,
        "void": internal("billing:money"),
    }
    problems = {
        "create": [InvalidState, AmountNotPositive, AmountExceedsCreditable, AmountExceedsRefundable, NotFound],
        "list": [AccountForbidden, NotFound],
        "retrieve": [NotFound],
        "pdf": [NotFound],
        "void": [InvalidState, InsufficientBalance, NotFound],
    }
    operation_ids = {
        "create": "credit_note_create",
        "list": "credit_note_list",
        "retrieve": "credit_note_get",
        "pdf": "credit_note_pdf",
        "void": "credit_note_void",
    }

    def get_renderers(self) -> list[Any]:
        """The document can be asked for as PDF; without an Accept header it comes as PDF too."""
        return [*super().get_renderers(), *([PdfRenderer()] if self.action == "pdf" else [])]

    @extend_schema(request=CreditNoteInput, responses={201: CreditNoteSerializer})
    def create(self, request: Request) -> Response:
        """Correct an issued invoice downwards: what remains is lowered, what was paid becomes credit or is refunded."""
        body = CreditNoteInput(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        invoice = get_visible_invoice(self.principal, data["invoice_id"])
        reference = account_reference(request)
        if reference is not None and resolve_account(self.principal, reference).pk != invoice.account_id:
            raise NotFound("invoice", "This account has no such invoice.")
        note = issue_credit_note(
            invoice_id=invoice.pk, request=_read_request(invoice, data), at=clock.now(invoice.account), actor=self.actor
        )
        return Response(self._show(note), status=201)

    @extend_schema(
        parameters=[_ACCOUNT, CreditNoteQuery, _CURSOR, _LIMIT],
        responses=list_of(CreditNoteSerializer),
    )
    def list(self, request: Request) -> Response:
        """List credit notes, newest first; public callers see their own."""
        reference = account_reference(request)
        notes = visible_credit_notes(self.principal)
        if reference is not None or not self.principal.is_internal:
            notes = notes.filter(account=resolve_account(self.principal, reference))
        if invoice_id := query_serializer(CreditNoteQuery, request).get("invoice_id"):
            key = Invoice.parse_id(invoice_id)
            notes = notes.filter(invoice_id=key) if key else notes.none()
        return self.page(notes, CreditNoteSerializer)

    @extend_schema(responses=CreditNoteSerializer)
    def retrieve(self, request: Request, credit_note_id: str) -> Response:
        """Show a credit note by id or number."""
        return Response(CreditNoteSerializer(get_visible_credit_note(self.principal, credit_note_id)).data)

    @extend_schema(responses={(200, "application/pdf"): OpenApiResponse(OpenApiTypes.BINARY, "The document.")})
    def pdf(self, request: Request, credit_note_id: str) -> HttpResponse:
        """Download the document: the same bytes every time, also of a note that was voided later."""
        note = get_visible_credit_note(self.principal, credit_note_id)
        return answer_pdf(get_credit_note_pdf(note), note.number_text)

    @extend_schema(request=None, responses=CreditNoteSerializer)
    def void(self, request: Request, credit_note_id: str) -> Response:
        """Take back a credit note: what it lowered is owed again, the credit it gave is taken."""
        note = get_visible_credit_note(self.principal, credit_note_id)
        void_credit_note(credit_note_id=note.pk, at=clock.now(note.account), actor=self.actor)
        return Response(self._show(note))

    def _show(self, note: CreditNote) -> Any:
        return CreditNoteSerializer(get_visible_credit_note(self.principal, note.public_id)).data


def _read_request(invoice: Invoice, data: dict[str, Any]) -> CreditRequest:
    lines = tuple(read_credit_line(invoice, each) for each in data.get("line_items") or ())
    outside, amount = data.get("out_of_band_amount") or 0, data.get("amount")
    with_tax = outside if lines or amount is None else amount
    return CreditRequest(
        wish=Wish(lines, with_tax),
        disposition=data["disposition"],
        out_of_band_amount=outside,
        cause=data.get("reason") or "",
        memo=data["memo"],
        expected=amount,
    )


def read_credit_line(invoice: Invoice | None, data: dict[str, Any]) -> WantedLine:
    """Return what a caller wants credited of a line; any of the parts of a split line names it."""
    line, amount = data.get("invoice_line_id") or "", data.get("amount")
    quantity, unit = data.get("quantity"), data.get("unit_price")
    if amount is None and quantity is not None and unit is not None:
        amount = round_to_minor(
            quantity * unit, mode=invoice.trace.get("rounding", "half_up") if invoice else "half_up"
        )
    if key := InvoiceLineSplit.parse_id(line):
        # A line that is split by cost center is shown as its parts.
        part = InvoiceLineSplit.objects.select_related("line").filter(pk=key, line__invoice=invoice).first()
        line = line if part is None else part.line.public_id
        amount = part.amount if part is not None and amount is None else amount
    return WantedLine(line, amount, data["description"], quantity, unit)
