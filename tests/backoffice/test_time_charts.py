"""Charts over time: round scales, parts that meet, lines where nothing adds up, labels where there is room."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing_site.backoffice.time_charts import TimeChart, TimeSeries, draw_over_time, list_steps

D = Decimal


def make_chart(*series: list[int | None], stacked: bool = True, count: int | None = None) -> TimeChart:
    names = [f"day {place}" for place in range(count or len(series[0]))]
    return TimeChart(
        names=names,
        ticks=names,
        strong=[False] * len(names),
        series=[
            TimeSeries(
                number,
                f"part {number}",
                [None if value is None else D(value) for value in values],
                ["–" if value is None else str(value) for value in values],
            )
            for number, values in enumerate(series)
        ],
        stacked=stacked,
        totals=[f"{sum(each[place] or 0 for each in series)} in all" for place in range(len(names))] if stacked else [],
    )


class TestListSteps:
    @pytest.mark.parametrize(
        ("top", "step", "last"),
        [
            ("286", "100", "300"),
            ("10", "2", "10"),
            ("11", "5", "15"),
            ("0.03", "0.01", "0.03"),
            ("42000", "10000", "50000"),
            ("1", "0.2", "1"),
        ],
    )
    def test_are_round_and_reach_the_top(self, top: str, step: str, last: str) -> None:
        steps = list_steps(D(top))
        assert (steps[0], steps[1], steps[-1]) == (D(0), D(step), D(last))
        assert len(steps) <= 6

    def test_of_nothing_are_zero_and_one(self) -> None:
        assert list_steps(D(0)) == [0, 1]


class TestDrawOverTime:
    def test_parts_of_a_bar_meet_and_the_top_is_the_whole(self) -> None:
        drawing = draw_over_time(make_chart([3, 0], [7, 5]), format_scale=str)
        first, second = drawing.slots
        lower, upper = first.blocks
        assert (lower.colour, upper.colour) == (0, 1)
        assert lower.y + lower.height == drawing.baseline
        assert upper.y + upper.height == lower.y
        # 10 is the top of a scale of 0, 2, … 10.
        assert upper.y == drawing.top
        assert [block.colour for block in second.blocks] == [1]
        assert first.title == "day 0: 10 in all\npart 1: 7\npart 0: 3"

    def test_nothing_is_drawn_above_the_scale(self) -> None:
        drawing = draw_over_time(make_chart([286, 1, 0]), format_scale="{:f}".format)
        assert min(block.y for slot in drawing.slots for block in slot.blocks) >= drawing.top
        assert [tick.text for tick in drawing.scale] == ["0", "100", "200", "300"]

    def test_readings_are_dots_and_lines_that_skip_what_is_absent(self) -> None:
        drawing = draw_over_time(make_chart([4, None, 8], [None, 2, None], stacked=False), format_scale=str)
        assert [len(slot.dots) for slot in drawing.slots] == [1, 1, 1]
        assert not any(slot.blocks for slot in drawing.slots)
        [line] = drawing.lines
        assert line.colour == 0
        assert len(line.points.split()) == 2
        assert drawing.slots[1].title == "day 1\npart 1: 2"

    def test_slots_fill_the_room_whatever_their_number(self) -> None:
        drawing = draw_over_time(make_chart([1] * 744, count=744), format_scale=str)
        assert drawing.slots[0].x == drawing.left
        assert drawing.slots[-1].x + drawing.slots[-1].width == drawing.right
        assert all(one.x + one.width == other.x for one, other in zip(drawing.slots, drawing.slots[1:], strict=False))
        assert len(drawing.ticks) <= 17

    def test_short_of_room_the_strong_labels_stay(self) -> None:
        chart = make_chart([1] * 48, count=48)
        strong = [place % 24 == 0 for place in range(48)]
        drawing = draw_over_time(
            TimeChart(chart.names, chart.ticks, strong, chart.series, totals=chart.totals), format_scale=str
        )
        assert [tick.text for tick in drawing.ticks] == ["day 0", "day 24"]

    def test_is_empty_without_quantities(self) -> None:
        assert draw_over_time(make_chart([0, 0]), format_scale=str).is_empty
