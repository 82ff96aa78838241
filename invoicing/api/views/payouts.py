"""Payouts: send money out, list, show, cancel."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import resolve_account
from accounts.services.prepaid import InsufficientBalance
from billing_site.api.idempotency import mark_request
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingAPIView, BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AmountNotPositive, CurrencyUnsupported, InvalidState, NotFound
from billing_site.platform.services.keyed_requests import RequestMark
from invoicing.api.serializers.payout import PayoutInput, PayoutQuery, PayoutSerializer
from invoicing.models import Payout
from invoicing.queries.payouts import get_visible_payout, visible_payouts
from invoicing.services.payout_sending import ProviderUnavailable, cancel_payout
from invoicing.services.payouts import PayoutRequest, create_payout

_CURSOR = OpenApiParameter("cursor", str, description="Opaque position from next_cursor.")
_LIMIT = OpenApiParameter("limit", int, description="Page size, 1 to 200.")


class PayoutViewSet(BillingViewSet):
    """Money sent out."""

    queryset = Payout.objects.none()
    serializer_class = PayoutSerializer
    scopes = {
        "create": internal("billing:money"),
        "list": internal("billing:read"),
        "retrieve": internal("billing:read"),
    }
    problems = {
        "create": [AmountNotPositive, CurrencyUnsupported, InsufficientBalance, NotFound],
        "list": [NotFound],
        "retrieve": [NotFound],
    }
    operation_ids = {"create": "payout_create", "list": "payout_list", "retrieve": "payout_get"}

    @extend_schema(request=PayoutInput, responses={201: PayoutSerializer})
    def create(self, request: Request) -> Response:
        """Hold money and send it out; above the limit another person approves it in the admin first."""
        body = PayoutInput(data=request.data)
        body.is_valid(raise_exception=True)
        values: dict[str, Any] = {name: value for name, value in body.validated_data.items() if name != "account"}
        reference = account_reference(request)
        account = None if reference is None else resolve_account(self.principal, reference)
        payout = create_payout(
            account=account, request=PayoutRequest(**values), at=clock.now(account), actor=self.actor
        )
        return Response(PayoutSerializer(payout).data, status=201)

    @extend_schema(parameters=[PayoutQuery, _CURSOR, _LIMIT], responses=list_of(PayoutSerializer))
    def list(self, request: Request) -> Response:
        """List payouts, newest first."""
        query = query_serializer(PayoutQuery, request)
        rows = visible_payouts(self.principal)
        reference = account_reference(request)
        if reference is not None:
            rows = rows.filter(account=resolve_account(self.principal, reference))
        if status := query.get("status"):
            rows = rows.filter(status=status)
        return self.page(rows, PayoutSerializer)

    @extend_schema(responses=PayoutSerializer)
    def retrieve(self, request: Request, payout_id: str) -> Response:
        """Show one payout."""
        return Response(PayoutSerializer(get_visible_payout(self.principal, payout_id)).data)


class PayoutCancelView(BillingAPIView):
    """Stopping a payout. It keeps its own idempotency: the provider may have to be asked between two transactions."""

    idempotency = "own"
    scopes = {"post": internal("billing:money")}
    problems = {"post": [InvalidState, NotFound, ProviderUnavailable]}
    operation_ids = {"post": "payout_cancel"}

    @extend_schema(request=None, responses=PayoutSerializer)
    def post(self, request: Request, payout_id: str) -> Response:
        """Stop a payout that has not left; the money it held is released."""
        payout = get_visible_payout(self.principal, payout_id)
        key, digest = mark_request(request, self.principal)
        cancel_payout(payout_id=payout.pk, at=clock.now(), actor=self.actor, mark=RequestMark(key, digest))
        return Response(PayoutSerializer(get_visible_payout(self.principal, payout_id)).data)
