"""Cycles: the same boundaries for the same anchor, whoever asks and whenever."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from accounts.terms.cycles import Cycle
from billing_site.kernel.periods import local_midnight
from tests.unit.accounts.terms.calendars import MONTH, UTC_ZONE, YEAR, cycles, days, monthly, utc


class TestCycle:
    def test_of_31_january_clamps_for_two_years_and_comes_back(self) -> None:
        cycle = monthly(date(2026, 1, 31))
        assert [cycle.boundary(index).date().isoformat() for index in range(25)] == [
            *("2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31", "2026-06-30"),
            *("2026-07-31", "2026-08-31", "2026-09-30", "2026-10-31", "2026-11-30", "2026-12-31"),
            *("2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31", "2027-06-30"),
            *("2027-07-31", "2027-08-31", "2027-09-30", "2027-10-31", "2027-11-30", "2027-12-31"),
            "2028-01-31",
        ]
        assert cycle.period(25) == days(date(2028, 2, 29), date(2028, 3, 31))

    def test_of_28_february_stays_on_the_28th(self) -> None:
        assert monthly(date(2026, 2, 28)).boundary(1) == utc(2026, 3, 28)

    def test_of_29_february_is_the_28th_in_common_years(self) -> None:
        cycle = Cycle(date(2024, 2, 29), YEAR, UTC_ZONE)
        assert [cycle.boundary(index).date() for index in range(5)] == [
            date(2024, 2, 29),
            date(2025, 2, 28),
            date(2026, 2, 28),
            date(2027, 2, 28),
            date(2028, 2, 29),
        ]

    def test_knows_its_boundary_days(self) -> None:
        cycle = monthly(date(2026, 1, 31))
        assert [cycle.is_boundary(date(2026, 2, day)) for day in (27, 28)] == [False, True]
        assert not cycle.is_boundary(date(2026, 3, 28))

    def test_numbers_periods_before_the_anchor_below_zero(self) -> None:
        assert monthly(date(2026, 3, 1)).index_at(utc(2026, 1, 15)) == -2

    @given(cycle=cycles, index=st.integers(-20, 20), hours=st.integers(0, 23))
    def test_finds_the_period_that_holds_an_instant(self, cycle: Cycle, index: int, hours: int) -> None:
        instant = cycle.boundary(index) + timedelta(hours=hours)
        assert instant in cycle.whole_period_at(instant)
        assert cycle.period(cycle.index_at(instant)) == cycle.whole_period_at(instant)

    def test_is_the_same_for_the_same_values(self) -> None:
        assert Cycle(date(2026, 1, 31), MONTH, UTC_ZONE) == monthly(date(2026, 1, 31))
        assert local_midnight(date(2026, 1, 31), UTC_ZONE) == monthly(date(2026, 1, 31)).boundary(0)
