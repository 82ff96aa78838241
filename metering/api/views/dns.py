"""DNS use: recorded by the DNS service, summed up for accounts."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.queries.access import resolve_account
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes, internal
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, AccountRequired, DomainError, NotFound
from metering.api.refusals import KeepsRefusals
from metering.api.serializers.dns import (
    DnsSummaryQuery,
    DnsUsageInput,
    DnsUsageResultSerializer,
    DnsUsageSummarySerializer,
)
from metering.queries.dns import summarize_dns
from metering.services.dns import DnsDailyLimitExceeded, record_dns_queries


class DnsUsageViewSet(KeepsRefusals, BillingViewSet):
    """Queries of zones."""

    recording_actions = frozenset({"create"})
    queryset = Account.objects.none()
    serializer_class = DnsUsageSummarySerializer
    scopes: ClassVar[dict[str, Scopes]] = {"create": internal("billing:usage:write"), "summary": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [AccountRequired, NotFound, DnsDailyLimitExceeded],
        "summary": [AccountRequired, AccountForbidden, NotFound],
    }
    operation_ids = {"create": "dns_usage_record", "summary": "dns_usage_summary"}

    @extend_schema(request=DnsUsageInput, responses={201: DnsUsageResultSerializer, 200: DnsUsageResultSerializer})
    def create(self, request: Request) -> Response:
        """
        Record a batch of DNS queries of a zone against the daily limit of the plan.

        What does not fit the day is refused whole. 200: nothing was stored, for there were no queries, or it was known.
        """
        body = DnsUsageInput(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        account = resolve_account(self.principal, account_reference(request))
        done = record_dns_queries(
            account=account,
            zone=given["zone"],
            queries=given["queries"],
            errors=given["errors"],
            timestamp=given.get("timestamp"),
            at=clock.now(account),
            actor=self.actor,
        )
        answer = {"recorded": True, "remaining": done.remaining, "limit": done.limit}
        return Response(answer, status=201 if done.is_new else 200)

    @extend_schema(parameters=[DnsSummaryQuery], responses=DnsUsageSummarySerializer)
    def summary(self, request: Request) -> Response:
        """DNS use of an account today or this month, in UTC."""
        query = query_serializer(DnsSummaryQuery, request)
        account = resolve_account(self.principal, account_reference(request))
        found = summarize_dns(account=account, period=query["period"], at=clock.now(account))
        return Response(
            {
                "account_id": account.public_id,
                "period": query["period"],
                "queries": found.queries,
                "zones": found.zones,
                "records": 0,
                "limit": found.plan.daily_limit,
                "plan": found.plan.key,
            }
        )
