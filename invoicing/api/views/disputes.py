"""
Dispute doors. Answers keep their own idempotency: the provider is told between two transactions, and a repeat goes on
with the same answer.
"""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import resolve_account
from billing_site.api.idempotency import mark_request
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import Scopes, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, DomainError, InvalidState, NotFound
from billing_site.platform.services.keyed_requests import RequestMark
from invoicing.api.serializers.dispute import DisputeEvidenceInput, DisputeQuery, DisputeSerializer
from invoicing.gateways.port import NoProcessorAvailable, ProviderUnavailable
from invoicing.models import Dispute, PaymentIntent
from invoicing.queries.disputes import get_visible_dispute, visible_disputes
from invoicing.services.dispute_answers import accept_dispute, hand_in_evidence

_ACCOUNT = OpenApiParameter("account", str, description="Id or external id of the account.")
_CURSOR = OpenApiParameter("cursor", str, description="Opaque position from next_cursor.")
_LIMIT = OpenApiParameter("limit", int, description="Page size, 1 to 200.")
_READ = internal("billing:read")
_WRITE = internal("billing:dispute:write")


class DisputeViewSet(BillingViewSet):
    """Disputes: list, show, hand in evidence, accept."""

    queryset = Dispute.objects.none()
    serializer_class = DisputeSerializer
    idempotency = "own"
    scopes: ClassVar[dict[str, Scopes]] = {
        "list": _READ,
        "retrieve": _READ,
        "partial_update": _WRITE,
        "close": _WRITE,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [AccountForbidden, NotFound],
        "retrieve": [NotFound],
        "partial_update": [NotFound, InvalidState, ProviderUnavailable, NoProcessorAvailable],
        "close": [NotFound, InvalidState, ProviderUnavailable, NoProcessorAvailable],
    }
    operation_ids = {
        "list": "dispute_list",
        "retrieve": "dispute_get",
        "partial_update": "dispute_evidence",
        "close": "dispute_close",
    }

    @extend_schema(parameters=[_ACCOUNT, DisputeQuery, _CURSOR, _LIMIT], responses=list_of(DisputeSerializer))
    def list(self, request: Request) -> Response:
        """List disputes, newest first. They begin at the provider."""
        disputes = visible_disputes(self.principal)
        if (reference := account_reference(request)) is not None:
            disputes = disputes.filter(account=resolve_account(self.principal, reference))
        query = query_serializer(DisputeQuery, request)
        if status := query.get("status"):
            disputes = disputes.filter(status=status)
        if intent_id := query.get("payment_intent_id"):
            key = PaymentIntent.parse_id(intent_id)
            disputes = disputes.filter(payment_intent_id=key) if key else disputes.none()
        return self.page(disputes, DisputeSerializer)

    @extend_schema(responses=DisputeSerializer)
    def retrieve(self, request: Request, dispute_id: str) -> Response:
        """Show a dispute."""
        return Response(DisputeSerializer(get_visible_dispute(self.principal, dispute_id)).data)

    @extend_schema(request=DisputeEvidenceInput, responses=DisputeSerializer)
    def partial_update(self, request: Request, dispute_id: str) -> Response:
        """Hand in evidence, or with `submit` false only keep it; what is handed in is under review."""
        body = DisputeEvidenceInput(data=request.data)
        body.is_valid(raise_exception=True)
        evidence = dict(body.validated_data)
        submit = evidence.pop("submit")
        dispute = get_visible_dispute(self.principal, dispute_id)
        answered = hand_in_evidence(
            dispute_id=dispute.pk, evidence=evidence, submit=submit, at=clock.now(dispute.account), actor=self.actor
        )
        return Response(DisputeSerializer(answered).data)

    @extend_schema(request=None, responses=DisputeSerializer)
    def close(self, request: Request, dispute_id: str) -> Response:
        """Accept a dispute: it is lost and its money written off; an inquiry is closed."""
        dispute = get_visible_dispute(self.principal, dispute_id)
        closed = accept_dispute(
            dispute_id=dispute.pk,
            at=clock.now(dispute.account),
            actor=self.actor,
            mark=RequestMark(*mark_request(request, self.principal)),
        )
        return Response(DisputeSerializer(closed).data)
