"""Revenue for finance: what was invoiced by plan, meter and country, taxed, and what is still deferred."""

from __future__ import annotations

from typing import Final

from django.db import connection

from invoicing.queries.reports.asking import Asked, ReportTable

_ISSUED: Final = """
    invoice.status IN ('open', 'paid', 'uncollectible')
    AND invoice.issue_date >= %(first)s AND invoice.issue_date < %(after)s
    AND (%(org)s::text IS NULL OR invoice.org_id = %(org)s)
    AND (%(currency)s::text IS NULL OR invoice.currency = %(currency)s)
"""
_BY_LINE: Final = f"""
    SELECT to_char(invoice.issue_date, 'YYYY-MM'), invoice.currency, {{name}}, count(DISTINCT invoice.id),
        sum(line.amount)::bigint, sum(line.discount)::bigint, sum(line.amount - line.discount)::bigint
    FROM invoice_lines AS line JOIN invoices AS invoice ON invoice.id = line.invoice_id
    LEFT JOIN plan_versions AS version ON version.id = line.plan_version_id
    LEFT JOIN plans AS plan ON plan.id = version.plan_id
    LEFT JOIN meters AS meter ON meter.id = line.meter_id
    WHERE {_ISSUED} GROUP BY 1, 2, 3 ORDER BY 1, 2, 7 DESC, 3
"""  # noqa: S608 - joined with constants
_BY_COUNTRY: Final = f"""
    SELECT to_char(invoice.issue_date, 'YYYY-MM'), invoice.currency,
        coalesce(nullif(invoice.account_snapshot ->> 'country', ''), '-'), count(*),
        sum(invoice.total - invoice.tax)::bigint, sum(invoice.tax)::bigint, sum(invoice.total)::bigint
    FROM invoices AS invoice WHERE {_ISSUED} GROUP BY 1, 2, 3 ORDER BY 1, 2, 7 DESC, 3
"""  # noqa: S608 - joined with constants
_BY_RATE: Final = f"""
    SELECT to_char(invoice.issue_date, 'YYYY-MM'), invoice.currency, tax.name, tax.jurisdiction,
        trim_scale(tax.rate * 100)::text, count(DISTINCT invoice.id), sum(tax.base)::bigint, sum(tax.amount)::bigint
    FROM invoice_taxes AS tax JOIN invoices AS invoice ON invoice.id = tax.invoice_id
    WHERE {_ISSUED} GROUP BY 1, 2, 3, 4, tax.rate ORDER BY 1, 2, 8 DESC, 3, 4
"""  # noqa: S608 - joined with constants
_DEFERRED: Final = """
    SELECT to_char(month.starts, 'YYYY-MM'), schedule.currency, count(*), sum(
        sign(schedule.amount)::bigint * (
            (until.day - schedule.first_day) * (abs(schedule.amount) / (schedule.end_day - schedule.first_day))
            + least(until.day - schedule.first_day, abs(schedule.amount) %% (schedule.end_day - schedule.first_day))
            - (since.day - schedule.first_day) * (abs(schedule.amount) / (schedule.end_day - schedule.first_day))
            - least(since.day - schedule.first_day, abs(schedule.amount) %% (schedule.end_day - schedule.first_day))
        ))::bigint
    FROM revenue_schedules AS schedule JOIN invoices AS invoice ON invoice.id = schedule.invoice_id
    CROSS JOIN LATERAL generate_series(
        date_trunc('month', schedule.recognized_until)::date, schedule.end_day - 1, interval '1 month'
    ) AS month (starts)
    CROSS JOIN LATERAL (SELECT greatest(schedule.recognized_until, month.starts::date) AS day) AS since
    CROSS JOIN LATERAL (SELECT least(schedule.end_day, (month.starts + interval '1 month')::date) AS day) AS until
    WHERE schedule.is_open AND (%(org)s::text IS NULL OR invoice.org_id = %(org)s)
        AND (%(currency)s::text IS NULL OR schedule.currency = %(currency)s)
    GROUP BY 1, 2 ORDER BY 2, 1
"""
_AMOUNTS: Final = ("invoices", "amount", "discount", "revenue")


def report_revenue_by_plan(asked: Asked) -> ReportTable:
    """Return the net amounts of lines by month of issue, currency and plan, minor units; the largest first."""
    return _report(_BY_LINE.format(name="coalesce(plan.key, '-')"), ("month", "currency", "plan", *_AMOUNTS), asked)


def report_revenue_by_meter(asked: Asked) -> ReportTable:
    """Return the same by meter; fees have none."""
    name = "coalesce(meter.event_name, '-')"
    return _report(_BY_LINE.format(name=name), ("month", "currency", "meter", *_AMOUNTS), asked)


def report_revenue_by_country(asked: Asked) -> ReportTable:
    """Return what was invoiced by the country on the document: net, tax and total, minor units."""
    columns = ("month", "currency", "country", "invoices", "net", "tax", "total")
    return _report(_BY_COUNTRY, columns, asked)


def report_tax_by_rate(asked: Asked) -> ReportTable:
    """Return the tax of issued invoices by month of issue, currency and rate (percent), with what it is of."""
    columns = ("month", "currency", "name", "jurisdiction", "percent", "invoices", "base", "tax")
    return _report(_BY_RATE, columns, asked)


def report_deferred_revenue(asked: Asked) -> ReportTable:
    """Return which month earns how much of what is deferred now, minor units by currency."""
    return _report(_DEFERRED, ("month", "currency", "lines", "amount"), asked)


def _report(statement: str, columns: tuple[str, ...], asked: Asked) -> ReportTable:
    with connection.cursor() as cursor:
        cursor.execute(statement, asked.values)
        return ReportTable(columns, [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()])
