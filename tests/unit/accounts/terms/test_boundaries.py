"""Billing boundaries: anchors, zones, trials, alignment."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from accounts.terms.boundaries import align_anchor, boundary_at, period_at
from billing_site.kernel.periods import Interval

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
UTC_ZONE = ZoneInfo("UTC")
MONTH = Interval("month")
BOUNDS = (datetime(2000, 1, 1), datetime(2099, 12, 31))  # noqa: DTZ001 — Hypothesis adds the zone


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


class TestPeriodAt:
    def test_clamps_to_short_months_and_comes_back(self) -> None:
        ends = [
            period_at(index, anchor=date(2026, 1, 31), interval=MONTH, zone=UTC_ZONE).end.date() for index in range(4)
        ]
        assert ends == [date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30), date(2026, 5, 31)]

    def test_keeps_29_february_for_leap_years(self) -> None:
        starts = [
            boundary_at(index, anchor=date(2024, 2, 29), interval=Interval("year"), zone=UTC_ZONE).date()
            for index in (1, 4)
        ]
        assert starts == [date(2025, 2, 28), date(2028, 2, 29)]

    @given(
        anchor=st.dates(date(2000, 1, 1), date(2090, 1, 1)),
        unit=st.sampled_from(["day", "week", "month", "year"]),
        index=st.integers(0, 60),
    )
    def test_periods_touch_without_gap_or_overlap(self, anchor: date, unit: str, index: int) -> None:
        interval = Interval.parse(unit)
        this = period_at(index, anchor=anchor, interval=interval, zone=NEW_YORK)
        after = period_at(index + 1, anchor=anchor, interval=interval, zone=NEW_YORK)
        assert this.end == after.start
        assert this.end - this.start >= timedelta(hours=23)  # the day clocks move forward


class TestAlignAnchor:
    def test_leaves_anniversaries_alone(self) -> None:
        assert align_anchor(date(2026, 3, 19), Interval("year"), "anniversary") == date(2026, 3, 19)
