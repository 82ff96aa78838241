"""The cost so far on an account's page: what it is, what it was, and how it grew, as text and drawings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel.dates import format_date
from babel.numbers import format_compact_decimal
from django.utils.safestring import SafeString

from billing_site.backoffice.display import format_money, format_period, format_quantity, locale
from billing_site.backoffice.time_charts import NARROW, TimeChart, TimeDrawing, TimeSeries, draw_over_time
from billing_site.kernel.money import get_exponent
from invoicing.queries.glance import CostGlance
from invoicing.queries.realtime import Timeline, TimelinePoint

# The bars stand on what there was before the day; the day's own part is on top.
BEFORE, ADDED = 0, 1


@dataclass(frozen=True, slots=True)
class CostView:
    """One currency: amounts as text, the share by which it is above or below the period before, and its days."""

    total: str
    fixed: str
    usage: str
    previous: str
    change: str
    tone: str
    period: SafeString | str
    drawing: TimeDrawing
    rows: list[tuple[str, str, str]]


def build_cost_view(found: CostGlance, *, timezone: str) -> CostView:
    """Return what the template shows of the cost in one currency."""
    running, previous = found.cost.running, found.cost.previous_total
    currency = running.currency
    change, tone = _compare(running.total, previous)
    return CostView(
        total=format_money(running.total, currency),
        fixed=format_money(running.fixed, currency),
        usage=format_money(running.usage, currency),
        previous=format_money(previous, currency),
        change=change,
        tone=tone,
        period=format_period(running.period.start, running.period.end, timezone),
        drawing=draw_over_time(_make_chart(found.days, ZoneInfo(timezone)), format_scale=_format_scale),
        rows=[
            (_name(point.at, ZoneInfo(timezone)), format_money(point.cost, currency),
             format_money(point.cumulative, currency))
            for point in reversed(found.days.points)
            if point.cost
        ],
    )  # fmt: skip


def _compare(now: int, before: int) -> tuple[str, str]:
    """Return the change in whole percents, cut off, and which way it went."""
    if before <= 0:
        return ("", "")
    percent = abs(now - before) * 100 // before
    if now == before:
        return ("same", "")
    sign, tone = ("+", "up") if now > before else ("\N{MINUS SIGN}", "down")
    return (f"{sign}{percent:,}%" if percent else f"{sign}<1%", tone)


def _make_chart(days: Timeline, zone: ZoneInfo) -> TimeChart:
    currency = days.running.currency
    points = days.points
    # A day that made everything cheaper stands on nothing but what is left.
    bases = [min(point.cumulative - point.cost, point.cumulative) for point in points]
    return TimeChart(
        names=[_name(point.at, zone) for point in points],
        ticks=[format_date(point.at.astimezone(zone).date(), "d MMM", locale=locale()) for point in points],
        strong=[False for _ in points],
        series=[
            _make_series(BEFORE, "Before that day", bases, currency),
            _make_series(ADDED, "Added that day", [point.cost for point in points], currency),
        ],
        totals=_list_totals(points, currency),
        width=NARROW,
    )


def _make_series(colour: int, name: str, amounts: Iterable[int], currency: str) -> TimeSeries:
    shown = list(amounts)
    unit = Decimal(1).scaleb(-get_exponent(currency))
    values = [max(0, amount) * unit for amount in shown]
    return TimeSeries(colour, name, values, [format_money(amount, currency) for amount in shown])


def _list_totals(points: Iterable[TimelinePoint], currency: str) -> list[str]:
    return [format_money(point.cumulative, currency) for point in points]


def _name(at: datetime, zone: ZoneInfo) -> str:
    return format_date(at.astimezone(zone).date(), "EEE d MMM y", locale=locale())


def _format_scale(value: Decimal) -> str:
    if value >= 1_000:
        return format_compact_decimal(value, fraction_digits=1, locale=locale())
    return format_quantity(value.normalize() if value else value)
