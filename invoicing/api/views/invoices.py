"""Invoice doors."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, Subscription
from accounts.queries.access import resolve_account
from accounts.queries.subscriptions import SubscriptionNotFound
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError, NotFound, ValidationFailed
from invoicing.api.pdf import PdfRenderer, answer_pdf
from invoicing.api.serializers.invoice import FinalizeInput, InvoiceQuery, InvoiceSerializer, VoidInput
from invoicing.api.serializers.invoice_editing import InvoiceInput, read_line
from invoicing.api.serializers.invoice_generation import InvoiceGenerateInput
from invoicing.models import Invoice, InvoiceStatus
from invoicing.queries.invoices import filter_by_dates, filter_by_status, get_visible_invoice, visible_invoices
from invoicing.queries.members import bills_any
from invoicing.services.collecting import ask_for_collection
from invoicing.services.documents import get_invoice_pdf
from invoicing.services.draft_editing import InvoiceDetails, create_invoice
from invoicing.services.drafting import PeriodAlreadyInvoiced
from invoicing.services.generating import generate_invoice
from invoicing.services.invoices import finalize_invoice, void_invoice

_ACCOUNT = OpenApiParameter("account", str, description="Id or external id of the account.")
_CURSOR = OpenApiParameter("cursor", str, description="Opaque position from next_cursor.")
_LIMIT = OpenApiParameter("limit", int, description="Page size, 1 to 200.")


class InvoiceViewSet(BillingViewSet):
    """Invoices: list, show, document, finalize, void."""

    queryset = Invoice.objects.none()
    serializer_class = InvoiceSerializer
    scopes: ClassVar[dict[str, Scopes]] = {
        "list": BOTH_READ,
        "list_account": BOTH_READ,
        "retrieve": BOTH_READ,
        "pdf": BOTH_READ,
        "finalize": internal("billing:invoice:write"),
        "void": internal("billing:invoice:write"),
        "create": internal("billing:invoice:write"),
        "generate": internal("billing:invoice:write"),
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": ["account_forbidden", "not_found"],
        "list_account": ["account_forbidden", "not_found"],
        "retrieve": ["not_found"],
        "pdf": ["not_found"],
        "finalize": ["invalid_state", "not_found"],
        "void": ["invalid_state", "not_found"],
        "create": ["not_found", "currency_mismatch"],
        "generate": [SubscriptionNotFound, PeriodAlreadyInvoiced, "invalid_state", "not_found"],
    }
    operation_ids: ClassVar[dict[str, str]] = {
        "list": "invoice_list",
        "list_account": "invoice_list_account",
        "retrieve": "invoice_get",
        "pdf": "invoice_pdf",
        "finalize": "invoice_finalize",
        "void": "invoice_void",
        "create": "invoice_create",
        "generate": "invoice_generate",
    }

    def get_renderers(self) -> list[Any]:
        """The document can be asked for as PDF; without an Accept header it comes as PDF too."""
        return [*super().get_renderers(), *([PdfRenderer()] if self.action == "pdf" else [])]

    @extend_schema(parameters=[_ACCOUNT, InvoiceQuery, _CURSOR, _LIMIT], responses=list_of(InvoiceSerializer))
    def list(self, request: Request) -> Response:
        """List invoices, newest first; public callers see their own, drafts left out."""
        reference = account_reference(request)
        invoices = visible_invoices(self.principal)
        if reference is not None or not self.principal.is_internal:
            invoices = invoices.filter(account=resolve_account(self.principal, reference))
        return self.page(self._filter(invoices), InvoiceSerializer)

    @extend_schema(request=InvoiceInput, responses={201: InvoiceSerializer})
    def create(self, request: Request) -> Response:
        """Make a draft invoice of given lines; it has no number before it is finalized."""
        body = InvoiceInput(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        account = resolve_account(self.principal, account_reference(request))
        invoice = create_invoice(
            account=account,
            lines=[read_line(line) for line in data.get("line_items", ())],
            currency=data.get("currency", ""),
            subscription=_find_subscription(account, data.get("subscription_id")),
            details=InvoiceDetails(data.get("customer_email", ""), data.get("due_days"), data.get("metadata", {})),
            at=clock.now(account),
            actor=self.actor,
        )
        return Response(InvoiceSerializer(get_visible_invoice(self.principal, invoice.public_id)).data, status=201)

    @extend_schema(parameters=[InvoiceQuery, _CURSOR, _LIMIT], responses=list_of(InvoiceSerializer))
    def list_account(self, request: Request, account_id: str) -> Response:
        """List the invoices of one account, newest first."""
        account = resolve_account(self.principal, account_id)
        return self.page(self._filter(visible_invoices(self.principal).filter(account=account)), InvoiceSerializer)

    @extend_schema(
        parameters=[OpenApiParameter("subscription_id", str, description="As in the body.")],
        request=InvoiceGenerateInput,
        responses={201: InvoiceSerializer},
    )
    def generate(self, request: Request, account_id: str) -> Response:
        """
        Rate what a subscription owes for its period and make its invoice; a draft unless `auto_finalize`.

        A period that is over is billed as by a run. Of the running one the usage so far is, once; what closes it
        deducts that.
        """
        body = InvoiceGenerateInput(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        if data["collect"] and not data["auto_finalize"]:
            raise ValidationFailed.of("/collect", "needs_auto_finalize", "A draft cannot be collected: finalize it.")
        account = resolve_account(self.principal, account_id)
        at = clock.now(account)
        invoice = generate_invoice(
            subscription_id=_require_subscription(account, request, data).pk,
            at=at,
            actor=self.actor,
            start=data.get("period_start"),
            end=data.get("period_end"),
            finalize=data["auto_finalize"],
        )
        if data["collect"] and invoice.status == InvoiceStatus.OPEN:
            ask_for_collection(invoice_id=invoice.pk, at=at)
        return Response(InvoiceSerializer(get_visible_invoice(self.principal, invoice.public_id)).data, status=201)

    def _filter(self, invoices: QuerySet[Invoice]) -> QuerySet[Invoice]:
        query = query_serializer(InvoiceQuery, self.request)
        invoices = filter_by_dates(invoices, query.get("start"), query.get("end"))
        if status := query.get("status"):
            invoices = filter_by_status(invoices, status, at=clock.now())
        if subscription_id := query.get("subscription_id"):
            key = Subscription.parse_id(subscription_id)
            invoices = invoices.filter(bills_any([key])) if key else invoices.none()
        if number := query.get("number"):
            invoices = invoices.filter(number_text__iexact=number.strip())
        return invoices

    @extend_schema(responses=InvoiceSerializer)
    def retrieve(self, request: Request, invoice_id: str) -> Response:
        """Show an invoice by id or number, with its lines and how each amount came about."""
        return Response(InvoiceSerializer(get_visible_invoice(self.principal, invoice_id)).data)

    @extend_schema(responses={(200, "application/pdf"): OpenApiResponse(OpenApiTypes.BINARY, "The document.")})
    def pdf(self, request: Request, invoice_id: str) -> HttpResponse:
        """Download the document: the same bytes every time once issued; drafts carry a mark and no number."""
        invoice = get_visible_invoice(self.principal, invoice_id)
        return answer_pdf(get_invoice_pdf(invoice), invoice.number_text or f"draft-{invoice.public_id}")

    @extend_schema(request=FinalizeInput, responses=InvoiceSerializer)
    def finalize(self, request: Request, invoice_id: str) -> Response:
        """Close a draft: number it, fix the amounts, make it payable."""
        data = _read(FinalizeInput, request)
        invoice = get_visible_invoice(self.principal, invoice_id)
        finalize_invoice(
            invoice_id=invoice.id, at=clock.now(invoice.account), actor=self.actor, due_days=data.get("due_days")
        )
        if data["collect"]:
            ask_for_collection(invoice_id=invoice.id, at=clock.now(invoice.account))
        return Response(InvoiceSerializer(get_visible_invoice(self.principal, invoice.public_id)).data)

    @extend_schema(request=VoidInput, responses=InvoiceSerializer)
    def void(self, request: Request, invoice_id: str) -> Response:
        """Cancel a draft or open invoice; the number stays used and its periods can be billed again."""
        data = _read(VoidInput, request)
        invoice = get_visible_invoice(self.principal, invoice_id)
        void_invoice(invoice_id=invoice.id, at=clock.now(invoice.account), actor=self.actor, reason=data["reason"])
        return Response(InvoiceSerializer(get_visible_invoice(self.principal, invoice.public_id)).data)


def _find_subscription(account: Account, reference: str | None) -> Subscription | None:
    if not reference:
        return None
    key = Subscription.parse_id(reference)
    found = Subscription.objects.filter(pk=key, account=account).first() if key else None
    if found is None:
        raise NotFound("subscription")
    return found


def _require_subscription(account: Account, request: Request, data: dict[str, Any]) -> Subscription:
    """:raises ValidationFailed: if none or two are named. :raises SubscriptionNotFound: if it is not the account's."""
    named = {data.get("subscription_id"), request.query_params.get("subscription_id")} - {None, ""}
    if len(named) != 1:
        code, text = ("ambiguous", "named twice, differently") if named else ("required", "missing")
        raise ValidationFailed.of("/subscription_id", code, f"The subscription is {text}.")
    try:
        found = _find_subscription(account, named.pop())
    except NotFound as error:
        raise SubscriptionNotFound from error
    if found is None:
        raise SubscriptionNotFound
    return found


def _read(serializer: type[FinalizeInput] | type[VoidInput], request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise ValidationFailed.of("", "not_an_object", "The body must be a JSON object.")
    bound = serializer(data=request.data)
    bound.is_valid(raise_exception=True)
    return dict(bound.validated_data)
