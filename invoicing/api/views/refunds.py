"""
Refund doors.

Creating keeps its own idempotency: the payment provider is asked between two transactions, the refunds are tied to
the request's key, and a repeat (also after a crash) goes on with the same refunds.
"""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import resolve_account
from accounts.services.corrections import AmountExceedsRefundable
from billing_site.api.idempotency import REPLAYED, mark_request
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, DomainError, InvalidState, NotFound
from billing_site.platform.services.approvals import ApprovalAlreadyPending
from billing_site.platform.services.keyed_requests import RequestMark
from invoicing.api.serializers.refund import CreatedRefundSerializer, PaymentRefundInput, RefundQuery, RefundSerializer
from invoicing.api.views.credit_notes import read_credit_line
from invoicing.gateways.port import NoProcessorAvailable, ProviderUnavailable
from invoicing.models import Invoice, PaymentIntent, Refund
from invoicing.queries.invoices import get_visible_invoice
from invoicing.queries.refunds import get_visible_payment, get_visible_refund, list_batch, sum_batch, visible_refunds
from invoicing.services.credit_requests import AmountExceedsCreditable
from invoicing.services.refund_sending import send_refunds
from invoicing.services.refunds import AskedRefund, create_refund

_ACCOUNT = OpenApiParameter("account", str, description="Id or external id of the account.")
_CURSOR = OpenApiParameter("cursor", str, description="Opaque position from next_cursor.")
_LIMIT = OpenApiParameter("limit", int, description="Page size, 1 to 200.")


class RefundViewSet(BillingViewSet):
    """Refunds: create, list, show."""

    queryset = Refund.objects.none()
    serializer_class = RefundSerializer
    idempotency = "own"
    scopes: ClassVar[dict[str, Scopes]] = {
        "create": internal("billing:money"),
        "list": BOTH_READ,
        "retrieve": BOTH_READ,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [
            *(NotFound, InvalidState, AmountExceedsRefundable, AmountExceedsCreditable, ApprovalAlreadyPending),
            *(ProviderUnavailable, NoProcessorAvailable),
        ],
        "list": [AccountForbidden, NotFound],
        "retrieve": [NotFound],
    }
    operation_ids = {"create": "refund_create", "list": "refund_list", "retrieve": "refund_get"}

    @extend_schema(request=PaymentRefundInput, responses={201: CreatedRefundSerializer})
    def create(self, request: Request) -> Response:
        """
        Give back all or part of a payment or of an invoice, the way the money came; an invoice gets a credit note.

        Above the limit a second person has to approve it: the refund is pending until then.
        """
        body = PaymentRefundInput(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        target: Invoice | PaymentIntent
        if data.get("invoice_id"):
            target = get_visible_invoice(self.principal, data["invoice_id"])
        else:
            target = get_visible_payment(self.principal, data["payment_intent_id"])
        at = clock.now(target.account)
        outcome = create_refund(
            invoice_id=target.pk if isinstance(target, Invoice) else None,
            intent_id=target.pk if isinstance(target, PaymentIntent) else None,
            asked=_read_asked(target, data),
            at=at,
            actor=self.actor,
            mark=RequestMark(*mark_request(request, self.principal)),
        )
        refunds = send_refunds(outcome.refunds, at=at, actor=self.actor)
        found = list_batch(refunds[0].batch)
        shown = [RefundSerializer(each).data for each in found]
        response = Response({**shown[0], "refunds": shown, "group_amount": sum_batch(found)}, status=201)
        if outcome.is_repeat:
            response[REPLAYED] = "true"
        return response

    @extend_schema(parameters=[_ACCOUNT, RefundQuery, _CURSOR, _LIMIT], responses=list_of(RefundSerializer))
    def list(self, request: Request) -> Response:
        """List refunds, newest first; public callers see their own."""
        reference = account_reference(request)
        refunds = visible_refunds(self.principal)
        if reference is not None or not self.principal.is_internal:
            refunds = refunds.filter(account=resolve_account(self.principal, reference))
        query = query_serializer(RefundQuery, request)
        if invoice_id := query.get("invoice_id"):
            key = Invoice.parse_id(invoice_id)
            refunds = refunds.filter(invoice_id=key) if key else refunds.none()
        if intent_id := query.get("payment_intent_id"):
            key = PaymentIntent.parse_id(intent_id)
            refunds = refunds.filter(payment_intent_id=key) if key else refunds.none()
        return self.page(refunds, RefundSerializer)

    @extend_schema(responses=RefundSerializer)
    def retrieve(self, request: Request, refund_id: str) -> Response:
        """Show a refund."""
        return Response(RefundSerializer(get_visible_refund(self.principal, refund_id)).data)


def _read_asked(target: Invoice | PaymentIntent, data: dict[str, Any]) -> AskedRefund:
    lines = data.get("line_items") or ()
    return AskedRefund(
        amount=data["amount"],
        # Lines of a payment are refused by the service.
        lines=tuple(read_credit_line(target if isinstance(target, Invoice) else None, each) for each in lines),
        reason=data.get("reason") or "",
        memo=data["memo"],
        metadata=data.get("metadata") or {},
    )
