"""What the calendar month of an account will come to."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import resolve_account
from billing_site.api.params import query_serializer
from billing_site.api.permissions import BOTH_READ
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, DomainError, NotFound
from invoicing.api.serializers.estimate import BillingEstimateSerializer, EstimateQuery, render_estimate
from invoicing.queries.estimates import estimate_month
from metering.queries.measuring import UsageNotPriceable


class BillingEstimateView(BillingAPIView):
    """Never changes anything."""

    scopes = {"get": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "get": [AccountForbidden, NotFound, UsageNotPriceable]
    }
    operation_ids = {"get": "billing_estimate"}

    @extend_schema(parameters=[EstimateQuery], responses=BillingEstimateSerializer)
    def get(self, request: Request, account_id: str) -> Response:
        """
        Projected cost of the calendar month.

        Its fees plus usage so far, drawn out to the end of the month.
        """
        account = resolve_account(self.principal, account_id)
        query = query_serializer(EstimateQuery, request)
        found = estimate_month(account=account, at=clock.now(account), currency=query.get("currency"))
        return Response(BillingEstimateSerializer(render_estimate(found)).data)
