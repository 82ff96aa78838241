"""Reports in the admin: numbers, a chart over months, and the same as CSV, XLSX and JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from babel.dates import format_date
from babel.numbers import format_compact_decimal
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from openpyxl import Workbook  # type: ignore[import-untyped]

from accounts.models import Account
from billing_site.backoffice.display import NOTHING, format_money, locale
from billing_site.backoffice.navigation import NavPage
from billing_site.backoffice.time_charts import WIDTH, TimeChart, TimeDrawing, TimeSeries, draw_over_time
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from billing_site.kernel.money import get_exponent
from invoicing.queries.reports.asking import AMOUNTS, Asked, ReportTable, choose_months
from invoicing.queries.reports.catalogue import REPORTS, Report, get_report

PERMISSION: Final = "invoicing.view_invoice"
_SHARES: Final = frozenset({"churn_rate", "change"})
_TITLES: Final = {"age": "Days past due", "clv": "Lifetime value", "current": "not due"}
_MONTHS: Final = 12
REPORTS_PAGE: Final = NavPage("Reports", "monitoring", "admin:invoicing_reports")


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart of one currency, or of counts: what it shows, its last value, and the drawing."""

    title: str
    amount: str
    drawing: TimeDrawing


class ReportPages:
    """Puts the reports beside a model's list."""

    admin_site: Any

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.show_report)
        own = [
            path("reports/", page, name="invoicing_reports"),
            path("reports/<slug:name>/", page, name="invoicing_report"),
        ]
        return [*own, *super().get_urls()]  # type: ignore[misc]

    def show_report(self, request: HttpRequest, name: str = "dashboard") -> HttpResponseBase:
        """Answer a report as a page, or in the `format` that is asked for."""
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        notice, at = "", clock.now()
        try:
            report = get_report(name)
        except DomainError:
            return HttpResponse("There is no such report.", status=404, content_type="text/plain")
        try:
            first, last = choose_months(
                start=request.GET.get("start"), end=request.GET.get("end"), count=_MONTHS, at=at
            )
        except DomainError as error:
            notice = str(error)
            first, last = choose_months(start=None, end=None, count=_MONTHS, at=at)
        asked = Asked(
            at, first, last, org_id=request.GET.get("org") or None, currency=request.GET.get("currency") or None
        )
        table = report.make(asked)
        chosen = request.GET.get("format", "")
        if chosen in ("csv", "xlsx", "json"):
            return _download(report, table, asked, chosen)
        return TemplateResponse(request, "invoicing/report.html", self._describe(request, report, table, asked, notice))

    def _describe(
        self, request: HttpRequest, report: Report, table: ReportTable, asked: Asked, notice: str
    ) -> dict[str, Any]:
        query = request.GET.copy()
        query.pop("format", None)
        links = {}
        for extension in ("csv", "xlsx", "json"):
            query["format"] = extension
            links[extension.upper()] = f"?{query.urlencode()}"
        query.pop("format")
        kept = f"?{query.urlencode()}" if query else ""
        orgs = Account.objects.order_by("org_id").values_list("org_id", flat=True).distinct()[:500]
        currencies = Account.objects.order_by("currency").values_list("currency", flat=True).distinct()[:200]
        return {
            **self.admin_site.each_context(request),
            "title": report.title,
            "content_title": "Reports",
            "report": report,
            "asked": asked,
            "notice": notice,
            "links": links,
            "reports": [
                (each.title, reverse("admin:invoicing_report", args=[each.name]) + kept, each.name == report.name)
                for each in REPORTS.values()
            ],
            "orgs": list(orgs),
            "currencies": list(currencies),
            "figures": _draw(report, table, asked),
            "heads": [(_head(column), _is_number(column)) for column in table.columns],
            "rows": [[(_show(column, row), _is_number(column)) for column in table.columns] for row in table.rows],
        }


def _head(column: str) -> str:
    text = _TITLES.get(column, column.replace("_", " "))
    return text[:1].upper() + text[1:]


def _is_number(column: str) -> bool:
    return column not in ("month", "currency", "plan", "meter", "country", "age", "unit", "name", "jurisdiction")


