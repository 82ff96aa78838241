"""
Monthly recurring revenue from what was billed: at the prices, quantities and discounts of the time.

Source: contract chapter Exports and reports; ADR 0044.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from django.db import connection

from billing_site.kernel.periods import add_months
from invoicing.queries.reports.asking import Asked, ReportTable, divide, last_moment

_UNIT_MONTHS: Final = """CASE price.interval
            WHEN 'month' THEN 1 WHEN 'year' THEN 12 WHEN 'week' THEN 84.0 / 365 ELSE 12.0 / 365 END"""
# A fee covers its period; a note for unused time takes it back from there on. One in arrears is billed when its period
# is over: until the next one it is taken to go on.
_FEES: Final = f"""
    SELECT invoice.account_id, line.currency, line.period_start,
        CASE WHEN price.billing_timing = 'arrears' AND line.type = 'subscription'
            THEN least(coalesce(subscription.ended_at, 'infinity'), line.period_end
                + make_interval(months => CASE price.interval WHEN 'month' THEN 1 WHEN 'year' THEN 12 ELSE 0 END
                    * price.interval_count, days => CASE price.interval WHEN 'week' THEN 7 WHEN 'day' THEN 1 ELSE 0 END
                    * price.interval_count))
            ELSE line.period_end END AS covered_until,
        (CASE
            WHEN (line.trace #> '{{charge,credits,given}}') IS NOT NULL THEN 0
            WHEN (line.trace #> '{{charge,share}}') IS NULL THEN (line.amount - line.discount)::numeric
            WHEN line.trace #>> '{{charge,price,model}}' IN ('per_unit', 'flat') AND line.amount <> 0
                AND line.trace #> '{{charge,price,options}}' IS NULL AND line.trace -> 'tax_included' IS NULL THEN
                CASE WHEN line.trace #> '{{charge,is_credit}}' IS NULL THEN 1 ELSE -1 END
                * ((line.trace #>> '{{charge,price,unit_amount}}')::numeric * line.quantity
                    - coalesce((line.trace #>> '{{charge,discount}}')::numeric, 0))
                * (1 - line.discount::numeric / line.amount)
            ELSE (line.amount - line.discount) * (line.trace #>> '{{charge,share,denominator}}')::numeric
                / nullif((line.trace #>> '{{charge,share,numerator}}')::numeric, 0)
        END) / (price.interval_count * {_UNIT_MONTHS}) AS monthly
    FROM invoice_lines AS line
    JOIN invoices AS invoice ON invoice.id = line.invoice_id
    JOIN prices AS price ON price.id = line.price_id AND price.meter_id IS NULL
    LEFT JOIN subscriptions AS subscription
        ON subscription.id = coalesce(line.subscription_id, invoice.subscription_id)
    WHERE invoice.status IN ('open', 'paid', 'uncollectible') AND line.type IN ('subscription', 'proration')
        AND line.period_end > %(earliest)s - interval '1 year' AND line.period_start <= %(latest)s
        AND (%(org)s::text IS NULL OR invoice.org_id = %(org)s)
        AND (%(currency)s::text IS NULL OR invoice.currency = %(currency)s)
    UNION ALL
    SELECT note.account_id, note.currency, unused.starts, unused.ends,
        -(line.trace #>> '{{unused,fee}}')::numeric * (line.trace #>> '{{unused,net}}')::numeric
            / (line.trace #>> '{{unused,gross}}')::numeric / (price.interval_count * {_UNIT_MONTHS})
    FROM credit_note_lines AS line
    JOIN credit_notes AS note ON note.id = line.credit_note_id
    JOIN invoice_lines AS billed ON billed.id = line.invoice_line_id
    JOIN prices AS price ON price.id = billed.price_id
    CROSS JOIN LATERAL (
        SELECT (line.trace #>> '{{unused,period,0}}')::timestamptz AS starts,
            (line.trace #>> '{{unused,period,1}}')::timestamptz AS ends
    ) AS unused
    WHERE note.status = 'issued' AND line.trace #> '{{unused}}' IS NOT NULL
        AND line.trace #> '{{unused,given}}' IS NULL
        AND unused.ends > %(earliest)s - interval '1 year' AND unused.starts <= %(latest)s
        AND (%(org)s::text IS NULL OR note.org_id = %(org)s)
        AND (%(currency)s::text IS NULL OR note.currency = %(currency)s)
"""  # noqa: S608 - joined with a constant
# Amounts are rounded once per account and moment, so that the movements sum to the difference.
_MONTHS: Final = f"""
    WITH moment AS (
        SELECT * FROM unnest(%(places)s::int[], %(moments)s::timestamptz[]) AS moment (place, at)
    ), fee AS MATERIALIZED ({_FEES}), amount AS (
        SELECT moment.place, fee.account_id, fee.currency, round(sum(fee.monthly))::bigint AS amount
        FROM moment JOIN fee ON fee.period_start <= moment.at AND fee.covered_until > moment.at
        GROUP BY 1, 2, 3 HAVING round(sum(fee.monthly)) > 0
    ), account AS (
        SELECT account_id, currency, min(place) AS first_place FROM amount GROUP BY 1, 2
    ), beginning AS (
        SELECT invoice.account_id, invoice.currency, min(line.period_start) AS first_at FROM invoice_lines AS line
        JOIN invoices AS invoice ON invoice.id = line.invoice_id
        JOIN prices AS price ON price.id = line.price_id AND price.meter_id IS NULL
        WHERE invoice.status IN ('open', 'paid', 'uncollectible') AND line.type IN ('subscription', 'proration')
            AND line.amount > line.discount AND (%(org)s::text IS NULL OR invoice.org_id = %(org)s)
        GROUP BY 1, 2
    ), pair AS (
        SELECT later.place, account.currency, coalesce(before.amount, 0) AS before, coalesce(now.amount, 0) AS now,
            beginning.first_at <= earlier.at AS is_known
        FROM account JOIN moment AS later ON later.place > 0 JOIN moment AS earlier ON earlier.place = later.place - 1
        JOIN beginning USING (account_id, currency)
        LEFT JOIN amount AS before ON before.account_id = account.account_id
            AND before.currency = account.currency AND before.place = earlier.place
        LEFT JOIN amount AS now ON now.account_id = account.account_id
            AND now.currency = account.currency AND now.place = later.place
    )
    SELECT place, currency, count(*) FILTER (WHERE before > 0), count(*) FILTER (WHERE now > 0),
        count(*) FILTER (WHERE before = 0 AND now > 0 AND NOT is_known),
        count(*) FILTER (WHERE before = 0 AND now > 0 AND is_known),
        count(*) FILTER (WHERE before > 0 AND now = 0),
        sum(before)::bigint, sum(now)::bigint,
        coalesce(sum(now) FILTER (WHERE before = 0 AND NOT is_known), 0)::bigint,
        coalesce(sum(now) FILTER (WHERE before = 0 AND is_known), 0)::bigint,
        coalesce(sum(now - before) FILTER (WHERE before > 0 AND now > before), 0)::bigint,
        coalesce(sum(before - now) FILTER (WHERE now > 0 AND now < before), 0)::bigint,
        coalesce(sum(before) FILTER (WHERE now = 0), 0)::bigint
    FROM pair GROUP BY place, currency ORDER BY currency, place
"""  # noqa: S608 - joined with a constant
MRR_COLUMNS: Final = (
    "month",
    "currency",
    "active",
    "new",
    "reactivated",
    "churned",
    "recurring_revenue",
    "new_revenue",
    "expansion",
    "contraction",
    "churned_revenue",
    "reactivation",
)


@dataclass(frozen=True, slots=True)
class RecurringMonth:
    """
    One month in one currency: accounts that pay a fee, and minor units a month, at its start and at its end.

    `end = start + new + reactivation + expansion - contraction - churned`; the movements are zero or more.
    """

    month: date
    currency: str
    active_at_start: int
    active: int
    new: int
    reactivated: int
    churned: int
    revenue_at_start: int
    revenue: int
    new_revenue: int
    reactivation: int
    expansion: int
    contraction: int
    churned_revenue: int


def list_recurring_months(asked: Asked) -> list[RecurringMonth]:
    """
    Return recurring revenue at the end of each month, or now, and how it came from that of the month before.

    By currency, then month; currencies without recurring revenue are left out. One statement.
    """
    months = [add_months(asked.first, -1), *asked.months]
    moments = [last_moment(month, asked.at) for month in months]
    values = asked.values | {
        "places": list(range(len(months))),
        "moments": moments,
        "earliest": moments[0],
        "latest": moments[-1],
    }
    with connection.cursor() as cursor:
        cursor.execute(_MONTHS, values)
        return [RecurringMonth(months[place], *rest) for place, *rest in cursor.fetchall()]


def report_recurring_revenue(asked: Asked) -> ReportTable:
    """Return recurring revenue by month and currency with its movements, minor units."""
    return ReportTable(
        MRR_COLUMNS,
        [
            {
                "month": f"{found.month:%Y-%m}",
                "currency": found.currency,
                "active": found.active,
                "new": found.new,
                "reactivated": found.reactivated,
                "churned": found.churned,
                "recurring_revenue": found.revenue,
                "new_revenue": found.new_revenue,
                "expansion": found.expansion,
                "contraction": found.contraction,
                "churned_revenue": found.churned_revenue,
                "reactivation": found.reactivation,
            }
            for found in list_recurring_months(asked)
        ],
    )


def report_lifetime_value(asked: Asked) -> ReportTable:
    """
    Return what an account brings on average before it leaves, by currency: revenue per account / churn of a month.

    Both are averages over the months asked for. Without churn there is no end to the lifetime, and no value.
    """
    columns = ("currency", "accounts", "average_revenue", "churn_rate", "lifetime_months", "lifetime_value")
    months: dict[str, list[RecurringMonth]] = {}
    for found in list_recurring_months(asked):
        months.setdefault(found.currency, []).append(found)
    return ReportTable(columns, [_value(currency, rows) for currency, rows in months.items()])


def _value(currency: str, rows: Sequence[RecurringMonth]) -> dict[str, object]:
    started, churned = sum(each.active_at_start for each in rows), sum(each.churned for each in rows)
    active, revenue = sum(each.active for each in rows), sum(each.revenue for each in rows)
    value = divide(revenue * started, active * churned, places="1")
    return {
        "currency": currency,
        "accounts": rows[-1].active,
        "average_revenue": int(divide(revenue, active, places="1") or 0),
        "churn_rate": divide(churned, started),
        "lifetime_months": divide(started, churned, places="0.1"),
        "lifetime_value": None if value is None else int(value),
    }
