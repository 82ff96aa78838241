"""From sums to charts and tables of the usage explorer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime
from babel.numbers import format_compact_decimal

from billing_site.backoffice.display import NOTHING, format_quantity, locale
from billing_site.backoffice.time_charts import (
    NARROW,
    SERIES_LIMIT,
    WIDTH,
    TimeChart,
    TimeDrawing,
    TimeSeries,
    draw_over_time,
)
from metering.queries.exploring import Exploration, Group, MeterSeries

ZERO: Final = Decimal(0)
MORE: Final = SERIES_LIMIT  # the colour of what is put together
NONE: Final = SERIES_LIMIT + 1  # of usage that names no value


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a chart: its colour, its name, and its quantities by the start of their bucket."""

    colour: int
    name: str
    buckets: Mapping[datetime, Decimal]


@dataclass(frozen=True, slots=True)
class ChartView:
    """One chart with what stands around it. `caption` says what is not obvious, `change` how it compares."""

    title: str
    quantity: str
    unit: str
    change: Change
    parts: Sequence[Part]
    drawing: TimeDrawing
    caption: str
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Change:
    """Against the stretch before: a text such as `+12%`, and `up`, `down` or nothing."""

    text: str = NOTHING
    tone: str = ""
    earlier: str = NOTHING


@dataclass(frozen=True, slots=True)
class TableRow:
    """One part in the table below the charts."""

    meter: str
    name: str
    colour: int
    quantity: str
    unit: str
    events: str
    share: str
    change: Change


@dataclass(frozen=True, slots=True)
class _Set:
    """What is drawn together: meters that add up, or one, and its parts."""

    members: Sequence[MeterSeries]
    parts: Sequence[Part]


def build_charts(found: Exploration, *, names: Mapping[str, str], zone: ZoneInfo) -> list[ChartView]:
    """
    Return the charts of an exploration: with parts one for each meter, else one for each unit that adds up.

    `names` are what values are called that are ids.
    """
    sets = list(_list_sets(found, names))
    # Two beside each other; one that is left over has the whole width.
    wide = len(sets) - 1 if len(sets) % 2 else -1
    return [
        _build_chart(found, each, zone=zone, width=WIDTH if place == wide else NARROW)
        for place, each in enumerate(sets)
    ]


def build_rows(found: Exploration, *, names: Mapping[str, str]) -> list[TableRow]:
    """Return the table: a row per part, the parts of a meter together."""
    divided = is_divided(found)
    meters, values = _colour_meters(found), _colour_values(found)
    rows = []
    for series in found.series:
        for group in series.groups:
            rows.append(
                TableRow(
                    meter=series.meter.display_name,
                    name=name_value(group.value, names) if divided else "",
                    colour=values[group.value] if divided else meters[series.meter.id],
                    quantity=format_quantity(group.quantity),
                    unit=series.meter.unit,
                    events=format_quantity(group.event_count),
                    share=_format_share(group, series) if divided else "",
                    change=_compare(group.quantity, group.earlier),
                )
            )
    return rows


def is_divided(found: Exploration) -> bool:
    """Tell whether meters are divided into parts."""
    return found.view.by_center or bool(found.view.dimension)


def name_value(value: str | None, names: Mapping[str, str]) -> str:
    """Return what a part is called: the name behind an id, the value itself, or that there is none."""
    return "(none)" if value is None else names.get(value) or value or "(empty)"


def _list_sets(found: Exploration, names: Mapping[str, str]) -> Iterator[_Set]:
    if is_divided(found):
        values = _colour_values(found)
        for series in found.series:
            yield _Set([series], _list_parts(series, names, values))
        return
    colours = _colour_meters(found)
    units: dict[str, list[MeterSeries]] = {}
    for series in found.series:
        # What does not add up stands alone.
        key = f"unit {series.meter.unit}" if series.is_additive else f"meter {series.meter.event_name}"
        units.setdefault(key, []).append(series)
    for members in units.values():
        parts = [
            Part(colours[each.meter.id], each.meter.display_name, each.groups[0].buckets)
            for each in members[:SERIES_LIMIT]
        ]
        if rest := members[SERIES_LIMIT:]:
            parts.append(Part(MORE, f"{len(rest)} more", _add_up([each.groups[0] for each in rest])))
        yield _Set(members, parts)


def _colour_meters(found: Exploration) -> dict[object, int]:
    """Return a colour for each meter: the first of its chart has the first."""
    seen: dict[str, int] = {}
    colours: dict[object, int] = {}
    for series in found.series:
        key = series.meter.unit if series.is_additive else series.meter.event_name
        seen[key] = seen.get(key, -1) + 1
        colours[series.meter.id] = min(seen[key], MORE)
    return colours


def _list_parts(series: MeterSeries, names: Mapping[str, str], colours: Mapping[str | None, int]) -> list[Part]:
    shown = [group for group in series.groups if colours[group.value] != MORE]
    rest = [group for group in series.groups if colours[group.value] == MORE]
    parts = [Part(colours[group.value], name_value(group.value, names), group.buckets) for group in shown]
    if rest and series.is_additive:
        parts.append(Part(MORE, f"{len(rest)} more", _add_up(rest)))
    return parts


