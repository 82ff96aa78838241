"""What an account costs while its billing periods run."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import resolve_account
from billing_site.api.params import query_serializer
from billing_site.api.permissions import BOTH_READ
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, DomainError, NotFound, PeriodNotValid
from invoicing.queries.realtime import get_realtime_cost, get_realtime_resources, get_timeline
from metering.api.serializers.realtime import (
    RealtimeByResourceSerializer,
    RealtimeCurrentSerializer,
    RealtimeQuery,
    RealtimeTimelineSerializer,
    TimelineQuery,
    render_current,
    render_resources,
    render_timeline,
)
from metering.queries.measuring import UsageNotPriceable


class RealtimeCostViewSet(BillingViewSet):
    """Cost so far, by the engine that bills. Computed when asked for, never older than `as_of`."""

    scopes = {"current": BOTH_READ, "by_resource": BOTH_READ, "timeline": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "current": [AccountForbidden, NotFound, UsageNotPriceable],
        "by_resource": [AccountForbidden, NotFound, UsageNotPriceable],
        "timeline": [AccountForbidden, NotFound, PeriodNotValid, UsageNotPriceable],
    }
    operation_ids = {
        "current": "realtime_current",
        "by_resource": "realtime_by_resource",
        "timeline": "realtime_timeline",
    }

    @extend_schema(parameters=[RealtimeQuery], responses=RealtimeCurrentSerializer)
    def current(self, request: Request, account_id: str) -> Response:
        """
        Cost so far in the running billing period.

        The fees of the period plus usage so far: what the invoices that close the running periods will ask for if
        nothing more is used, with the fees in advance of the running periods in place of the next ones.
        """
        account = resolve_account(self.principal, account_id)
        query = query_serializer(RealtimeQuery, request)
        found = get_realtime_cost(account=account, at=clock.now(account), currency=query.get("currency"))
        return Response(RealtimeCurrentSerializer(render_current(found)).data)

    @extend_schema(parameters=[RealtimeQuery], responses=RealtimeByResourceSerializer)
    def by_resource(self, request: Request, account_id: str) -> Response:
        """Cost so far split by metric."""
        account = resolve_account(self.principal, account_id)
        query = query_serializer(RealtimeQuery, request)
        found = get_realtime_resources(account=account, at=clock.now(account), currency=query.get("currency"))
        return Response(RealtimeByResourceSerializer(render_resources(found)).data)

    @extend_schema(parameters=[TimelineQuery], responses=RealtimeTimelineSerializer)
    def timeline(self, request: Request, account_id: str) -> Response:
        """
        Cost over time in the running billing period, for charts.

        Every step is there, empty ones with cost 0; at most 750. Days are those of the account's zone.
        """
        account = resolve_account(self.principal, account_id)
        query = query_serializer(TimelineQuery, request)
        found = get_timeline(
            account=account,
            at=clock.now(account),
            granularity=query["granularity"],
            start=query.get("start"),
            end=query.get("end"),
        )
        return Response(RealtimeTimelineSerializer(render_timeline(found)).data)
