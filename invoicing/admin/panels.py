"""What invoicing shows on the overview: invoiced, open, overdue, newest invoices and runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date

from django.db.models import Count, F, Q, Sum
from django.db.models.functions import TruncMonth
from django.urls import reverse

from billing_site.backoffice.display import TONES, format_amount, format_money
from billing_site.backoffice.panels import (
    Cell,
    ChartPanel,
    EmptyState,
    Metric,
    Panel,
    PanelContext,
    Series,
    TablePanel,
    Tone,
    register_panel,
)
from billing_site.kernel.periods import add_months
from invoicing.models import BillingRun, Invoice, InvoiceStatus, OutcomeStatus
from invoicing.queries.reviews import count_waiting

_MONTHS = 6
_RUN_PAGE = "admin:invoicing_billingrun_change"
_ROWS = 6
_CHARTS = 2
_BILLED = ("open", "paid", "uncollectible")
_BADGES: dict[str, Tone] = {"good": "good", "info": "info", "warning": "warning", "bad": "bad"}


def register() -> None:
    """Put the panels on the overview."""
    register_panel("invoicing.amounts", build_amounts, order=10, permission="invoicing.view_invoice")
    register_panel("invoicing.review", build_review, order=11, permission="invoicing.view_invoicereview")
    register_panel("invoicing.lists", build_lists, order=20, permission="invoicing.view_billingrun")


def build_amounts(context: PanelContext) -> Iterable[Panel]:
    """Invoiced by month, open, overdue: three queries."""
    today = context.at.date()
    months = [add_months(today.replace(day=1), -back) for back in range(_MONTHS - 1, -1, -1)]
    changelist = reverse("admin:invoicing_invoice_changelist")
    invoiced = _sum_by_month(months[0])
    for title, month in (("Invoiced this month", months[-1]), ("Invoiced last month", months[-2])):
        url = f"{changelist}?issue_date__gte={month}&issue_date__lt={add_months(month, 1)}"
        amounts = {currency: by_month.get(month, 0) for currency, by_month in invoiced.items() if by_month.get(month)}
        yield Metric(title, _format(amounts), caption=f"{month:%B %Y}", url=url, icon="receipt_long", order=10)
    open_rows = Invoice.objects.filter(status=InvoiceStatus.OPEN).order_by()
    left = F("amount_due") - F("amount_paid")
    totals = list(open_rows.values("currency").annotate(left=Sum(left), late=Sum(left, filter=Q(due_date__lt=today))))
    amounts = {row["currency"]: row["left"] for row in totals if row["left"]}
    late = {row["currency"]: row["late"] for row in totals if row["late"]}
    open_url = f"{changelist}?status__exact=open"
    yield Metric("Open", _format(amounts), caption="issued, not paid", url=open_url, icon="pending", order=11)
    yield Metric(
        "Overdue",
        _format(late),
        caption="past the due date",
        url=f"{open_url}&due_date__lt={today}",
        tone="bad" if late else "good",
        icon="warning",
        order=12,
    )
    yield from _charts(invoiced, months)


def build_review(_: PanelContext) -> Iterable[Panel]:
    """What waits for a person, where something does: one query."""
    if waiting := count_waiting():
        url = reverse("admin:invoicing_invoicereview_changelist") + "?status__exact=waiting"
        caption = "held by billing runs, not issued"
        yield Metric("Waiting for review", [f"{waiting:,}"], caption, url, tone="warning", icon="fact_check", order=13)


def _sum_by_month(first: date) -> dict[str, dict[date, int]]:
    rows = (
        Invoice.objects.filter(status__in=_BILLED, issue_date__gte=first)
        .order_by()
        .values("currency", month=TruncMonth("issue_date"))
        .annotate(amount=Sum("total"))
    )
    found: dict[str, dict[date, int]] = defaultdict(dict)
    for row in rows:
        found[row["currency"]][row["month"]] = row["amount"]
    return found


def _charts(invoiced: dict[str, dict[date, int]], months: list[date]) -> Iterable[ChartPanel]:
    """One chart per currency, because amounts of two currencies have no common scale; those billed most often."""
    most_billed = sorted(invoiced, key=lambda currency: (-len(invoiced[currency]), currency))[:_CHARTS]
    for currency in most_billed or [""]:
        amounts = [invoiced.get(currency, {}).get(month, 0) for month in months]
        labels = [format_amount(amount, currency) if currency else "0" for amount in amounts]
        title = f"Invoiced by month, {currency.upper()}" if currency else "Invoiced by month"
        url = reverse("admin:invoicing_invoice_changelist") + (f"?currency={currency}" if currency else "")
        yield _chart(title, months, Series(currency.upper(), amounts, labels), url)


def _chart(title: str, months: list[date], series: Series, url: str) -> ChartPanel:
    return ChartPanel(
        title,
        [f"{month:%b %Y}" for month in months],
        [series],
        caption="Totals of issued invoices that are not void, by issue date",
        url=url,
        empty=EmptyState(
            "Nothing invoiced yet",
            "Start a subscription and run the billing cycle.",
            "Billing runs",
            reverse("admin:invoicing_billingrun_changelist"),
        ),
        order=15,
    )


def _format(amounts: dict[str, int]) -> list[str]:
    return [format_money(amount, currency) for currency, amount in sorted(amounts.items())] or ["0"]


def build_lists(_: PanelContext) -> Iterable[Panel]:
    """The newest runs and invoices: two queries."""
    runs = BillingRun.objects.annotate(
        total_count=Count("outcomes"),
        issued_count=Count("outcomes", filter=Q(outcomes__status=OutcomeStatus.ISSUED)),
        failed_count=Count("outcomes", filter=Q(outcomes__status=OutcomeStatus.FAILED)),
    ).order_by("-id")[:_ROWS]
    yield TablePanel(
        "Billing runs",
        ["Run", "State", "Subscriptions", "Issued", "Failed"],
        [
            [
                Cell(
                    f"{run.org_id}, {run.as_of:%d %b %Y}", reverse("admin:invoicing_billingrun_change", args=[run.pk])
                ),
                Cell(run.get_status_display(), tone=_tone(run.status)),
                f"{run.total_count:,}",
                f"{run.issued_count:,}",
                Cell(f"{run.failed_count:,}", tone="bad") if run.failed_count else "0",
            ]
            for run in runs
        ],
        url=reverse("admin:invoicing_billingrun_changelist"),
        empty=EmptyState("No run yet", "The schedule looks every five minutes for what is due."),
        numeric=(2, 3, 4),
        order=20,
    )
    invoices = Invoice.objects.select_related("account").only(
        "number_text", "status", "total", "currency", "account__name"
    )
    yield TablePanel(
        "Newest invoices",
        ["Number", "Account", "State", "Total"],
        [
            [
                Cell(str(invoice), reverse("admin:invoicing_invoice_change", args=[invoice.pk])),
                invoice.account.name,
                Cell(invoice.get_status_display(), tone=_tone(invoice.status)),
                format_money(invoice.total, invoice.currency),
            ]
            for invoice in invoices.order_by("-id")[:_ROWS]
        ],
        url=reverse("admin:invoicing_invoice_changelist"),
        empty=EmptyState("No invoice yet", "Invoices appear here when the first run has billed something."),
        numeric=(3,),
        order=21,
    )


def _tone(status: str) -> Tone:
    return _BADGES.get(TONES.get(status, ""), "neutral")