def _colour_values(found: Exploration) -> dict[str | None, int]:
    """Return a colour for each value, the same in all charts: the largest of the first meter has the first."""
    values = dict.fromkeys(group.value for series in found.series for group in series.groups if group.value is not None)
    return {None: NONE} | {value: min(place, MORE) for place, value in enumerate(values)}


def _add_up(groups: Sequence[Group]) -> dict[datetime, Decimal]:
    total: dict[datetime, Decimal] = {}
    for group in groups:
        for start, quantity in group.buckets.items():
            total[start] = total.get(start, ZERO) + quantity
    return total


def _build_chart(found: Exploration, shown: _Set, *, zone: ZoneInfo, width: int) -> ChartView:
    members, parts = shown.members, shown.parts
    first = members[0]
    stacked = first.is_additive or len(parts) == 1
    starts = found.starts
    hourly = found.view.bucket == "hour"
    series = [_make_series(part, starts, fill=stacked and first.is_additive) for part in parts]
    names = [_name_bucket(start, zone, hourly=hourly) for start in starts]
    totals = [_total(series, place, first.meter.unit) for place in range(len(starts))] if stacked else []
    chart = TimeChart(
        names=names,
        ticks=[_tick(start, zone, hourly=hourly) for start in starts],
        strong=[_is_strong(start, zone, hourly=hourly) for start in starts],
        series=series,
        stacked=stacked,
        totals=totals,
        width=width,
    )
    rows = [
        (names[place], [each.labels[place] for each in series])
        for place in range(len(starts))
        if any(each.values[place] for each in series)
    ]
    quantity = sum((each.quantity for each in members), ZERO) if first.is_additive else first.quantity
    earlier = sum((each.earlier for each in members), ZERO) if first.is_additive else first.earlier
    return ChartView(
        title=first.meter.display_name if len(members) == 1 else _join([each.meter.display_name for each in members]),
        quantity=format_quantity(quantity),
        unit=first.meter.unit,
        change=_compare(quantity, earlier),
        parts=parts,
        drawing=draw_over_time(chart, format_scale=_format_scale),
        caption=_caption(first, len(parts)),
        rows=rows,
    )


def _make_series(part: Part, starts: Sequence[datetime], *, fill: bool) -> TimeSeries:
    """Return a part in every bucket; where nothing was recorded a sum is zero, and a reading is absent."""
    values = [part.buckets.get(start, ZERO if fill else None) for start in starts]
    return TimeSeries(part.colour, part.name, values, [format_quantity(value) for value in values])


def _total(series: Sequence[TimeSeries], place: int, unit: str) -> str:
    values = [value for each in series if (value := each.values[place]) is not None]
    return f"{format_quantity(sum(values, ZERO))} {unit}" if values else "nothing recorded"


def _caption(series: MeterSeries, parts: int) -> str:
    left_out = len(series.groups) - parts
    match series.meter.aggregation:
        case "max":
            text = "The highest reading of each bucket."
        case "last":
            text = "The last reading of each bucket."
        case "unique":
            text = "Distinct members of each bucket: one who is active in two counts in both."
        case _:
            return ""
    return f"{text} {left_out} more are in the table." if left_out > 0 and parts > 1 else text


def _compare(quantity: Decimal, earlier: Decimal) -> Change:
    if not earlier:
        return Change("new" if quantity else NOTHING, "", NOTHING)
    difference = quantity - earlier
    percent = int(abs(difference) * 100 / earlier)
    shown = format_quantity(earlier)
    if not difference:
        return Change("same", "", shown)
    sign, tone = ("+", "up") if difference > 0 else ("\N{MINUS SIGN}", "down")
    text = f"{sign}{percent:,}%" if percent else f"{sign}<1%"
    return Change(text, tone, shown)


def _format_share(group: Group, series: MeterSeries) -> str:
    if not series.is_additive or not series.quantity:
        return ""
    tenths = int(group.quantity * 1000 / series.quantity)
    return f"{tenths // 10}.{tenths % 10}%"


def _join(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) <= 3 else f"{len(names)} meters"


# ---- texts of buckets -----------------------------------------------------------------------------------------------
def _name_bucket(start: datetime, zone: ZoneInfo, *, hourly: bool) -> str:
    local = start.astimezone(zone)
    if hourly:
        return f"{format_datetime(local, 'EEE d MMM y HH:mm', locale=locale())} {local.tzname() or ''}".strip()
    return format_date(local.date(), "EEE d MMM y", locale=locale())


def _tick(start: datetime, zone: ZoneInfo, *, hourly: bool) -> str:
    local = start.astimezone(zone)
    if hourly and local.hour:
        return f"{local:%H:%M}"
    return format_date(local.date(), "d MMM", locale=locale())


def _is_strong(start: datetime, zone: ZoneInfo, *, hourly: bool) -> bool:
    """Tell whether a bucket keeps its label where room is short: of hours the first of the day."""
    return hourly and start.astimezone(zone).hour == 0


def _format_scale(value: Decimal) -> str:
    if value >= 1_000:
        return format_compact_decimal(value, fraction_digits=1, locale=locale())
    return format_quantity(value.normalize() if value else value)
