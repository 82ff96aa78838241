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
# A note counts in its own month, and where its invoice counted: under the plan, country and rate of there (ADR 0046).
_NOTED: Final = """
    note.status = 'issued' AND note.issue_date >= %(first)s AND note.issue_date < %(after)s
    AND (%(org)s::text IS NULL OR note.org_id = %(org)s)
    AND (%(currency)s::text IS NULL OR note.currency = %(currency)s)
"""
_BY_LINE: Final = f"""
    SELECT to_char(part.issue_date, 'YYYY-MM'), part.currency, {{name}}, count(DISTINCT part.invoice_id),
        sum(part.amount)::bigint, sum(part.discount)::bigint, sum(part.credited)::bigint,
        sum(part.amount - part.discount - part.credited)::bigint
    FROM (
        SELECT invoice.issue_date, invoice.currency, invoice.id AS invoice_id, line.plan_version_id, line.meter_id,
            line.amount, line.discount, 0 AS credited
        FROM invoice_lines AS line JOIN invoices AS invoice ON invoice.id = line.invoice_id WHERE {_ISSUED}
        UNION ALL
        SELECT note.issue_date, note.currency, NULL, line.plan_version_id, line.meter_id, 0, 0, noted.amount
        FROM credit_note_lines AS noted JOIN credit_notes AS note ON note.id = noted.credit_note_id
        JOIN invoice_lines AS line ON line.id = noted.invoice_line_id WHERE {_NOTED}
    ) AS part
    LEFT JOIN plan_versions AS version ON version.id = part.plan_version_id
    LEFT JOIN plans AS plan ON plan.id = version.plan_id
    LEFT JOIN meters AS meter ON meter.id = part.meter_id
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 8 DESC, 3
"""  # noqa: S608 - joined with constants
_BY_COUNTRY: Final = f"""
    SELECT to_char(part.issue_date, 'YYYY-MM'), part.currency, coalesce(nullif(part.country, ''), '-'),
        sum(part.invoices)::bigint, sum(part.notes)::bigint,
        sum(part.total - part.tax)::bigint, sum(part.tax)::bigint, sum(part.total)::bigint
    FROM (
        SELECT invoice.issue_date, invoice.currency, invoice.account_snapshot ->> 'country' AS country,
            1 AS invoices, 0 AS notes, invoice.tax, invoice.total
        FROM invoices AS invoice WHERE {_ISSUED}
        UNION ALL
        SELECT note.issue_date, note.currency, invoice.account_snapshot ->> 'country', 0, 1, -note.tax, -note.total
        FROM credit_notes AS note JOIN invoices AS invoice ON invoice.id = note.invoice_id WHERE {_NOTED}
    ) AS part GROUP BY 1, 2, 3 ORDER BY 1, 2, 8 DESC, 3
"""  # noqa: S608 - joined with constants
_BY_RATE: Final = f"""
    SELECT to_char(part.issue_date, 'YYYY-MM'), part.currency, part.name, part.jurisdiction,
        trim_scale(part.rate * 100)::text, count(DISTINCT part.invoice_id), count(DISTINCT part.note_id),
        sum(part.base)::bigint, sum(part.amount)::bigint
    FROM (
        SELECT invoice.issue_date, invoice.currency, tax.name, tax.jurisdiction, tax.rate, invoice.id AS invoice_id,
            NULL::uuid AS note_id, tax.base, tax.amount
        FROM invoice_taxes AS tax JOIN invoices AS invoice ON invoice.id = tax.invoice_id WHERE {_ISSUED}
        UNION ALL
        SELECT note.issue_date, note.currency, tax.name, tax.jurisdiction, tax.rate, NULL, note.id,
            -noted.base, -noted.amount
        FROM credit_note_taxes AS noted JOIN credit_notes AS note ON note.id = noted.credit_note_id
        JOIN invoice_taxes AS tax ON tax.id = noted.invoice_tax_id WHERE {_NOTED}
    ) AS part GROUP BY 1, 2, 3, 4, part.rate ORDER BY 1, 2, 9 DESC, 3, 4
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
_AMOUNTS: Final = ("invoices", "amount", "discount", "credited", "revenue")


def report_revenue_by_plan(asked: Asked) -> ReportTable:
    """
    Return the net amounts of lines by month of issue, currency and plan, minor units; the largest first.

    `revenue` is net of discounts and of what credit notes of the month took back (`credited`).
    """
    return _report(_BY_LINE.format(name="coalesce(plan.key, '-')"), ("month", "currency", "plan", *_AMOUNTS), asked)


def report_revenue_by_meter(asked: Asked) -> ReportTable:
    """Return the same by meter; fees have none."""
    name = "coalesce(meter.event_name, '-')"
    return _report(_BY_LINE.format(name=name), ("month", "currency", "meter", *_AMOUNTS), asked)


def report_revenue_by_country(asked: Asked) -> ReportTable:
    """Return what was invoiced less credit notes, by the country on the invoice: net, tax, total, minor units."""
    columns = ("month", "currency", "country", "invoices", "credit_notes", "net", "tax", "total")
    return _report(_BY_COUNTRY, columns, asked)


def report_tax_by_rate(asked: Asked) -> ReportTable:
    """Return the tax of invoices less credit notes by month of issue, currency and rate (percent), with its base."""
    columns = ("month", "currency", "name", "jurisdiction", "percent", "invoices", "credit_notes", "base", "tax")
    return _report(_BY_RATE, columns, asked)


def report_deferred_revenue(asked: Asked) -> ReportTable:
    """Return which month earns how much of what is deferred now, minor units by currency."""
    return _report(_DEFERRED, ("month", "currency", "lines", "amount"), asked)


def _report(statement: str, columns: tuple[str, ...], asked: Asked) -> ReportTable:
    with connection.cursor() as cursor:
        cursor.execute(statement, asked.values)
        return ReportTable(columns, [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()])
