"""
Quantities over time, drawn on the server as SVG: stacked bars where parts add up, lines where they do not.

No script, no library. Parts differ by colour and by pattern, and every bucket says its numbers when it is pointed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

FormatScale = Callable[[Decimal], str]
Rise = Callable[[Decimal], int]

ZERO: Final = Decimal(0)
WIDTH: Final = 1120
NARROW: Final = 548
HEIGHT: Final = 250
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 12, 26
SERIES_LIMIT: Final = 8
_LABEL_ROOM: Final = 64  # what a label below the axis takes


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """One part: its colour, a quantity per bucket, None where nothing was recorded, and the same as text."""

    colour: int
    name: str
    values: Sequence[Decimal | None]
    labels: Sequence[str]


@dataclass(frozen=True, slots=True)
class TimeChart:
    """
    Parts over buckets. `names` are the buckets in full, `ticks` short; `strong` ticks are kept when room is short.

    `totals` is what each bucket comes to, as text; nothing where parts do not add up.
    """

    names: Sequence[str]
    ticks: Sequence[str]
    strong: Sequence[bool]
    series: Sequence[TimeSeries]
    stacked: bool = True
    totals: Sequence[str] = ()
    width: int = WIDTH


class Block(NamedTuple):
    """One part of a bar."""

    colour: int
    x: int
    y: int
    width: int
    height: int


class Dot(NamedTuple):
    """One reading on a line of part number `series`."""

    series: int
    colour: int
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One bucket: the strip that is pointed at, what it says, and what is drawn in it."""

    x: int
    width: int
    title: str
    blocks: Sequence[Block]
    dots: Sequence[Dot]


class AxisTick(NamedTuple):
    """A text on an axis; `position` is that of its middle."""

    position: int
    text: str


class Line(NamedTuple):
    """The readings of one part, connected."""

    colour: int
    points: str


@dataclass(frozen=True, slots=True)
class TimeDrawing:
    """Everything the template needs to write the SVG."""

    width: int
    height: int
    left: int
    right: int
    top: int
    baseline: int
    slots: Sequence[Slot]
    lines: Sequence[Line]
    scale: Sequence[AxisTick]
    ticks: Sequence[AxisTick]
    is_empty: bool

    @property
    def plot(self) -> int:
        """The height of the part that is drawn in."""
        return self.baseline - self.top


def draw_over_time(chart: TimeChart, *, format_scale: FormatScale) -> TimeDrawing:
    """Lay out quantities of zero or more over time. `format_scale` writes the numbers beside the grid."""
    top_value = _find_top(chart)
    baseline = HEIGHT - BOTTOM
    steps = list_steps(top_value)
    top_value = steps[-1]
    count = max(1, len(chart.names))
    room = chart.width - LEFT - RIGHT
    edges = [LEFT + room * place // count for place in range(count + 1)]

    def rise(value: Decimal) -> int:
        return int(value * (baseline - TOP) / top_value) if top_value else 0

    slots = [_lay_slot(chart, place, edges, baseline=baseline, rise=rise) for place in range(len(chart.names))]
    return TimeDrawing(
        width=chart.width,
        height=HEIGHT,
        left=LEFT,
        right=chart.width - RIGHT,
        top=TOP,
        baseline=baseline,
        slots=slots,
        lines=[] if chart.stacked else list(_join_dots(slots, chart.series)),
        scale=[AxisTick(baseline - rise(step), format_scale(step)) for step in steps],
        ticks=list(_lay_ticks(chart, edges)),
        is_empty=not any(value for each in chart.series for value in each.values),
    )


def list_steps(top_value: Decimal) -> list[Decimal]:
    """Return three to six round numbers from zero to one that is not below `top_value`: steps of 1, 2 or 5."""
    if top_value <= 0:
        return [ZERO, Decimal(1)]
    unit = Decimal(1).scaleb((top_value / 5).adjusted())
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor * 5 >= top_value)
    count = int(top_value // step) + (top_value % step > 0)
    return [step * place for place in range(count + 1)]


def _find_top(chart: TimeChart) -> Decimal:
    columns = zip(*(each.values for each in chart.series), strict=True)
    heights = (
        sum((value or ZERO for value in column), ZERO) if chart.stacked else max(value or ZERO for value in column)
        for column in columns
    )
    return max(heights, default=ZERO)


def _lay_slot(chart: TimeChart, place: int, edges: Sequence[int], *, baseline: int, rise: Rise) -> Slot:
    x, width = edges[place], edges[place + 1] - edges[place]
    gap = 0 if width < 4 else max(1, width // 6)
    bar = min(48, max(1, width - 2 * gap))
    left, middle = x + (width - bar) // 2, x + width // 2
    blocks, dots, total = [], [], ZERO
    for number, each in enumerate(chart.series):
        value = each.values[place]
        if value is None:
            continue
        if not chart.stacked:
            dots.append(Dot(number, each.colour, middle, baseline - rise(value)))
        elif value > 0:
            # From the running total, so that the parts meet and the top is that of the whole.
            bottom, total = rise(total), total + value
            height = max(1, rise(total) - bottom)
            blocks.append(Block(each.colour, left, baseline - bottom - height, bar, height))
    return Slot(x, width, _describe(chart, place), blocks, dots)


def _describe(chart: TimeChart, place: int) -> str:
    """Return what a bucket says: its name, its total, and its parts from the top down."""
    lines = [chart.names[place] + (f": {chart.totals[place]}" if chart.totals else "")]
    present = [each for each in chart.series if each.values[place] is not None]
    if len(chart.series) > 1 or not chart.totals:
        lines += [f"{each.name}: {each.labels[place]}" for each in reversed(present)]
    return "\n".join(lines)


def _join_dots(slots: Sequence[Slot], series: Sequence[TimeSeries]) -> Iterator[Line]:
    for number, each in enumerate(series):
        points = [f"{dot.x},{dot.y}" for slot in slots for dot in slot.dots if dot.series == number]
        if len(points) > 1:
            yield Line(each.colour, " ".join(points))


def _lay_ticks(chart: TimeChart, edges: Sequence[int]) -> Iterator[AxisTick]:
    """Yield as many labels as there is room for: of the strong buckets where they are few enough, else every n-th."""
    room = (edges[-1] - edges[0]) // _LABEL_ROOM
    strong = [place for place, is_strong in enumerate(chart.strong) if is_strong]
    places = strong if len(chart.ticks) > room and len(strong) > 1 else list(range(len(chart.ticks)))
    every = max(1, -(-len(places) // max(1, room)))
    for place in places[::every]:
        yield AxisTick((edges[place] + edges[place + 1]) // 2, chart.ticks[place])
