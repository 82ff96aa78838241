"""
Bar charts drawn on the server as SVG: no script, no library, whole numbers only.

Series differ by colour, by pattern and by their place in the group, so colour is never needed to read them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from billing_site.backoffice.panels import ChartPanel

WIDTH, HEIGHT = 560, 210
LEFT, RIGHT, TOP, BOTTOM = 4, 4, 24, 24
LABEL_EVERY_BAR_UP_TO = 14


@dataclass(frozen=True, slots=True)
class Bar:
    x: int
    y: int
    width: int
    height: int
    series: int
    title: str
    label: str
    label_x: int
    label_y: int


@dataclass(frozen=True, slots=True)
class Tick:
    position: int
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything the template needs to write the SVG and the table behind it."""

    width: int
    height: int
    baseline: int
    bars: list[Bar]
    lines: list[int]
    categories: list[Tick]
    rows: list[tuple[str, list[str]]]
    is_empty: bool


def draw_bars(panel: ChartPanel) -> Drawing:
    """Lay out grouped bars of zero or more; a negative value is drawn as nothing and stays readable in the table."""
    top_value = max((value for series in panel.series for value in series.values), default=0)
    baseline = HEIGHT - BOTTOM
    slot = (WIDTH - LEFT - RIGHT) // max(1, len(panel.categories))
    return Drawing(
        width=WIDTH,
        height=HEIGHT,
        baseline=baseline,
        bars=list(_lay_bars(panel, top_value=top_value, slot=slot, baseline=baseline)) if top_value > 0 else [],
        lines=[TOP + (baseline - TOP) * step // 4 for step in range(4)],
        categories=[
            Tick(LEFT + slot * position + slot // 2, text)
            for position, text in enumerate(panel.categories)
            if _is_labelled(position, len(panel.categories))
        ],
        rows=[
            (category, [series.labels[position] for series in panel.series])
            for position, category in enumerate(panel.categories)
        ],
        is_empty=top_value <= 0,
    )


def _is_labelled(position: int, count: int) -> bool:
    step = -(-count // LABEL_EVERY_BAR_UP_TO)
    return position % max(1, step) == 0


def _lay_bars(panel: ChartPanel, *, top_value: int, slot: int, baseline: int) -> Iterator[Bar]:
    gap = max(2, slot // 6)
    width = max(2, min(56, (slot - 2 * gap) // max(1, len(panel.series))))
    group = width * len(panel.series)
    show_labels = len(panel.categories) * len(panel.series) <= LABEL_EVERY_BAR_UP_TO
    for number, series in enumerate(panel.series):
        for position, value in enumerate(series.values):
            if value <= 0:
                continue
            height = max(2, value * (baseline - TOP) // top_value)
            x = LEFT + slot * position + (slot - group) // 2 + width * number
            yield Bar(
                x=x,
                y=baseline - height,
                width=max(2, width - 2),
                height=height,
                series=number,
                title=f"{panel.categories[position]}, {series.name}: {series.labels[position]}",
                label=series.labels[position] if show_labels else "",
                label_x=x + width // 2,
                label_y=baseline - height - 6,
            )
