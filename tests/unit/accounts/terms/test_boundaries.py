"""Billing boundaries: anchors, zones, trials, alignment."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.terms.boundaries import Alignment, align_anchor, boundary_at, period_at, start_terms
from billing_site.kernel.periods import Interval, Period

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
UTC_ZONE = ZoneInfo("UTC")
MONTH = Interval("month")
BOUNDS = (datetime(2000, 1, 1), datetime(2099, 12, 31))  # noqa: DTZ001 — Hypothesis adds the zone


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


class TestStartTerms:
    def test_begins_at_local_midnight_of_the_start(self) -> None:
        # 23:30 UTC on the 14th is 00:30 on the 15th in Berlin.
        terms = start_terms(start=utc(2026, 3, 14, 23, 30), zone=BERLIN, interval=MONTH)
        assert terms.anchor_date == date(2026, 3, 15)
        # Winter time at the start, summer time at the end.
        assert terms.current_period == Period(utc(2026, 3, 14, 23), utc(2026, 4, 14, 22))

    def test_without_a_fee_in_advance_first_bills_the_end_of_period_0(self) -> None:
        terms = start_terms(start=utc(2026, 3, 15, 9), zone=UTC_ZONE, interval=MONTH)
        assert (terms.next_boundary, terms.next_billing_at) == (1, utc(2026, 4, 15))

    def test_with_a_fee_in_advance_bills_at_the_start_itself(self) -> None:
        terms = start_terms(start=utc(2026, 3, 15, 9), zone=UTC_ZONE, interval=MONTH, bills_in_advance=True)
        assert (terms.next_boundary, terms.next_billing_at) == (0, utc(2026, 3, 15, 9))

    @pytest.mark.parametrize("bills_in_advance", [True, False])
    def test_on_trial_anchors_the_paid_cycle_at_the_trial_end(self, bills_in_advance: bool) -> None:
        terms = start_terms(
            start=utc(2026, 3, 20, 15), zone=BERLIN, interval=MONTH, trial_days=14, bills_in_advance=bills_in_advance
        )
        # 20 March + 14 local days; clocks move forward on 29 March.
        assert terms.trial_end == utc(2026, 4, 2, 22)
        assert terms.anchor_date == date(2026, 4, 3)
        assert terms.current_period == Period(utc(2026, 3, 19, 23), utc(2026, 4, 2, 22))
        assert (terms.next_boundary, terms.next_billing_at) == (0, terms.trial_end)

    def test_refuses_a_negative_trial(self) -> None:
        with pytest.raises(ValueError, match="zero or more"):
            start_terms(start=utc(2026, 3, 20), zone=UTC_ZONE, interval=MONTH, trial_days=-1)

    @pytest.mark.parametrize(
        ("unit", "anchor", "end"),
        [
            ("day", date(2026, 3, 19), utc(2026, 3, 20)),
            ("week", date(2026, 3, 16), utc(2026, 3, 23)),  # a Thursday: its Monday, the next Monday
            ("month", date(2026, 3, 1), utc(2026, 4, 1)),
            ("year", date(2026, 1, 1), utc(2027, 1, 1)),
        ],
    )
    def test_aligned_to_the_calendar_has_a_short_first_period(self, unit: str, anchor: date, end: datetime) -> None:
        terms = start_terms(
            start=utc(2026, 3, 19, 8), zone=UTC_ZONE, interval=Interval.parse(unit), alignment="calendar"
        )
        assert terms.anchor_date == anchor
        assert terms.current_period == Period(utc(2026, 3, 19), end)

    @given(
        start=st.datetimes(*BOUNDS, timezones=st.just(UTC)),
        zone=st.sampled_from([UTC_ZONE, BERLIN, NEW_YORK, ZoneInfo("Pacific/Apia"), ZoneInfo("America/Sao_Paulo")]),
        unit=st.sampled_from(["day", "week", "month", "year"]),
        count=st.integers(1, 4),
        alignment=st.sampled_from(["anniversary", "calendar"]),
        days=st.sampled_from([0, 0, 1, 30]),
    )
    def test_always_contains_its_start(
        self, start: datetime, zone: ZoneInfo, unit: str, count: int, alignment: Alignment, days: int
    ) -> None:
        terms = start_terms(
            start=start, zone=zone, interval=Interval.parse(unit, count), alignment=alignment, trial_days=days
        )
        assert start in terms.current_period
        assert terms.next_billing_at > start or terms.next_boundary == 0


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
