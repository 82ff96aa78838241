"""Periods, intervals, anchors and midnights, also where a zone has no midnight or no such day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from billing_site.kernel.periods import (
    INTERVAL_UNITS,
    Interval,
    IntervalUnit,
    Period,
    PeriodInvalid,
    add_months,
    billing_period,
    billing_period_containing,
    boundary_date,
    boundary_index,
    local_date,
    local_midnight,
)

PARIS = ZoneInfo("Europe/Paris")
NEW_YORK = ZoneInfo("America/New_York")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
APIA = ZoneInfo("Pacific/Apia")
HAVANA = ZoneInfo("America/Havana")
ZONES = [
    ZoneInfo("UTC"),
    PARIS,
    NEW_YORK,
    SAO_PAULO,
    APIA,
    HAVANA,
    ZoneInfo("Asia/Kathmandu"),
    ZoneInfo("Australia/Lord_Howe"),
]

MONTH, YEAR = Interval("month"), Interval("year")
days = st.dates(min_value=date(1995, 1, 1), max_value=date(2060, 12, 31))
intervals = st.builds(Interval, st.sampled_from(INTERVAL_UNITS), st.integers(min_value=1, max_value=24))
zones = st.sampled_from(ZONES)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


class TestPeriod:
    def test_is_half_open(self) -> None:
        january = Period(utc(2024, 1, 1), utc(2024, 2, 1))
        assert utc(2024, 1, 1) in january
        assert utc(2024, 1, 31, 23, 59) in january
        assert utc(2024, 2, 1) not in january
        assert utc(2023, 12, 31) not in january
        assert "2024-01-15" not in january

    def test_may_be_empty_and_then_holds_nothing(self) -> None:
        empty = Period(utc(2024, 1, 1), utc(2024, 1, 1))
        assert empty.duration == timedelta(0)
        assert utc(2024, 1, 1) not in empty

    def test_touching_periods_do_not_overlap(self) -> None:
        january, february = Period(utc(2024, 1, 1), utc(2024, 2, 1)), Period(utc(2024, 2, 1), utc(2024, 3, 1))
        assert not january.overlaps(february)
        assert not february.overlaps(january)
        assert january.overlaps(Period(utc(2024, 1, 31), utc(2024, 2, 2)))
        assert january.overlaps(january)

    def test_refuses_a_reversed_or_naive_stretch(self) -> None:
        with pytest.raises(PeriodInvalid):
            Period(utc(2024, 2, 1), utc(2024, 1, 1))
        with pytest.raises(PeriodInvalid):
            Period(datetime(2024, 1, 1), utc(2024, 2, 1))  # noqa: DTZ001
        with pytest.raises(PeriodInvalid):
            Period(utc(2024, 1, 1), datetime(2024, 2, 1))  # noqa: DTZ001

    def test_converts_instants_of_another_zone(self) -> None:
        # Midnight to midnight in Paris over the night the clocks go forward is 23 hours, not the 24 of wall clocks.
        period = Period(datetime(2024, 3, 31, tzinfo=PARIS), datetime(2024, 4, 1, tzinfo=PARIS))
        assert period == Period(utc(2024, 3, 30, 23), utc(2024, 3, 31, 22))
        assert period.duration == timedelta(hours=23)
        assert period.start.tzinfo is UTC

    @pytest.mark.parametrize(
        ("zone", "start", "end", "expected", "hours"),
        [
            (PARIS, date(2024, 3, 1), date(2024, 4, 1), 31, 31 * 24 - 1),  # spring: one hour less
            (PARIS, date(2024, 10, 1), date(2024, 11, 1), 31, 31 * 24 + 1),  # autumn: one more
            (NEW_YORK, date(2024, 3, 1), date(2024, 4, 1), 31, 31 * 24 - 1),
            (NEW_YORK, date(2024, 11, 1), date(2024, 12, 1), 30, 30 * 24 + 1),
            (PARIS, date(2024, 2, 1), date(2024, 3, 1), 29, 29 * 24),
        ],
    )
    def test_counts_local_days_whatever_the_clocks_do(
        self, zone: ZoneInfo, start: date, end: date, expected: int, hours: int
    ) -> None:
        period = Period(local_midnight(start, zone), local_midnight(end, zone))
        assert period.count_days(zone) == expected
        assert period.duration == timedelta(hours=hours)


class TestInterval:
    def test_reads_as_a_person_says_it(self) -> None:
        assert [str(Interval("month")), str(Interval("month", 3))] == ["month", "3 months"]

    @pytest.mark.parametrize(("unit", "count"), [("fortnight", 1), ("", 1), ("month", 0), ("month", -1)])
    def test_refuses_unknown_units_and_counts_below_one(self, unit: str, count: int) -> None:
        with pytest.raises(ValueError, match="interval"):
            Interval.parse(unit, count)


class TestLocalMidnight:
    @pytest.mark.parametrize(
        ("day", "zone", "instant"),
        [
            (date(2024, 1, 15), PARIS, utc(2024, 1, 14, 23)),
            (date(2024, 3, 31), PARIS, utc(2024, 3, 30, 23)),  # clocks go forward at 2:00 that night
            (date(2024, 4, 1), PARIS, utc(2024, 3, 31, 22)),
            (date(2024, 10, 27), PARIS, utc(2024, 10, 26, 22)),
            (date(2024, 10, 28), PARIS, utc(2024, 10, 27, 23)),
            (date(2024, 3, 10), NEW_YORK, utc(2024, 3, 10, 5)),
            (date(2024, 3, 11), NEW_YORK, utc(2024, 3, 11, 4)),
            (date(2024, 11, 3), NEW_YORK, utc(2024, 11, 3, 4)),
            (date(2024, 11, 4), NEW_YORK, utc(2024, 11, 4, 5)),
        ],
    )
    def test_follows_daylight_saving(self, day: date, zone: ZoneInfo, instant: datetime) -> None:
        assert local_midnight(day, zone) == instant

    def test_where_clocks_jump_over_midnight_the_day_begins_at_the_jump(self) -> None:
        # São Paulo, 4 November 2018: 23:59 was followed by 01:00, at 03:00 UTC
        begins = local_midnight(date(2018, 11, 4), SAO_PAULO)
        assert begins == utc(2018, 11, 4, 3)
        assert begins.astimezone(SAO_PAULO).hour == 1
        assert local_date(begins, SAO_PAULO) == date(2018, 11, 4)
        assert local_date(begins - timedelta(seconds=1), SAO_PAULO) == date(2018, 11, 3)

    def test_where_midnight_comes_twice_the_day_begins_at_the_first(self) -> None:
        # Havana, 6 November 2022: at 01:00 clocks went back to 00:00, so midnight was at 04:00 and 05:00 UTC
        begins = local_midnight(date(2022, 11, 6), HAVANA)
        assert begins == utc(2022, 11, 6, 4)

    def test_where_the_hour_before_midnight_comes_twice_the_day_begins_once(self) -> None:
        # São Paulo, 18 February 2018: at 00:00 clocks went back to 23:00 of the 17th
        begins = local_midnight(date(2018, 2, 18), SAO_PAULO)
        assert begins == utc(2018, 2, 18, 3)
        assert local_date(begins, SAO_PAULO) == date(2018, 2, 18)

    def test_a_day_that_never_was_begins_where_the_next_one_does(self) -> None:
        # Samoa skipped 30 December 2011: 29 December 23:59 was followed by 31 December 00:00, at 10:00 UTC
        assert local_midnight(date(2011, 12, 29), APIA) == utc(2011, 12, 29, 10)
        assert local_midnight(date(2011, 12, 30), APIA) == utc(2011, 12, 30, 10)
        assert local_midnight(date(2011, 12, 31), APIA) == utc(2011, 12, 30, 10)
        assert local_midnight(date(2012, 1, 1), APIA) == utc(2011, 12, 31, 10)
        assert Period(utc(2011, 12, 29, 10), utc(2011, 12, 31, 10)).count_days(APIA) == 3

    @given(days, zones)
    def test_is_the_first_instant_of_its_day(self, day: date, zone: ZoneInfo) -> None:
        assume((zone.key, day) != ("Pacific/Apia", date(2011, 12, 30)))
        begins = local_midnight(day, zone)
        assert local_date(begins, zone) == day
        assert local_date(begins - timedelta(seconds=1), zone) < day

    @given(days, zones)
    def test_days_follow_each_other_without_gap(self, day: date, zone: ZoneInfo) -> None:
        assert local_midnight(day, zone) <= local_midnight(day + timedelta(days=1), zone)


class TestAddMonths:
    @pytest.mark.parametrize(
        ("day", "months", "expected"),
        [
            (date(2024, 1, 31), 1, date(2024, 2, 29)),
            (date(2023, 1, 31), 1, date(2023, 2, 28)),
            (date(2024, 1, 31), 2, date(2024, 3, 31)),
            (date(2024, 1, 31), -2, date(2023, 11, 30)),
            (date(2024, 12, 15), 1, date(2025, 1, 15)),
            (date(2024, 1, 15), -1, date(2023, 12, 15)),
            (date(2024, 2, 29), 12, date(2025, 2, 28)),
            (date(2024, 2, 29), 48, date(2028, 2, 29)),
            (date(2024, 5, 5), 0, date(2024, 5, 5)),
        ],
    )
    def test_clamps_to_the_end_of_the_month(self, day: date, months: int, expected: date) -> None:
        assert add_months(day, months) == expected


class TestBoundaryDate:
    def test_31_january_returns_to_the_31st_after_every_short_month(self) -> None:
        found = [boundary_date(date(2023, 1, 31), MONTH, index) for index in range(14)]
        assert [day.isoformat() for day in found] == [
            "2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30", "2023-05-31", "2023-06-30", "2023-07-31",
            "2023-08-31", "2023-09-30", "2023-10-31", "2023-11-30", "2023-12-31", "2024-01-31", "2024-02-29",
        ]  # fmt: skip

    def test_28_february_stays_the_28th(self) -> None:
        assert boundary_date(date(2023, 2, 28), MONTH, 1) == date(2023, 3, 28)
        assert boundary_date(date(2023, 2, 28), YEAR, 1) == date(2024, 2, 28)

    def test_29_february_is_the_28th_in_common_years(self) -> None:
        found = [boundary_date(date(2024, 2, 29), YEAR, index) for index in range(-1, 5)]
        assert found == [
            date(2023, 2, 28),
            date(2024, 2, 29),
            date(2025, 2, 28),
            date(2026, 2, 28),
            date(2027, 2, 28),
            date(2028, 2, 29),
        ]

    @pytest.mark.parametrize(
        ("interval", "index", "expected"),
        [
            (Interval("day", 10), 3, date(2024, 2, 14)),
            (Interval("week", 2), 2, date(2024, 2, 12)),
            (Interval("month", 3), 1, date(2024, 4, 15)),
            (Interval("year", 2), 1, date(2026, 1, 15)),
            (Interval("week"), -1, date(2024, 1, 8)),
        ],
    )
    def test_steps_by_the_interval(self, interval: Interval, index: int, expected: date) -> None:
        assert boundary_date(date(2024, 1, 15), interval, index) == expected

    @given(days, intervals, st.integers(min_value=-20, max_value=20))
    def test_grows_with_the_index(self, anchor: date, interval: Interval, index: int) -> None:
        assert boundary_date(anchor, interval, index) < boundary_date(anchor, interval, index + 1)

    @given(days, st.integers(min_value=1, max_value=24), st.integers(min_value=-20, max_value=20))
    def test_keeps_the_anchor_day_or_the_month_end(self, anchor: date, count: int, index: int) -> None:
        day = boundary_date(anchor, Interval("month", count), index)
        is_month_end = (day + timedelta(days=1)).month != day.month
        assert day.day == anchor.day or (is_month_end and day.day < anchor.day)


class TestBoundaryIndex:
    @given(days, intervals, st.integers(min_value=-30, max_value=30))
    def test_undoes_boundary_date(self, anchor: date, interval: Interval, index: int) -> None:
        assert boundary_index(anchor, interval, boundary_date(anchor, interval, index)) == index

    @given(days, intervals, days)
    def test_is_the_last_boundary_on_or_before_the_day(self, anchor: date, interval: Interval, day: date) -> None:
        index = boundary_index(anchor, interval, day)
        assert boundary_date(anchor, interval, index) <= day < boundary_date(anchor, interval, index + 1)

    @pytest.mark.parametrize(
        ("anchor", "interval", "day", "index"),
        [
            (date(2024, 1, 31), MONTH, date(2024, 2, 28), 0),
            (date(2024, 1, 31), MONTH, date(2024, 2, 29), 1),
            (date(2024, 2, 29), YEAR, date(2025, 2, 27), 0),
            (date(2024, 2, 29), YEAR, date(2025, 2, 28), 1),
            (date(2024, 2, 29), YEAR, date(2024, 2, 28), -1),
            (date(2024, 1, 15), Interval("week", 2), date(2024, 1, 14), -1),
        ],
    )
    def test_counts_clamped_boundaries(self, anchor: date, interval: Interval, day: date, index: int) -> None:
        assert boundary_index(anchor, interval, day) == index


class TestBillingPeriod:
    def test_runs_from_local_midnight_to_local_midnight(self) -> None:
        march = billing_period(date(2024, 1, 31), MONTH, 1, PARIS)
        # 29 February 00:00 CET to 31 March 00:00 CET
        assert march == Period(utc(2024, 2, 28, 23), utc(2024, 3, 30, 23))
        april = billing_period(date(2024, 1, 31), MONTH, 2, PARIS)
        # 31 March 00:00 CET to 30 April 00:00 CEST
        assert april == Period(utc(2024, 3, 30, 23), utc(2024, 4, 29, 22))

    @pytest.mark.parametrize("unit", INTERVAL_UNITS)
    @pytest.mark.parametrize("zone", ZONES, ids=lambda zone: zone.key)
    def test_periods_tile_time(self, unit: IntervalUnit, zone: ZoneInfo) -> None:
        periods = [billing_period(date(2011, 10, 31), Interval(unit), index, zone) for index in range(-3, 90)]
        assert all(left.end == right.start for left, right in pairwise(periods))

    @given(days, intervals, zones, st.datetimes(min_value=datetime(1996, 1, 1), max_value=datetime(2059, 1, 1)))  # noqa: DTZ001
    def test_the_containing_period_contains(
        self, anchor: date, interval: Interval, zone: ZoneInfo, naive: datetime
    ) -> None:
        instant = naive.replace(tzinfo=UTC)
        assert instant in billing_period_containing(anchor, interval, instant, zone)
