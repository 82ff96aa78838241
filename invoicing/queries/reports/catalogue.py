"""All reports by name: the six of the contract, and those of finance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from billing_site.kernel.errors import NotFound
from invoicing.queries.reports.asking import Asked, ReportTable
from invoicing.queries.reports.recurring import report_lifetime_value, report_recurring_revenue
from invoicing.queries.reports.revenue import (
    report_deferred_revenue,
    report_revenue_by_country,
    report_revenue_by_meter,
    report_revenue_by_plan,
    report_tax_by_rate,
)
from invoicing.queries.reports.standing import report_aging, report_churn, report_dashboard, report_usage_trends


@dataclass(frozen=True, slots=True)
class Report:
    """A report: its name, what people call it, what it says, and the column that a chart shows over months."""

    name: str
    title: str
    about: str
    make: Callable[[Asked], ReportTable]
    charted: str = ""
    counts: bool = False


REPORTS: Final = {
    report.name: report
    for report in (
        Report(
            "dashboard",
            "At a glance",
            "Accounts, active subscriptions, recurring revenue, open invoices and receivables, by currency.",
            report_dashboard,
        ),
        Report(
            "mrr",
            "Recurring revenue",
            "Fees of a month as billed, net of discounts; a year counts a twelfth. Movements are by account. Credit "
            "notes give money back and change no price: they are not subtracted here.",
            report_recurring_revenue,
            charted="recurring_revenue",
        ),
        Report(
            "churn",
            "Churn",
            "Subscriptions that ended, of those that were active when the month began.",
            report_churn,
            charted="churned",
            counts=True,
        ),
        Report(
            "clv",
            "Lifetime value",
            "Revenue of an account in a month, divided by the share of accounts that leave in one.",
            report_lifetime_value,
        ),
        Report("aging", "Open by age", "What is left of open invoices, by days past due.", report_aging),
        Report(
            "usage-trends",
            "Usage trends",
            "What all accounts used, by meter and calendar month (UTC).",
            report_usage_trends,
            charted="events",
            counts=True,
        ),
        Report(
            "revenue-by-plan",
            "Revenue by plan",
            "Net amounts of issued lines less credit notes, each by its month of issue.",
            report_revenue_by_plan,
            charted="revenue",
        ),
        Report(
            "revenue-by-meter",
            "Revenue by meter",
            "Net amounts of issued lines less credit notes, each by its month of issue.",
            report_revenue_by_meter,
            charted="revenue",
        ),
        Report(
            "revenue-by-country",
            "Revenue by country",
            "Issued invoices less credit notes by the country on the invoice, with tax.",
            report_revenue_by_country,
            charted="net",
        ),
        Report(
            "tax-by-rate",
            "Tax by rate",
            "Tax of issued invoices less credit notes by rate and place, with the net amount it is of.",
            report_tax_by_rate,
            charted="tax",
        ),
        Report(
            "deferred-revenue",
            "Deferred revenue",
            "Which month earns what is deferred now.",
            report_deferred_revenue,
            charted="amount",
        ),
    )
}


def get_report(name: str) -> Report:
    """:raises NotFound: if there is no such report."""
    report = REPORTS.get(name)
    if report is None:
        raise NotFound("report")
    return report
