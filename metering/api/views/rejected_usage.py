"""Usage requests that were refused, with reasons."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import resolve_account
from billing_site.api.pagination import CursorPages
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel.errors import NotFound, PeriodNotValid
from metering.api.serializers.rejected_usage import RejectedUsageQuery, RejectedUsageSerializer, render_refusal
from metering.queries.rejected_usage import count_unkept, list_refusals


class RejectedUsageViewSet(BillingViewSet):
    """Refused usage requests."""

    scopes = {"list": internal("billing:read")}
    problems = {"list": [NotFound, PeriodNotValid]}
    operation_ids = {"list": "rejected_usage_list"}

    @extend_schema(parameters=[RejectedUsageQuery], responses=list_of(RejectedUsageSerializer))
    def list(self, request: Request) -> Response:
        """
        List the usage requests that were refused in the last 30 days, newest first, with reasons.

        Refusals that concern the caller and not its events (no token, no scope) are not kept.
        """
        query = query_serializer(RejectedUsageQuery, request)
        start, end = query.get("start"), query.get("end")
        if start and end and end <= start:
            raise PeriodNotValid("end must be after start.")
        reference = account_reference(request)
        found = list_refusals(
            org_id=self.principal.org,
            account=resolve_account(self.principal, reference) if reference else None,
            code=query.get("code"),
            start=start,
            end=end,
        )
        paginator = CursorPages()
        rows = paginator.paginate_queryset(found, request, self)
        unkept = count_unkept(rows)
        return paginator.get_paginated_response([render_refusal(row, not_kept=unkept[row.pk]) for row in rows])
