"""
Negotiated prices: agree, look, end.

Additions to the contract: what one account pays instead of a plan's price is agreed on where its catalog is kept.
"""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers.price_overrides import (
    PriceOverrideEndInput,
    PriceOverrideInput,
    PriceOverrideQuery,
    PriceOverrideSerializer,
)
from accounts.models import Account, PriceOverride
from accounts.queries.access import resolve_account
from accounts.queries.price_overrides import list_price_overrides
from accounts.services.price_overrides import PriceOverrideOverlaps, end_price_override, set_price_override
from billing_site.api.params import query_serializer
from billing_site.api.permissions import Scopes, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError, InvalidState, NotFound

_WRITE = internal("billing:catalog:write")


class PriceOverrideViewSet(BillingViewSet):
    """What one account pays instead of a plan's price."""

    queryset = PriceOverride.objects.none()
    serializer_class = PriceOverrideSerializer
    scopes: ClassVar[dict[str, Scopes]] = {"list": internal("billing:catalog:read"), "create": _WRITE, "end": _WRITE}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [NotFound],
        "create": [NotFound, PriceOverrideOverlaps, InvalidState],
        "end": [NotFound, InvalidState],
    }
    operation_ids = {"list": "price_override_list", "create": "price_override_create", "end": "price_override_end"}

    @extend_schema(parameters=[PriceOverrideQuery], responses=list_of(PriceOverrideSerializer))
    def list(self, request: Request, account_id: str) -> Response:
        """List what was agreed with an account, newest first, ended ones included."""
        account = resolve_account(self.principal, account_id)
        query = query_serializer(PriceOverrideQuery, request)
        rows = list_price_overrides(
            account=account, lookup_key=query.get("lookup_key", ""), active=query["active"], at=clock.now(account)
        )
        return self.page(rows, PriceOverrideSerializer)

    @extend_schema(request=PriceOverrideInput, responses={201: PriceOverrideSerializer})
    def create(self, request: Request, account_id: str) -> Response:
        """
        Agree on another price with an account.

        It is checked like a published one, every finding is answered, and it holds for billing periods that start
        while it is in force: what is billed already stays.
        """
        account = resolve_account(self.principal, account_id)
        body = PriceOverrideInput(data=request.data)
        body.is_valid(raise_exception=True)
        at = clock.now(account)
        values = {"effective_from": at, **body.validated_data}
        row = set_price_override(account=account, **values, at=at, actor=self.actor)
        return Response(PriceOverrideSerializer(row).data, status=201)

    @extend_schema(request=PriceOverrideEndInput, responses=PriceOverrideSerializer)
    def end(self, request: Request, account_id: str, override_id: str) -> Response:
        """Let a negotiated price end. Periods that started before keep it."""
        account = resolve_account(self.principal, account_id)
        body = PriceOverrideEndInput(data=request.data)
        body.is_valid(raise_exception=True)
        at = clock.now(account)
        row = end_price_override(
            override_id=self._get(account, override_id).pk,
            effective_until=body.validated_data.get("effective_until", at),
            at=at,
            actor=self.actor,
            reason=body.validated_data["reason"],
        )
        return Response(PriceOverrideSerializer(row).data)

    def _get(self, account: Account, reference: str) -> PriceOverride:
        key = PriceOverride.parse_id(reference)
        row = None if key is None else PriceOverride.objects.filter(account=account, pk=key).first()
        if row is None:
            raise NotFound("price_override")
        return row
