"""How paid cycles begin: stubs, calendar boundaries, explicit anchors, trials, backdated and future starts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.terms.alignment import (
    PeriodNumber,
    TrialInvalid,
    change_interval,
    extend_trial,
    move_trial_end,
    open_period,
    start_cycle,
)
from accounts.terms.boundaries import Alignment
from accounts.terms.cycles import Cycle
from accounts.terms.proration import count_local_days
from billing_site.kernel.periods import Interval, Period, local_date
from tests.unit.accounts.terms.calendars import (
    BY_DAY,
    MONTH,
    PARIS,
    UTC_ZONE,
    WEEK,
    YEAR,
    ZONES,
    cycles,
    days,
    monthly,
    utc,
)

instants = st.datetimes(datetime(2005, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 — Hypothesis adds the zone


class TestStartCycle:
    def test_by_anniversary_begins_with_a_whole_period(self) -> None:
        started = start_cycle(start=utc(2026, 1, 31, 15), zone=UTC_ZONE, interval=MONTH)
        assert started.first == days(date(2026, 1, 31), date(2026, 2, 28))
        assert (started.first_index, started.is_stub) == (0, False)
        assert started.share_of_first(BY_DAY).fraction == 1

    @pytest.mark.parametrize(
        ("start", "share"), [(utc(2026, 2, 15, 9), Fraction(14, 28)), (utc(2026, 1, 15, 9), Fraction(17, 31))]
    )
    def test_on_the_calendar_begins_with_a_stub(self, start: datetime, share: Fraction) -> None:
        started = start_cycle(start=start, zone=UTC_ZONE, interval=MONTH, alignment="calendar")
        assert started.is_stub
        assert started.share_of_first(BY_DAY).fraction == share
        following = started.period_number(started.first_index + 1).period
        assert (following.start, following.start.day) == (started.first.end, 1)

    def test_on_the_calendar_from_its_first_day_has_no_stub(self) -> None:
        started = start_cycle(start=utc(2026, 2, 1, 9), zone=UTC_ZONE, interval=MONTH, alignment="calendar")
        assert not started.is_stub

    def test_by_the_week_on_the_calendar_begins_on_mondays(self) -> None:
        started = start_cycle(start=utc(2026, 3, 19), zone=UTC_ZONE, interval=WEEK, alignment="calendar")  # Thursday
        assert started.first == days(date(2026, 3, 19), date(2026, 3, 23))
        assert started.share_of_first(BY_DAY).fraction == Fraction(4, 7)

    def test_with_an_anchor_ahead_has_one_period_before_it(self) -> None:
        started = start_cycle(
            start=utc(2026, 1, 15, 9), zone=UTC_ZONE, interval=MONTH, billing_cycle_anchor=date(2026, 3, 1)
        )
        assert started.first == days(date(2026, 1, 15), date(2026, 3, 1))
        assert started.share_of_first(BY_DAY).fraction == Fraction(3, 2)  # a period, then 14 of 28 days
        # One line bills the stub, so boundary 0 is the next.
        assert started.first_index == -1
        assert started.period_number(0) == PeriodNumber(0, days(date(2026, 3, 1), date(2026, 4, 1)))

    def test_with_an_anchor_behind_begins_within_its_row(self) -> None:
        started = start_cycle(
            start=utc(2026, 3, 10), zone=UTC_ZONE, interval=MONTH, billing_cycle_anchor=date(2025, 12, 31)
        )
        assert started.first == days(date(2026, 3, 10), date(2026, 3, 31))
        assert started.first_index == 2
        assert started.share_of_first(BY_DAY).fraction == Fraction(21, 31)

    def test_with_an_anchor_today_has_no_stub(self) -> None:
        started = start_cycle(
            start=utc(2026, 3, 10, 8), zone=UTC_ZONE, interval=MONTH, billing_cycle_anchor=date(2026, 3, 10)
        )
        assert (started.first_index, started.is_stub) == (0, False)

    def test_on_trial_counts_local_days_over_a_change_of_clocks(self) -> None:
        started = start_cycle(start=utc(2026, 3, 20, 15), zone=PARIS, interval=MONTH, trial_days=14)
        assert started.trial == Period(utc(2026, 3, 19, 23), utc(2026, 4, 2, 22))
        assert started.cycle.anchor == date(2026, 4, 3)
        assert started.first == days(date(2026, 4, 3), date(2026, 5, 3), PARIS)

    def test_on_trial_and_on_the_calendar_begins_paying_with_a_stub(self) -> None:
        started = start_cycle(start=utc(2026, 3, 1), zone=UTC_ZONE, interval=MONTH, alignment="calendar", trial_days=14)
        assert started.first == days(date(2026, 3, 15), date(2026, 4, 1))
        assert started.share_of_first(BY_DAY).fraction == Fraction(17, 31)

    def test_refuses_a_negative_trial(self) -> None:
        with pytest.raises(TrialInvalid, match="zero or more"):
            start_cycle(start=utc(2026, 3, 1), zone=UTC_ZONE, interval=MONTH, trial_days=-1)

    @given(
        start=instants,
        zone=st.sampled_from(ZONES),
        unit=st.sampled_from(["day", "week", "month", "year"]),
        count=st.integers(1, 4),
        alignment=st.sampled_from(["anniversary", "calendar"]),
        trial_days=st.sampled_from([0, 0, 1, 30]),
    )
    def test_always_holds_its_start_and_pays_from_the_end_of_the_trial(
        self, start: datetime, zone: object, unit: str, count: int, alignment: Alignment, trial_days: int
    ) -> None:
        started = start_cycle(
            start=start,
            zone=zone,  # type: ignore[arg-type]
            interval=Interval.parse(unit, count),
            alignment=alignment,
            trial_days=trial_days,
        )
        assert start in (started.trial or started.first)
        assert (started.trial is None) == (trial_days == 0)
        assert started.trial_end is None or started.first.start == started.trial_end

    @given(start=instants, zone=st.sampled_from(ZONES), ahead=st.integers(-400, 400))
    def test_leaves_no_gap_around_any_anchor(self, start: datetime, zone: object, ahead: int) -> None:
        anchor = start.date() + timedelta(days=ahead)
        started = start_cycle(start=start, zone=zone, interval=MONTH, billing_cycle_anchor=anchor)  # type: ignore[arg-type]
        assert started.first.start <= start < started.first.end
        following = started.period_number(started.first_index + 1).period
        assert following.start == started.first.end


class TestListBegun:
    def test_of_a_backdated_start_is_everything_to_catch_up_with(self) -> None:
        started = start_cycle(start=utc(2026, 1, 15), zone=UTC_ZONE, interval=MONTH, alignment="calendar")
        begun = started.list_begun(until=utc(2026, 3, 20))
        assert [(number.index, number.period) for number in begun] == [
            (0, days(date(2026, 1, 15), date(2026, 2, 1))),
            (1, days(date(2026, 2, 1), date(2026, 3, 1))),
            (2, days(date(2026, 3, 1), date(2026, 4, 1))),
        ]

    def test_counts_a_period_that_begins_at_that_moment(self) -> None:
        started = start_cycle(start=utc(2026, 1, 1), zone=UTC_ZONE, interval=MONTH)
        assert len(started.list_begun(until=utc(2026, 2, 1))) == 2

    def test_of_a_future_start_is_nothing(self) -> None:
        started = start_cycle(start=utc(2026, 6, 1), zone=UTC_ZONE, interval=MONTH)
        assert started.list_begun(until=utc(2026, 3, 20)) == []

    def test_has_no_period_before_the_first(self) -> None:
        started = start_cycle(start=utc(2026, 6, 1), zone=UTC_ZONE, interval=MONTH)
        with pytest.raises(ValueError, match="number 0"):
            started.period_number(-1)


class TestStandingAt:
    def test_goes_from_not_started_over_the_trial_to_active(self) -> None:
        started = start_cycle(start=utc(2026, 6, 10, 9), zone=UTC_ZONE, interval=MONTH, trial_days=7)
        moments = (utc(2026, 6, 9), utc(2026, 6, 10), utc(2026, 6, 16, 23), utc(2026, 6, 17))
        assert [started.standing_at(moment) for moment in moments] == ["not_started", "trialing", "trialing", "active"]


class TestExtendTrial:
    TRIAL = days(date(2026, 3, 1), date(2026, 3, 15))

    def test_moves_the_anchor_with_the_end(self) -> None:
        started = extend_trial(trial=self.TRIAL, cycle=monthly(date(2026, 3, 15)), days=10)
        assert started.trial == days(date(2026, 3, 1), date(2026, 3, 25))
        assert started.cycle.anchor == date(2026, 3, 25)
        assert not started.is_stub

    def test_keeps_the_calendar(self) -> None:
        started = extend_trial(trial=self.TRIAL, cycle=monthly(date(2026, 3, 1)), days=20, alignment="calendar")
        assert started.first == days(date(2026, 4, 4), date(2026, 5, 1))

    def test_keeps_an_explicit_anchor(self) -> None:
        anchor = date(2026, 4, 1)
        started = extend_trial(trial=self.TRIAL, cycle=monthly(anchor), days=10, billing_cycle_anchor=anchor)
        assert started.first == days(date(2026, 3, 25), anchor)
        assert started.cycle.anchor == anchor

    def test_counts_local_days(self) -> None:
        trial = days(date(2026, 10, 18), date(2026, 10, 25), PARIS)
        started = extend_trial(trial=trial, cycle=monthly(date(2026, 10, 25), PARIS), days=1)
        # 25 October has 25 hours.
        assert started.first.start - trial.end == timedelta(hours=25)

    def test_is_by_a_day_or_more(self) -> None:
        with pytest.raises(TrialInvalid, match="one day"):
            extend_trial(trial=self.TRIAL, cycle=monthly(), days=0)

    def test_may_be_ended_early_but_not_before_it_began(self) -> None:
        cycle = monthly(date(2026, 3, 15))
        assert move_trial_end(trial=self.TRIAL, cycle=cycle, last_day=date(2026, 3, 5)).trial_end == utc(2026, 3, 5)
        assert move_trial_end(trial=self.TRIAL, cycle=cycle, last_day=date(2026, 3, 1)).trial is None
        with pytest.raises(TrialInvalid, match="2026-02-28"):
            move_trial_end(trial=self.TRIAL, cycle=cycle, last_day=date(2026, 2, 28))


class TestChangeInterval:
    def test_to_a_year_keeps_the_anchor_and_begins_with_a_stub(self) -> None:
        begun = change_interval(cycle=monthly(date(2025, 1, 15)), at=utc(2026, 3, 10, 9), interval=YEAR)
        assert begun.cycle.anchor == date(2025, 1, 15)
        assert begun.first == days(date(2026, 3, 10), date(2027, 1, 15))
        assert begun.first_index == 1
        assert begun.share_of_first(BY_DAY).fraction == Fraction(311, 365)

    def test_to_a_month_keeps_the_anchor_day(self) -> None:
        cycle = Cycle(date(2025, 1, 31), YEAR, UTC_ZONE)
        begun = change_interval(cycle=cycle, at=utc(2026, 3, 10), interval=MONTH)
        assert begun.first == days(date(2026, 3, 10), date(2026, 3, 31))
        assert begun.share_of_first(BY_DAY).fraction == Fraction(21, 31)
        assert begun.period_number(begun.first_index + 1).period == days(date(2026, 3, 31), date(2026, 4, 30))

    def test_may_restart_the_cycle(self) -> None:
        begun = change_interval(
            cycle=monthly(date(2025, 1, 15)), at=utc(2026, 3, 10, 9), interval=YEAR, policy="restart"
        )
        assert begun.first == days(date(2026, 3, 10), date(2027, 3, 10))
        assert (begun.first_index, begun.is_stub) == (0, False)

    def test_stays_on_the_calendar(self) -> None:
        begun = change_interval(
            cycle=monthly(date(2026, 3, 1)), at=utc(2026, 5, 10), interval=YEAR, alignment="calendar"
        )
        assert begun.first == days(date(2026, 5, 10), date(2027, 1, 1))

    @given(cycle=cycles, days_later=st.integers(0, 3000))
    def test_and_back_gives_the_same_boundaries(self, cycle: Cycle, days_later: int) -> None:
        at = cycle.boundary(0) + timedelta(days=days_later)
        there = change_interval(cycle=cycle, at=at, interval=YEAR)
        back = change_interval(cycle=there.cycle, at=at, interval=cycle.interval)
        assert back.cycle == cycle
        assert back.first.end == cycle.whole_period_at(at).end

    def test_to_the_same_interval_moves_no_anchor(self) -> None:
        cycle = monthly(date(2026, 3, 15))
        assert change_interval(cycle=cycle, at=utc(2026, 5, 1), interval=MONTH, alignment="calendar").cycle == cycle

    @given(cycle=cycles, days_later=st.integers(0, 3000))
    def test_to_the_same_interval_is_the_rest_of_the_running_period(self, cycle: Cycle, days_later: int) -> None:
        at = cycle.boundary(0) + timedelta(days=days_later)
        begun = change_interval(cycle=cycle, at=at, interval=cycle.interval)
        whole = cycle.whole_period_at(at)
        assert begun.first.end == whole.end
        assert count_local_days(begun.first, cycle.zone) <= count_local_days(whole, cycle.zone)


class TestOpenPeriod:
    @given(cycle=cycles, index=st.integers(0, 40))
    def test_on_a_boundary_is_whole(self, cycle: Cycle, index: int) -> None:
        opened = open_period(cycle=cycle, day=local_date(cycle.boundary(index), cycle.zone))
        assert opened.first == cycle.whole_period_at(cycle.boundary(index))
        assert not opened.is_stub
