"""Where accounts and claims stand: open invoices by age, accounts that leave, usage by month, and all of it at once."""

from __future__ import annotations

from typing import Any, Final

from django.db import connection

from billing_site.kernel.periods import add_months
from catalog.models import Aggregation, Meter
from invoicing.queries.reports.asking import Asked, ReportTable, divide, month_start
from invoicing.queries.reports.recurring import list_recurring_months
from metering.stores import sum_months

_AGES: Final = ("current", "1-30", "31-60", "61-90", "over_90")
_ADDITIVE: Final = (Aggregation.SUM, Aggregation.COUNT)
# Days past due by the calendar of the account.
_AGING: Final = """
    SELECT open.currency, width_bucket(open.late, ARRAY[1, 31, 61, 91]), count(*), sum(open.remaining)::bigint FROM (
        SELECT invoice.currency, invoice.amount_due - invoice.amount_paid AS remaining,
            (%(at)s AT TIME ZONE account.timezone)::date - invoice.due_date AS late
        FROM invoices AS invoice JOIN accounts AS account ON account.id = invoice.account_id
        WHERE invoice.status = 'open' AND (%(org)s::text IS NULL OR invoice.org_id = %(org)s)
            AND (%(currency)s::text IS NULL OR invoice.currency = %(currency)s)
    ) AS open GROUP BY 1, 2 ORDER BY 1, 2
"""
# A trial is not active yet; a subscription that was never paid for never was.
_CHURN: Final = """
    SELECT month.place, count(*), count(*) FILTER (WHERE subscription.ended_at < month.until)
    FROM unnest(%(places)s::int[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS month (place, since, until)
    JOIN subscriptions AS subscription ON greatest(subscription.started_at, subscription.trial_end) < month.since
        AND (subscription.ended_at IS NULL OR subscription.ended_at >= month.since)
        AND subscription.status <> 'incomplete'
    JOIN accounts AS account ON account.id = subscription.account_id
    WHERE (%(org)s::text IS NULL OR account.org_id = %(org)s)
        AND (%(currency)s::text IS NULL OR subscription.currency = %(currency)s)
    GROUP BY month.place ORDER BY month.place
"""
_STANDING: Final = """
    SELECT currency, sum(accounts)::bigint, sum(subscriptions)::bigint, sum(invoices)::bigint, sum(remaining)::bigint
    FROM (
        SELECT account.currency, count(*) AS accounts, 0 AS subscriptions, 0 AS invoices, 0 AS remaining
        FROM accounts AS account WHERE account.status <> 'closed'
            AND (%(org)s::text IS NULL OR account.org_id = %(org)s) GROUP BY 1
        UNION ALL
        SELECT subscription.currency, 0, count(*), 0, 0 FROM subscriptions AS subscription
        JOIN accounts AS account ON account.id = subscription.account_id
        WHERE subscription.status IN ('active', 'past_due')
            AND (%(org)s::text IS NULL OR account.org_id = %(org)s) GROUP BY 1
        UNION ALL
        SELECT invoice.currency, 0, 0, count(*), sum(invoice.amount_due - invoice.amount_paid)
        FROM invoices AS invoice WHERE invoice.status = 'open'
            AND (%(org)s::text IS NULL OR invoice.org_id = %(org)s) GROUP BY 1
    ) AS part WHERE (%(currency)s::text IS NULL OR currency = %(currency)s) GROUP BY 1 ORDER BY 1
"""


def report_aging(asked: Asked) -> ReportTable:
    """Return what is still to be paid of open invoices, minor units by currency and days past due. One statement."""
    found: dict[str, dict[int, tuple[int, int]]] = {}
    for currency, place, count, remaining in _select(_AGING, asked):
        found.setdefault(currency, {})[place] = (count, remaining)
    rows = []
    for currency, ages in found.items():
        for place, age in enumerate(_AGES):
            count, remaining = ages.get(place, (0, 0))
            rows.append({"currency": currency, "age": age, "invoices": count, "amount": remaining})
    return ReportTable(("currency", "age", "invoices", "amount"), rows)


def report_churn(asked: Asked) -> ReportTable:
    """Return, by month, how many subscriptions were active at its start, and how many of them ended in it."""
    months = asked.months
    values = {
        "places": list(range(len(months))),
        "starts": [month_start(month) for month in months],
        "ends": [month_start(add_months(month, 1)) for month in months],
    }
    found = {place: (active, churned) for place, active, churned in _select(_CHURN, asked, values)}
    rows = []
    for place, month in enumerate(months):
        active, churned = found.get(place, (0, 0))
        rate = divide(churned, active)
        rows.append({"month": f"{month:%Y-%m}", "active_at_start": active, "churned": churned, "churn_rate": rate})
    return ReportTable(("month", "active_at_start", "churned", "churn_rate"), rows)


def report_usage_trends(asked: Asked) -> ReportTable:
    """
    Return, by UTC month and meter, what all accounts used, and how that changed from the month before.

    Quantities are of meters that add up; of others, accounts and events say how much they are used.
    """
    before = month_start(add_months(asked.first, -1))
    totals = sum_months(org_id=asked.org_id, start=before, end=asked.end)
    meters = {meter.id: meter for meter in Meter.objects.filter(id__in={total.meter_id for total in totals})}
    known = {(total.starts_at, total.meter_id): total for total in totals}
    rows = []
    for total in totals:
        if total.starts_at < asked.start:
            continue
        meter = meters[total.meter_id]
        earlier = known.get((month_start(add_months(total.starts_at.date(), -1)), total.meter_id))
        is_additive = meter.aggregation in _ADDITIVE
        rows.append(
            {
                "month": f"{total.starts_at:%Y-%m}",
                "meter": meter.event_name,
                "unit": meter.unit,
                "quantity": f"{total.total.normalize():f}" if is_additive else None,
                "events": total.events,
                "accounts": total.accounts,
                "change": None if earlier is None else divide(total.events - earlier.events, earlier.events),
            }
        )
    return ReportTable(("month", "meter", "unit", "quantity", "events", "accounts", "change"), rows)


def report_dashboard(asked: Asked) -> ReportTable:
    """Return accounts, active subscriptions, recurring revenue, open invoices and receivables, by currency."""
    recurring = {found.currency: found.revenue for found in list_recurring_months(asked) if found.month == asked.last}
    columns = (
        "currency",
        "accounts",
        "active_subscriptions",
        "recurring_revenue",
        "open_invoices",
        "receivables",
    )
    rows = [
        dict(zip(columns, (currency, accounts, active, recurring.get(currency, 0), invoices, remaining), strict=True))
        for currency, accounts, active, invoices, remaining in _select(_STANDING, asked)
    ]
    return ReportTable(columns, rows)


def _select(statement: str, asked: Asked, further: dict[str, object] | None = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, asked.values | (further or {}))
        return list(cursor.fetchall())