def _show(column: str, row: Mapping[str, Any]) -> str:
    """Return a cell as people read it."""
    value = row[column]
    if value is None:
        return NOTHING
    if column in AMOUNTS:
        return format_money(value, row["currency"])
    if column in _SHARES:
        return f"{Decimal(value) * 100:.1f}%"
    if column == "currency":
        return str(value).upper()
    if column == "month":
        return format_date(date.fromisoformat(f"{value}-01"), "MMM y", locale=locale())
    return f"{value:,}" if isinstance(value, int) else _TITLES.get(str(value), str(value))


def _draw(report: Report, table: ReportTable, asked: Asked) -> list[Figure]:
    """Return a chart over months of the report's main column: one per currency, one of all for counts."""
    sums: dict[str, dict[str, int]] = {}
    for row in table.rows if report.charted else ():
        months = sums.setdefault("" if report.counts else row["currency"], {})
        months[row["month"]] = months.get(row["month"], 0) + row[report.charted]
    shown = sorted({month for months in sums.values() for month in months} | set(_list_months(report, asked)))
    return [_draw_one(report, currency, shown, months) for currency, months in sorted(sums.items())]


def _list_months(report: Report, asked: Asked) -> Sequence[str]:
    return () if report.name == "deferred-revenue" else [f"{month:%Y-%m}" for month in asked.months]


def _draw_one(report: Report, currency: str, shown: Sequence[str], months: Mapping[str, int]) -> Figure:
    days = [date.fromisoformat(f"{month}-01") for month in shown]
    amounts = [months.get(month, 0) for month in shown]
    unit = Decimal(1).scaleb(-get_exponent(currency)) if currency else Decimal(1)
    labels = [format_money(amount, currency) if currency else f"{amount:,}" for amount in amounts]
    title = _head(report.charted)
    chart = TimeChart(
        names=[format_date(day, "MMMM y", locale=locale()) for day in days],
        ticks=[format_date(day, "MMM" if day.month > 1 else "y", locale=locale()) for day in days],
        strong=[day.month == 1 for day in days],
        series=[TimeSeries(0, title, [max(0, amount) * unit for amount in amounts], labels)],
        totals=labels,
        width=WIDTH,
    )
    named = f"{title}, {currency.upper()}" if currency else title
    return Figure(named, labels[-1] if labels else NOTHING, draw_over_time(chart, format_scale=_format_scale))


def _format_scale(value: Decimal) -> str:
    if value >= 1_000:
        return format_compact_decimal(value, fraction_digits=1, locale=locale())
    return f"{value.normalize():f}" if value else "0"


def _download(report: Report, table: ReportTable, asked: Asked, extension: str) -> HttpResponseBase:
    name = f"{report.name}-{asked.last:%Y-%m}.{extension}"
    response: HttpResponseBase
    if extension == "csv":
        response = StreamingHttpResponse(table.as_csv(), content_type="text/csv; charset=utf-8")
    elif extension == "json":
        rows = [{key: str(value) if isinstance(value, Decimal) else value for key, value in row.items()}
                for row in table.rows]  # fmt: skip
        body = {"report": report.name, "columns": list(table.columns), "rows": rows}
        response = JsonResponse(body, json_dumps_params={"ensure_ascii": False})
    else:
        response = HttpResponse(
            write_workbook(report.title, table),
            content_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        )
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def write_workbook(title: str, table: ReportTable) -> bytes:
    """Return a workbook with one sheet; amounts are numbers in major units, text is never a formula."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet(title[:31])
    sheet.append([_head(column) for column in table.columns])
    for row in table.rows:
        sheet.append([_make_cell(column, row) for column in table.columns])
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _make_cell(column: str, row: Mapping[str, Any]) -> Any:
    value = row[column]
    if column in AMOUNTS and value is not None:
        return Decimal(value).scaleb(-get_exponent(row["currency"]))
    if isinstance(value, str) and value.startswith("="):
        return f"'{value}"
    return json.dumps(value) if isinstance(value, list | dict) else value
