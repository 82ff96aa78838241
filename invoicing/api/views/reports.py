"""Reports for operators."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.fields import CurrencyField, TimestampField
from billing_site.api.params import query_serializer
from billing_site.api.permissions import internal
from billing_site.api.streams import CsvRenderer, stream_file
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError, NotFound, PeriodNotValid
from invoicing.queries.reports.asking import MAX_MONTHS, Asked, choose_months
from invoicing.queries.reports.catalogue import get_report


class ReportQuery(serializers.Serializer[dict[str, Any]]):
    """Which months, which currency, which form."""

    start = serializers.CharField(required=False, max_length=10, help_text="First month, YYYY-MM or a date in it.")
    end = serializers.CharField(required=False, max_length=10, help_text="Last month; this one without it.")
    months = serializers.IntegerField(
        required=False, default=12, min_value=1, max_value=MAX_MONTHS, help_text="How many, where no start is given."
    )
    currency = CurrencyField(required=False)
    format = serializers.ChoiceField(required=False, default="json", choices=["json", "csv"])


class ReportSerializer(serializers.Serializer[dict[str, Any]]):
    """A table. Amounts are minor units of the row's currency."""

    report = serializers.CharField()
    generated_at = TimestampField()
    parameters = serializers.DictField()
    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.ListField(child=serializers.DictField())


class ReportView(BillingAPIView):
    """Never changes anything."""

    scopes = {"get": internal("billing:read")}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"get": [NotFound, PeriodNotValid]}
    operation_ids = {"get": "report_get"}

    def get_renderers(self) -> list[Any]:
        """Whatever of the two the client accepts, the query says what it gets."""
        return [*super().get_renderers(), CsvRenderer()]

    @extend_schema(
        parameters=[ReportQuery],
        responses={
            (200, "application/json"): ReportSerializer,
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "The rows alone."),
        },
    )
    def get(self, request: Request, report: str) -> Response | StreamingHttpResponse:
        """
        Operator reports: mrr, clv, aging, usage-trends, churn, dashboard, and those of finance.

        By calendar month in UTC, of the token's organization or of all. Amounts of different currencies are never
        added up.
        """
        found = get_report(report)
        query = query_serializer(ReportQuery, request)
        at = clock.now()
        first, last = choose_months(start=query.get("start"), end=query.get("end"), count=query["months"], at=at)
        asked = Asked(at, first, last, org_id=self.principal.org, currency=query.get("currency"))
        table = found.make(asked)
        if query["format"] == "csv":
            name = f"{report}-{last:%Y-%m}.csv"
            return stream_file(table.as_csv(), name=name, media_type="text/csv; charset=utf-8")
        shown = {
            "report": report,
            "generated_at": at,
            "parameters": {"start": f"{first:%Y-%m}", "end": f"{last:%Y-%m}", "currency": asked.currency},
            "columns": list(table.columns),
            "rows": [_show(row) for row in table.rows],
        }
        return Response(ReportSerializer(shown).data)


def _show(row: Mapping[str, Any]) -> dict[str, Any]:
    """Decimals are text in JSON, as everywhere."""
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in row.items()}
