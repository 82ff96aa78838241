"""Billing data of an account to take away, streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder

from accounts.api.serializers.accounts import AccountSerializer
from accounts.api.serializers.subscriptions import SubscriptionSerializer
from accounts.models import Account
from accounts.queries.access import resolve_account
from accounts.queries.subscriptions import SubscriptionNotFound, get_current_subscription
from accounts.queries.subscriptions import list_subscriptions as find_subscriptions
from billing_site.api.params import query_serializer
from billing_site.api.permissions import BOTH_READ
from billing_site.api.streams import CsvRenderer, ZipRenderer, stream_file
from billing_site.api.views import BillingAPIView
from billing_site.kernel import clock
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import AccountForbidden, DomainError, NotFound, PeriodNotValid
from invoicing.queries import account_export
from invoicing.queries.account_export import ExportDays, Table, choose_days
from invoicing.queries.credit_notes import visible_credit_notes
from invoicing.queries.invoices import visible_invoices

_CHUNK = 500


class ExportQuery(serializers.Serializer[dict[str, Any]]):
    """What is exported, in which form, and of which days."""

    type = serializers.ChoiceField(
        required=False, default="all", choices=["all", "usage", "invoices", "subscriptions", "payments"]
    )
    format = serializers.ChoiceField(required=False, default="json", choices=["json", "csv"])
    year = serializers.IntegerField(
        required=False, min_value=2000, max_value=9998, help_text="Instead of start and end."
    )
    start = serializers.DateField(required=False, help_text="First day, in the account's time zone.")
    end = serializers.DateField(required=False, help_text="Last day.")
    detailed = serializers.BooleanField(required=False, default=False, help_text="Single events instead of days.")


class AccountExportView(BillingAPIView):
    """Never changes anything."""

    scopes = {"get": BOTH_READ}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "get": [AccountForbidden, NotFound, PeriodNotValid],
    }
    operation_ids = {"get": "account_export"}

    def get_renderers(self) -> list[Any]:
        """Whatever of the three the client accepts, the query says what it gets."""
        return [*super().get_renderers(), CsvRenderer(), ZipRenderer()]

    @extend_schema(
        parameters=[ExportQuery],
        responses={
            (200, "application/json"): OpenApiResponse(OpenApiTypes.OBJECT, "One list or object per part."),
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "One part."),
            (200, "application/zip"): OpenApiResponse(OpenApiTypes.BINARY, "All parts, one CSV file each."),
        },
    )
    def get(self, request: Request, account_id: str) -> StreamingHttpResponse:
        """
        Stream billing data of an account as JSON or CSV.

        Row by row. CSV of everything comes as a ZIP archive with one file per part. Amounts are minor units. CSV cells
        that a spreadsheet would run as a formula begin with an apostrophe.
        """
        account = resolve_account(self.principal, account_id)
        query = query_serializer(ExportQuery, request)
        days = choose_days(year=query.get("year"), start=query.get("start"), end=query.get("end"))
        source = _Source(self.principal, account, days, detailed=query["detailed"])
        kind = query["type"]
        if query["format"] == "json":
            return _answer(source.stream_json(kind), kind, "json", "application/json", source)
        if kind == "all":
            names = [(name, source.get_table(name)) for name in account_export.PARTS]
            files = ((f"{name}.csv", table) for name, table in names)
            return _answer(account_export.zip_tables(files), kind, "zip", "application/zip", source)
        return _answer(source.get_table(kind).as_csv(), kind, "csv", "text/csv; charset=utf-8", source)


class _Source:
    """What an export reads: of one account, for one caller."""

    def __init__(self, principal: Principal, account: Account, days: ExportDays, *, detailed: bool) -> None:
        self.account, self.days, self.detailed = account, days, detailed
        self.invoices = visible_invoices(principal).filter(account=account)
        self.notes = visible_credit_notes(principal).filter(account=account)
        self.now = clock.now(account)

    def get_table(self, kind: str) -> Table:
        """Return one part as a table."""
        match kind:
            case "customer":
                return account_export.list_customer(self.account)
            case "subscriptions":
                return account_export.list_subscriptions(self.account)
            case "invoices":
                return account_export.list_invoices(self.invoices, self.notes, self.days)
            case "payments":
                return account_export.list_payments(self.account, self.days)
            case _ if self.detailed:
                return account_export.list_usage_events(self.account, self.days, now=self.now)
            case _:
                return account_export.list_usage(self.account, self.days, now=self.now)

    def stream_json(self, kind: str) -> Iterator[str]:
        """Yield one document with the parts asked for; lists are written row by row."""
        if kind == "all":
            yield f'{{"customer": {_dump(AccountSerializer(self.account).data)}'
            yield f', "subscription": {_dump(self._show_subscription())}'
            yield from self._stream_list(", ", "invoices")
            yield from self._stream_list(", ", "usage")
        else:
            yield from self._stream_list("{", kind)
        yield "}\n"

    def _stream_list(self, before: str, kind: str) -> Iterator[str]:
        yield f'{before}"{kind}": ['
        for number, row in enumerate(self._list_objects(kind)):
            yield f"{',' if number else ''}\n{_dump(row)}"
        yield "]"

    def _list_objects(self, kind: str) -> Iterator[Any]:
        if kind == "invoices":
            yield from account_export.describe_invoices(self.invoices, self.notes, self.days)
        elif kind == "subscriptions":
            mine = find_subscriptions(Account.objects.filter(pk=self.account.pk)).order_by("-id")
            for subscription in mine.iterator(chunk_size=_CHUNK):
                yield SubscriptionSerializer(subscription).data
        else:
            yield from self.get_table(kind).as_objects()

    def _show_subscription(self) -> Any:
        try:
            return SubscriptionSerializer(get_current_subscription(account=self.account)).data
        except SubscriptionNotFound:
            return None


def _dump(value: Any) -> str:
    return json.dumps(value, cls=JSONEncoder, ensure_ascii=False)


def _answer(
    content: Iterator[str] | Iterator[bytes], kind: str, extension: str, media_type: str, source: _Source
) -> StreamingHttpResponse:
    name = account_export.name_export(kind, extension, at=source.now)
    return stream_file(content, name=name, media_type=media_type)
