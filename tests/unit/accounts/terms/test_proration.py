"""Shares of a billing period: units, denominators, long stubs, local days, and that nothing is lost or made."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.terms.cycles import Cycle
from accounts.terms.proration import (
    ProrationTerms,
    Share,
    count_local_days,
    measure_share,
    measure_whole,
    read_share,
    split_amount,
    take_effect,
)
from billing_site.kernel.money import round_to_minor
from billing_site.kernel.periods import Interval, Period, local_midnight
from tests.unit.accounts.terms.calendars import (
    APIA,
    BY_DAY,
    BY_SECOND,
    NEW_YORK,
    OF_30,
    PARIS,
    UNDIVIDED,
    UTC_ZONE,
    WEEK,
    YEAR,
    cycles,
    days,
    monthly,
    utc,
)

JANUARY = days(date(2026, 1, 1), date(2026, 2, 1))


def rest_of(period: Period, start: datetime, cycle: Cycle, terms: ProrationTerms = BY_DAY) -> Share:
    return measure_share(part=Period(start, period.end), billed=period, cycle=cycle, terms=terms)


class TestMeasureShare:
    def test_counts_the_change_day_with_what_comes_after(self) -> None:
        # 17 to 31 January: 15 of 31 days, at whatever hour.
        for hour in (0, 9, 23):
            share = rest_of(JANUARY, utc(2026, 1, 17, hour), monthly())
            assert (share.numerator, share.denominator) == (15, 31)

    def test_of_49_and_99_with_15_of_31_days_left_nets_24_19(self) -> None:
        share = rest_of(JANUARY, utc(2026, 1, 17, 12), monthly())
        old = round_to_minor(share.of(Decimal(4900)))  # 4900 * 15 / 31 = 2370.97
        new = round_to_minor(share.of(Decimal(9900)))  # 9900 * 15 / 31 = 4790.32
        assert (old, new, new - old) == (2371, 4790, 2419)
        # A daily rate rounded before use would give 15 * (3.19 - 1.58) = 24.15.

    @pytest.mark.parametrize(
        ("start", "numerator", "denominator"),
        [(date(2026, 2, 15), 14, 28), (date(2026, 1, 15), 17, 31), (date(2028, 2, 15), 15, 29)],
    )
    def test_of_a_stub_is_measured_against_the_whole_period(
        self, start: date, numerator: int, denominator: int
    ) -> None:
        cycle = monthly()
        billed = Period(local_midnight(start, UTC_ZONE), cycle.whole_period_at(local_midnight(start, UTC_ZONE)).end)
        share = measure_whole(billed=billed, cycle=cycle, terms=BY_DAY)
        assert share.as_dict() == {"unit": "day", "numerator": str(numerator), "denominator": str(denominator)}

    def test_per_second_counts_seconds(self) -> None:
        period = days(date(2026, 4, 1), date(2026, 5, 1))
        share = rest_of(period, utc(2026, 4, 2), monthly(), BY_SECOND)
        assert (share.numerator, share.denominator) == (2_505_600, 2_592_000)
        # 500 * 29 / 30 = 483.33, 2000 * 29 / 30 = 1933.33
        assert [round_to_minor(share.of(Decimal(amount))) for amount in (500, 2000)] == [483, 1933]

    def test_of_half_a_period_halves_the_fees(self) -> None:
        period = days(date(2026, 4, 1), date(2026, 5, 1))
        for terms in (BY_DAY, BY_SECOND):
            share = rest_of(period, utc(2026, 4, 16), monthly(), terms)
            assert [share.of(Decimal(amount)) for amount in (9900, 29900)] == [4950, 14950]

    def test_undivided_is_the_full_period(self) -> None:
        share = rest_of(JANUARY, utc(2026, 1, 31), monthly(), UNDIVIDED)
        assert share.fraction == 1
        assert share.describe() == "full period"

    def test_realigns_after_a_short_month(self) -> None:
        # Anchored on the 31st: 28 February to 31 March is one period of 31 days, not 28 days and three more.
        cycle = monthly(date(2026, 1, 31))
        march = days(date(2026, 2, 28), date(2026, 3, 31))
        assert measure_whole(billed=march, cycle=cycle, terms=BY_DAY).fraction == 1
        assert rest_of(march, utc(2026, 3, 28), cycle).fraction == Fraction(3, 31)

    def test_of_29_february_by_the_year_is_365_or_366(self) -> None:
        cycle = Cycle(date(2024, 2, 29), YEAR, UTC_ZONE)
        assert rest_of(cycle.period(0), utc(2025, 2, 27), cycle).fraction == Fraction(1, 365)
        assert rest_of(cycle.period(3), utc(2028, 2, 28), cycle).fraction == Fraction(1, 366)

    @pytest.mark.parametrize(
        ("part", "whole"),
        [
            # Nothing outside the billed stretch counts.
            (days(date(2025, 12, 1), date(2026, 3, 1)), Fraction(1)),
            (days(date(2026, 2, 1), date(2026, 3, 1)), Fraction(0)),
            (days(date(2025, 12, 1), date(2026, 1, 11)), Fraction(10, 31)),
            (days(date(2026, 1, 10), date(2026, 1, 10)), Fraction(0)),
        ],
    )
    def test_stays_between_nothing_and_all(self, part: Period, whole: Fraction) -> None:
        assert measure_share(part=part, billed=JANUARY, cycle=monthly(), terms=BY_DAY).fraction == whole

    @given(cycle=cycles, index=st.integers(-20, 20), cuts=st.lists(st.fractions(0, 1), max_size=6), by_second=...)
    def test_of_slices_adds_up_to_the_whole(
        self, cycle: Cycle, index: int, cuts: list[Fraction], by_second: bool
    ) -> None:
        whole, terms = cycle.period(index), BY_SECOND if by_second else BY_DAY
        shares = [measure_share(part=part, billed=whole, cycle=cycle, terms=terms) for part in cut(whole, cuts)]
        assert sum(share.fraction for share in shares) == (1 if whole.duration else 0)
        assert all(0 <= share.fraction <= 1 for share in shares)

    @given(
        cycle=cycles,
        start=st.integers(0, 400),
        length=st.integers(1, 1200),
        at=st.fractions(0, 1),
        terms=st.sampled_from([BY_DAY, BY_SECOND]),
    )
    def test_of_what_is_used_and_what_is_left_is_that_of_any_stub(
        self, cycle: Cycle, start: int, length: int, at: Fraction, terms: ProrationTerms
    ) -> None:
        billed = stretch(cycle, start, length)
        used, left = (measure_share(part=part, billed=billed, cycle=cycle, terms=terms) for part in cut(billed, [at]))
        assert used.fraction + left.fraction == measure_whole(billed=billed, cycle=cycle, terms=terms).fraction

    @given(cycle=cycles, start=st.integers(0, 400), length=st.integers(0, 900), terms=st.sampled_from([OF_30, BY_DAY]))
    def test_is_never_negative_and_empty_parts_are_nothing(
        self, cycle: Cycle, start: int, length: int, terms: ProrationTerms
    ) -> None:
        billed = stretch(cycle, start, length)
        assert measure_whole(billed=billed, cycle=cycle, terms=terms).fraction >= 0
        empty = measure_share(part=Period(billed.start, billed.start), billed=billed, cycle=cycle, terms=terms)
        assert not empty
        assert empty.of(Decimal(100)) == 0
        assert empty.describe() == "nothing"


class TestLongStub:
    def test_is_whole_periods_first_then_the_rest(self) -> None:
        # From 15 January to a first boundary on 1 March: to 15 February a period, then 14 of February's 28 days.
        share = measure_whole(
            billed=days(date(2026, 1, 15), date(2026, 3, 1)), cycle=monthly(date(2026, 3, 1)), terms=BY_DAY
        )
        assert share.fraction == Fraction(3, 2)
        assert share.describe() == "1 + 14/28 days"
        assert share.as_dict() == {
            "unit": "day",
            "numerator": "42",
            "denominator": "28",
            "parts": [{"numerator": "31", "denominator": "31"}, {"numerator": "14", "denominator": "28"}],
        }
        assert share.of(Decimal(10000)) == 15000

    def test_credits_what_is_left_by_the_same_pieces(self) -> None:
        billed, cycle = days(date(2026, 1, 15), date(2026, 3, 1)), monthly(date(2026, 3, 1))
        # 10 to 14 February belong to the whole period of 31 days, the other 14 to February.
        share = rest_of(billed, utc(2026, 2, 10), cycle)
        assert share.fraction == Fraction(5, 31) + Fraction(14, 28)
        assert share.describe() == "5/31 + 14/28 days"

    def test_that_begins_on_a_boundary_is_periods_of_the_cycle(self) -> None:
        cycle = monthly(date(2026, 1, 31))
        share = measure_whole(billed=days(date(2026, 2, 28), date(2026, 4, 30)), cycle=cycle, terms=BY_DAY)
        assert share.fraction == 2
        assert share.describe() == "2 whole periods"

    def test_shorter_than_a_period_is_cut_where_the_cycle_says(self) -> None:
        # 20 January to 10 February over a boundary on 1 February: 12 of 31 days and 9 of 28.
        share = measure_whole(billed=days(date(2026, 1, 20), date(2026, 2, 10)), cycle=monthly(), terms=BY_DAY)
        assert share.fraction == Fraction(12, 31) + Fraction(9, 28)

    def test_undivided_counts_every_period_begun(self) -> None:
        share = measure_whole(
            billed=days(date(2026, 1, 15), date(2026, 3, 1)), cycle=monthly(date(2026, 3, 1)), terms=UNDIVIDED
        )
        assert share.fraction == 2
        assert share.describe() == "2 full periods"

    @given(cycle=cycles.filter(lambda cycle: cycle.zone != APIA), start=st.integers(1, 400), periods=st.integers(1, 6))
    def test_costs_at_least_the_periods_that_fit(self, cycle: Cycle, start: int, periods: int) -> None:
        end = cycle.boundary(periods)
        billed = Period(local_midnight(cycle.anchor - timedelta(days=start), cycle.zone), end)
        share = measure_whole(billed=billed, cycle=cycle, terms=BY_DAY)
        assert periods <= share.fraction
        *_, last = share.parts
        assert last.period.end == end


class TestFixedBasis:
    def test_divides_by_30(self) -> None:
        share = rest_of(JANUARY, utc(2026, 1, 17), monthly(), OF_30)
        assert (share.numerator, share.denominator) == (15, 30)

    def test_leaves_a_whole_period_whole(self) -> None:
        for month in (JANUARY, days(date(2026, 2, 1), date(2026, 3, 1))):
            assert measure_whole(billed=month, cycle=monthly(), terms=OF_30).fraction == 1

    def test_never_counts_more_than_a_period(self) -> None:
        assert rest_of(JANUARY, utc(2026, 1, 2), monthly(), OF_30).fraction == 1  # 30 of 31 days
        half_year = Cycle(date(2026, 1, 1), Interval("month", 6), UTC_ZONE)
        # 180 of 181 days
        assert rest_of(half_year.period(0), utc(2026, 1, 2), half_year, OF_30).fraction == 1
        assert rest_of(half_year.period(0), utc(2026, 1, 3), half_year, OF_30).fraction == Fraction(179, 180)
        yearly = Cycle(date(2026, 1, 1), YEAR, UTC_ZONE)
        assert rest_of(yearly.period(0), utc(2026, 1, 2), yearly, OF_30).fraction == 1  # 364 days, 360 at most

    def test_takes_360_days_a_year_and_weeks_as_they_are(self) -> None:
        yearly = Cycle(date(2026, 1, 1), YEAR, UTC_ZONE)
        assert rest_of(yearly.period(0), utc(2026, 12, 22), yearly, OF_30).fraction == Fraction(10, 360)
        weekly = Cycle(date(2026, 1, 1), WEEK, UTC_ZONE)
        assert rest_of(weekly.period(0), utc(2026, 1, 6), weekly, OF_30).fraction == Fraction(2, 7)

    def test_counts_seconds_of_30_days(self) -> None:
        share = rest_of(JANUARY, utc(2026, 1, 31, 12), monthly(), ProrationTerms("second", "fixed_30"))
        assert (share.numerator, share.denominator) == (12 * 3600, 30 * 86400)


class TestLocalDays:
    @pytest.mark.parametrize(
        ("zone", "day", "hours"),
        [
            (PARIS, date(2026, 3, 29), 23),
            (PARIS, date(2026, 10, 25), 25),
            (NEW_YORK, date(2026, 3, 8), 23),
            (NEW_YORK, date(2026, 11, 1), 25),
        ],
    )
    def test_are_days_however_many_hours_they_have(self, zone: ZoneInfo, day: date, hours: int) -> None:
        cycle = monthly(zone=zone)
        whole = cycle.whole_period_at(local_midnight(day, zone))
        one = days(day, day + timedelta(days=1), zone)
        assert one.duration == timedelta(hours=hours)
        by_day = measure_share(part=one, billed=whole, cycle=cycle, terms=BY_DAY)
        length = {3: 31, 10: 31, 11: 30}[day.month]
        assert by_day.fraction == Fraction(1, length)
        # Seconds see the missing or additional hour, in the day and in the month.
        by_second = measure_share(part=one, billed=whole, cycle=cycle, terms=BY_SECOND)
        assert by_second.fraction == Fraction(hours, length * 24 + hours - 24)

    def test_begin_at_local_midnight(self) -> None:
        # 23:30 UTC on 14 March is 00:30 on the 15th in Paris: 17 of 31 days left; New York still has the 14th.
        at = utc(2026, 3, 14, 23, 30)
        for zone, left in ((PARIS, 17), (NEW_YORK, 18)):
            cycle = monthly(zone=zone)
            assert rest_of(cycle.whole_period_at(at), at, cycle).numerator == left

    def test_leave_out_the_day_that_apia_never_had(self) -> None:
        december = days(date(2011, 12, 1), date(2012, 1, 1), APIA)
        assert count_local_days(december, APIA) == 30
        cycle = monthly(date(2011, 1, 1), APIA)
        assert measure_whole(billed=december, cycle=cycle, terms=BY_DAY).denominator == 30
        # After the 29th came the 31st.
        assert rest_of(december, local_midnight(date(2011, 12, 29), APIA), cycle).fraction == Fraction(2, 30)
        assert rest_of(december, local_midnight(date(2011, 12, 31), APIA), cycle).fraction == Fraction(1, 30)

    @given(cycle=cycles, index=st.integers(-30, 30), at=st.fractions(0, 1))
    def test_of_old_and_new_plan_are_the_days_of_the_period(self, cycle: Cycle, index: int, at: Fraction) -> None:
        whole = cycle.period(index)
        before, after = cut(whole, [at])
        counted = [count_local_days(part, cycle.zone) for part in (before, after)]
        assert sum(counted) == count_local_days(whole, cycle.zone)
        assert min(counted) >= 0

    @given(start=st.datetimes(datetime(1995, 1, 1), datetime(2040, 1, 1)), length=st.integers(0, 800), cycle=cycles)  # noqa: DTZ001 — local times
    def test_are_the_dates_that_have_a_length(self, start: datetime, length: int, cycle: Cycle) -> None:
        first = start.date()
        last = first + timedelta(days=length)
        real = sum(
            1
            for number in range(length)
            if days(first + timedelta(days=number), first + timedelta(days=number + 1), cycle.zone).duration
        )
        assert count_local_days(days(first, last, cycle.zone), cycle.zone) == real


class TestTakeEffect:
    def test_by_day_is_the_local_midnight_before(self) -> None:
        at = utc(2026, 3, 14, 23, 30)
        assert take_effect(at, terms=BY_DAY, zone=PARIS) == utc(2026, 3, 14, 23)
        assert take_effect(at, terms=UNDIVIDED, zone=NEW_YORK) == utc(2026, 3, 14, 4)

    def test_by_second_is_the_second(self) -> None:
        at = utc(2026, 3, 14, 23, 30, 7)
        assert take_effect(at + timedelta(microseconds=9), terms=BY_SECOND, zone=PARIS) == at


class TestSplitAmount:
    def test_gives_the_cents_to_the_largest_remainders(self) -> None:
        parts = cut(JANUARY, [Fraction(10, 31), Fraction(20, 31)])
        shares = [measure_share(part=part, billed=JANUARY, cycle=monthly(), terms=BY_DAY) for part in parts]
        # 100 * 10 / 31 = 32.26, 32.26, 100 * 11 / 31 = 35.48
        assert split_amount(100, shares) == [32, 32, 36]

    @given(cycle=cycles, cuts=st.lists(st.fractions(0, 1), max_size=5), amount=st.integers(-(10**9), 10**9))
    def test_makes_slices_that_sum_to_the_price(self, cycle: Cycle, cuts: list[Fraction], amount: int) -> None:
        whole = cycle.period(0)
        shares = [measure_share(part=part, billed=whole, cycle=cycle, terms=BY_DAY) for part in cut(whole, cuts)]
        assert sum(split_amount(amount, shares)) == amount


class TestShare:
    @given(cycle=cycles, start=st.integers(0, 400), length=st.integers(1, 900))
    def test_is_read_back_from_its_text(self, cycle: Cycle, start: int, length: int) -> None:
        share = measure_whole(billed=stretch(cycle, start, length), cycle=cycle, terms=BY_DAY)
        assert read_share(share.as_dict()) == share.fraction

    def test_multiplies_before_it_divides(self) -> None:
        share = rest_of(JANUARY, utc(2026, 1, 17), monthly())
        assert share.of(Decimal(31)) == 15
        assert share.of(Decimal("0.000000000031")) == Decimal("0.000000000015")

    def test_says_what_it_is(self) -> None:
        assert rest_of(JANUARY, utc(2026, 1, 17), monthly()).describe() == "15/31 days"
        assert rest_of(JANUARY, utc(2026, 1, 1), monthly()).describe() == "31/31 days"
        assert rest_of(JANUARY, utc(2026, 1, 31), monthly(), BY_SECOND).describe() == "86400/2678400 seconds"


def cut(period: Period, at: list[Fraction]) -> list[Period]:
    """Cut a period into touching parts at fractions of its length, to the second."""
    length = period.duration // timedelta(seconds=1)
    inner = sorted(period.start + timedelta(seconds=int(length * fraction)) for fraction in at)
    return [Period(start, end) for start, end in pairwise([period.start, *inner, period.end])]


def stretch(cycle: Cycle, start: int, length: int) -> Period:
    """A stretch of local days that begins some days after the cycle's anchor."""
    first = cycle.anchor + timedelta(days=start)
    return days(first, first + timedelta(days=length), cycle.zone)
