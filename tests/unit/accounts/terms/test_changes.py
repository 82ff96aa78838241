"""Changes of plan, quantity and interval: direction, timing, both sides, and what becomes of the anchor."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.terms.changes import (
    ChangePlan,
    ChangeTiming,
    Direction,
    Effective,
    ProrationBehavior,
    choose_timing,
    compare_fees,
    plan_change,
)
from accounts.terms.cycles import Cycle
from accounts.terms.fees import PeriodFee
from accounts.terms.proration import ProrationTerms
from billing_site.kernel.money import round_to_minor
from billing_site.kernel.periods import Interval, Period
from tests.unit.accounts.terms.calendars import (
    BY_DAY,
    BY_SECOND,
    MONTH,
    OF_30,
    PARIS,
    UNDIVIDED,
    UTC_ZONE,
    WEEK,
    YEAR,
    cycles,
    days,
    fee,
    monthly,
    utc,
)

JANUARY = days(date(2026, 1, 1), date(2026, 2, 1))
APRIL = days(date(2026, 4, 1), date(2026, 5, 1))


def change(old: PeriodFee, new: PeriodFee, at: datetime, period: Period = APRIL, **options: Any) -> ChangePlan:
    return plan_change(at=at, cycle=options.pop("cycle", monthly()), period=period, old=old, new=new, **options)


def lines(plan: ChangePlan) -> list[int]:
    """What the parts come to, each rounded once like its line."""
    return [round_to_minor(part.net) for part in plan.parts]


class TestCompareFees:
    @pytest.mark.parametrize(
        ("old", "new", "direction"),
        [
            (fee(4900), fee(9900), "upgrade"),
            (fee(9900), fee(4900), "downgrade"),
            (fee(2900), fee(2900), "equal"),
            (fee(2900), fee(29000, YEAR), "downgrade"),  # 2416.67 a month
            (fee(2900), fee(34800, YEAR), "equal"),
            (fee(2900), fee(34801, YEAR), "upgrade"),  # a twelfth of a cent dearer
            (fee(2900 * 3), fee(2900 * 5), "upgrade"),  # three seats, five seats
            (fee(1000), fee(3000, Interval("month", 3)), "equal"),
            (fee(0), fee(1), "upgrade"),
            (fee(0), fee(0, YEAR), "equal"),
            (fee(700, WEEK), fee(100, Interval("day")), "equal"),
        ],
    )
    def test_goes_by_the_price_per_month_times_quantity(
        self, old: PeriodFee, new: PeriodFee, direction: Direction
    ) -> None:
        assert compare_fees(old, new) == direction

    def test_goes_by_list_prices(self) -> None:
        assert compare_fees(fee(5000, discount=4000), fee(4000)) == "downgrade"


class TestChooseTiming:
    @pytest.mark.parametrize(
        ("direction", "asked", "expected"),
        [
            ("upgrade", {}, ("immediate", "always_invoice")),
            ("downgrade", {}, ("period_end", "none")),
            ("equal", {}, ("immediate", "none")),
            ("upgrade", {"effective": "period_end"}, ("period_end", "none")),
            ("upgrade", {"proration_behavior": "create_prorations"}, ("immediate", "create_prorations")),
            ("upgrade", {"proration_behavior": "none"}, ("immediate", "none")),
            ("downgrade", {"effective": "immediate"}, ("immediate", "always_invoice")),
            (
                "downgrade",
                {"effective": "immediate", "proration_behavior": "create_prorations"},
                ("immediate", "create_prorations"),
            ),
            ("downgrade", {"proration_behavior": "always_invoice"}, ("period_end", "always_invoice")),
            ("equal", {"proration_behavior": "always_invoice"}, ("immediate", "always_invoice")),
            ("equal", {"effective": "period_end"}, ("period_end", "none")),
        ],
    )
    def test_goes_by_direction_and_explicit_fields_win(
        self, direction: Direction, asked: dict[str, Any], expected: tuple[Effective, ProrationBehavior]
    ) -> None:
        assert choose_timing(direction, **asked) == ChangeTiming(*expected)

    @pytest.mark.parametrize("asked", [{"effective": "now"}, {"proration_behavior": "some"}])
    def test_refuses_other_words(self, asked: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(asked.values()))):
            choose_timing("upgrade", **asked)


class TestPlanChange:
    def test_of_49_to_99_with_15_of_31_days_left_nets_24_19(self) -> None:
        plan = change(fee(4900), fee(9900), utc(2026, 1, 17, 14), JANUARY)
        # 4900 * 15 / 31 = 2370.97, 9900 * 15 / 31 = 4790.32
        assert lines(plan) == [-2371, 4790]
        assert sum(lines(plan)) == 2419
        assert [part.share.as_dict() for part in plan.parts] == [
            {"unit": "day", "numerator": "15", "denominator": "31"}
        ] * 2

    def test_per_second_of_5_to_20_with_2505600_seconds_left(self) -> None:
        plan = change(fee(500, by=BY_SECOND), fee(2000, by=BY_SECOND), utc(2026, 4, 2))
        assert lines(plan) == [-483, 1933]  # 483.33 and 1933.33
        assert plan.parts[0].share.numerator == 2_505_600

    @pytest.mark.parametrize(("old", "new", "expected"), [(9900, 29900, [-4950, 14950]), (3000, 6000, [-1500, 3000])])
    def test_half_way_halves_both(self, old: int, new: int, expected: list[int]) -> None:
        assert lines(change(fee(old), fee(new), utc(2026, 4, 16))) == expected

    def test_counts_from_the_second_only_where_both_plans_do(self) -> None:
        at = utc(2026, 4, 30, 12)  # 12 of 720 hours left, or the whole last day
        both = change(fee(7200, by=BY_SECOND), fee(14400, by=BY_SECOND), at)
        assert lines(both) == [-120, 240]
        assert both.effective_at == at
        one = change(fee(7200), fee(14400, by=BY_SECOND), at)
        assert lines(one) == [-240, 480]
        assert [part.share.unit for part in one.parts] == ["day", "second"]

    def test_to_a_dearer_plan_is_now_and_keeps_the_period_and_the_anchor(self) -> None:
        plan = change(fee(3000), fee(6000), utc(2026, 4, 16, 11))
        assert (plan.direction, plan.when) == ("upgrade", "immediate")
        assert plan.timing.proration_behavior == "always_invoice"
        assert plan.effective_at == utc(2026, 4, 16)
        assert plan.period == APRIL
        assert plan.cycle == monthly()
        assert (plan.next_index, plan.next_billing_at) == (4, APRIL.end)
        assert [part.period for part in plan.parts] == [Period(utc(2026, 4, 16), APRIL.end)] * 2
        assert {part.settlement for part in plan.parts} == {"negative_line"}

    def test_to_a_cheaper_plan_waits_for_the_end_of_the_period(self) -> None:
        plan = change(fee(6000), fee(3000), utc(2026, 4, 16))
        assert (plan.when, plan.parts, plan.effective_at) == ("period_end", (), APRIL.end)
        assert plan.period == APRIL
        assert plan.following.first == days(date(2026, 5, 1), date(2026, 6, 1))

    @pytest.mark.parametrize(("is_paid", "settlement"), [(True, "credit_note"), (False, "negative_line")])
    def test_to_a_cheaper_plan_at_once_credits_what_was_paid(self, is_paid: bool, settlement: str) -> None:
        plan = change(fee(6000), fee(3000), utc(2026, 4, 16), effective="immediate", is_paid=is_paid)
        assert lines(plan) == [-3000, 1500]
        assert plan.parts[0].settlement == settlement

    def test_to_an_equal_plan_is_now_without_lines(self) -> None:
        plan = change(fee(3000), fee(3000), utc(2026, 4, 16))
        assert (plan.when, plan.parts, plan.effective_at) == ("immediate", (), utc(2026, 4, 16))
        asked = change(fee(3000), fee(3000), utc(2026, 4, 16), proration_behavior="always_invoice")
        assert lines(asked) == [-1500, 1500]

    def test_without_proration_has_no_lines(self) -> None:
        plan = change(fee(3000), fee(6000), utc(2026, 4, 16), proration_behavior="none")
        assert (plan.when, plan.parts, plan.period) == ("immediate", (), APRIL)

    def test_from_a_free_plan_only_charges_and_to_one_only_credits(self) -> None:
        (charge,) = change(fee(0), fee(3000), utc(2026, 4, 16)).parts
        assert charge.kind == "charge"
        assert charge.net == 1500
        (credit,) = change(fee(3000), fee(0), utc(2026, 4, 16), effective="immediate").parts
        assert credit.kind == "credit"
        assert credit.net == -1500

    def test_is_net_of_the_discount_of_each_side(self) -> None:
        # 25 % off the old fee only: credit what was really paid, 3000 * 75 % / 2.
        plan = change(fee(3000, discount=750), fee(6000), utc(2026, 4, 16))
        assert lines(plan) == [-1125, 3000]
        both = change(fee(3000, discount=750), fee(6000, discount=1500), utc(2026, 4, 16))
        assert lines(both) == [-1125, 2250]

    def test_of_quantity_is_a_change_between_the_fees_of_both_quantities(self) -> None:
        # 10 a seat: 3 to 5 seats with 10 of 30 days left.
        plan = change(fee(3 * 1000), fee(5 * 1000), utc(2026, 4, 21))
        assert lines(plan) == [-1000, 1667]
        fewer = change(fee(5 * 1000), fee(3 * 1000), utc(2026, 4, 21))
        assert (fewer.when, fewer.parts) == ("period_end", ())

    def test_twice_on_one_day_takes_the_first_charge_back_and_counts_the_day_once(self) -> None:
        first = change(fee(3000), fee(6000), utc(2026, 4, 16, 9))
        second = change(fee(6000), fee(9000), utc(2026, 4, 16, 17))
        assert lines(first) == [-1500, 3000]
        assert lines(second) == [-3000, 4500]
        # As if it had gone from the first plan to the last at once.
        assert sum(lines(first) + lines(second)) == sum(lines(change(fee(3000), fee(9000), utc(2026, 4, 16))))

    def test_on_the_first_day_replaces_the_whole_fee_and_after_the_end_nothing(self) -> None:
        assert lines(change(fee(3000), fee(6000), utc(2026, 4, 1, 23))) == [-3000, 6000]
        assert lines(change(fee(3000), fee(6000), utc(2026, 3, 12))) == [-3000, 6000]
        assert change(fee(3000), fee(6000), utc(2026, 5, 1)).parts == ()
        assert change(fee(3000), fee(6000), utc(2026, 7, 1)).effective_at == APRIL.end

    def test_on_the_last_day_still_counts_that_day(self) -> None:
        assert lines(change(fee(3000), fee(6000), utc(2026, 4, 30, 23))) == [-100, 200]

    def test_of_a_period_of_zero_length_has_no_lines(self) -> None:
        assert change(fee(3000), fee(6000), APRIL.start, Period(APRIL.start, APRIL.start)).parts == ()

    def test_in_a_stub_divides_by_the_whole_period(self) -> None:
        # Started on 11 April on the calendar: the stub is 20 of 30 days; 10 of 30 are left on the 21st.
        stub = days(date(2026, 4, 11), date(2026, 5, 1))
        assert lines(change(fee(3000), fee(6000), utc(2026, 4, 21), stub)) == [-1000, 2000]

    def test_in_a_long_stub_uses_the_pieces_it_was_billed_by(self) -> None:
        cycle, stub = monthly(date(2026, 3, 1)), days(date(2026, 1, 15), date(2026, 3, 1))
        plan = change(fee(2800), fee(5600), utc(2026, 2, 22), stub, cycle=cycle)
        assert lines(plan) == [-700, 1400]  # 7 of February's 28 days

    def test_in_a_trial_has_no_lines_and_goes_on(self) -> None:
        trial, cycle = days(date(2026, 4, 1), date(2026, 4, 15)), monthly(date(2026, 4, 15))
        plan = change(fee(3000), fee(6000), utc(2026, 4, 8), trial, cycle=cycle, is_trial=True)
        assert (plan.when, plan.parts, plan.period) == ("immediate", (), trial)
        assert (plan.cycle, plan.next_index) == (cycle, 0)

    def test_in_a_trial_to_a_year_pays_a_whole_year_from_its_end(self) -> None:
        trial, cycle = days(date(2026, 4, 1), date(2026, 4, 15)), monthly(date(2026, 4, 15))
        plan = change(
            fee(3000),
            fee(60000, YEAR),
            utc(2026, 4, 8),
            trial,
            cycle=cycle,
            is_trial=True,
            interval_change="restart",
        )
        assert plan.following.first == days(date(2026, 4, 15), date(2027, 4, 15))
        assert (plan.parts, plan.next_index, plan.following.is_stub) == ((), 0, False)

    def test_in_a_trial_stays_on_the_calendar(self) -> None:
        trial = days(date(2026, 4, 1), date(2026, 4, 15))
        plan = change(
            fee(3000),
            fee(60000, YEAR),
            utc(2026, 4, 8),
            trial,
            alignment="calendar",
            interval_change="restart",
            is_trial=True,
        )
        assert plan.following.first == days(date(2026, 4, 15), date(2027, 1, 1))

    def test_counts_days_of_the_accounts_zone(self) -> None:
        period = days(date(2026, 3, 1), date(2026, 4, 1), PARIS)
        # 22:30 UTC on the 31st is 00:30 on 1 April in Paris: the period is over.
        cycle = monthly(zone=PARIS)
        assert change(fee(3100), fee(6200), utc(2026, 3, 31, 22, 30), period, cycle=cycle).parts == ()
        plan = change(fee(3100), fee(6200), utc(2026, 3, 29, 22, 30), period, cycle=cycle)
        assert lines(plan) == [-200, 400]  # the 30th and the 31st

    def test_of_a_fixed_30_day_plan_divides_by_30(self) -> None:
        plan = change(fee(3000, by=OF_30), fee(6000, by=OF_30), utc(2026, 1, 17), JANUARY)
        assert lines(plan) == [-1500, 3000]

    def test_refuses_a_fee_of_another_interval_than_the_cycle(self) -> None:
        with pytest.raises(ValueError, match="year"):
            change(fee(3000, YEAR), fee(6000, YEAR), utc(2026, 4, 16))

    @given(
        cycle=cycles,
        index=st.integers(-5, 30),
        old=st.integers(0, 10**7),
        new=st.integers(0, 10**7),
        offset=st.integers(-40, 400),
        by_second=...,
    )
    def test_never_bills_more_or_less_than_one_period(
        self, cycle: Cycle, index: int, old: int, new: int, offset: int, by_second: bool
    ) -> None:
        terms = BY_SECOND if by_second else BY_DAY
        period = cycle.period(index)
        plan = plan_change(
            at=period.start + timedelta(hours=7 * offset),
            cycle=cycle,
            period=period,
            old=PeriodFee(Decimal(old), cycle.interval, proration=terms),
            new=PeriodFee(Decimal(new), cycle.interval, proration=terms),
            effective="immediate",
            proration_behavior="always_invoice",
        )
        shares = {part.kind: part.share.fraction for part in plan.parts}
        for share in shares.values():
            assert 0 < share <= 1
        if old and new and shares:
            # What the old plan keeps and what the new one gets are one period together.
            assert (1 - shares["credit"]) + shares["charge"] == 1
        assert all((part.net < 0) == (part.kind == "credit") for part in plan.parts)
        assert plan.period == period


class TestPlanChangeOfAnUndividedPlan:
    def test_to_a_dearer_one_takes_the_whole_period_over(self) -> None:
        plan = change(fee(3000, by=UNDIVIDED), fee(6000, by=UNDIVIDED), utc(2026, 4, 29))
        assert lines(plan) == [-3000, 6000]

    def test_to_a_cheaper_one_gives_nothing_back(self) -> None:
        plan = change(fee(6000, by=UNDIVIDED), fee(3000, by=UNDIVIDED), utc(2026, 4, 2), effective="immediate")
        assert (plan.parts, plan.period, plan.effective_at) == ((), APRIL, utc(2026, 4, 2))

    def test_to_a_dearer_divided_one_is_credited_by_its_unit(self) -> None:
        plan = change(fee(3000, by=UNDIVIDED), fee(6000), utc(2026, 4, 16))
        assert lines(plan) == [-1500, 3000]

    def test_from_a_divided_one_charges_the_full_period(self) -> None:
        plan = change(fee(3000), fee(6000, by=UNDIVIDED), utc(2026, 4, 16))
        assert lines(plan) == [-1500, 6000]

    def test_to_a_cheaper_year_runs_on_to_the_end_of_the_period(self) -> None:
        plan = change(fee(6000, by=UNDIVIDED), fee(12000, YEAR, by=UNDIVIDED), utc(2026, 4, 2), effective="immediate")
        assert (plan.parts, plan.period) == ((), APRIL)
        assert plan.following.first.start == APRIL.end


class TestPlanChangeOfInterval:
    MONTHLY = monthly(date(2025, 1, 15))
    PERIOD = days(date(2026, 3, 15), date(2026, 4, 15))

    def change_to_year(self, **options: Any) -> ChangePlan:
        return change(fee(3100), fee(73000, YEAR), utc(2026, 4, 5), self.PERIOD, cycle=self.MONTHLY, **options)

    def test_to_a_year_keeps_the_anchor_and_prorates_both(self) -> None:
        plan = self.change_to_year()
        assert plan.direction == "upgrade"
        assert plan.period == days(date(2026, 4, 5), date(2027, 1, 15))
        assert [part.share.fraction for part in plan.parts] == [Fraction(10, 31), Fraction(285, 365)]
        assert lines(plan) == [-1000, 57000]
        assert plan.cycle == Cycle(date(2025, 1, 15), YEAR, UTC_ZONE)
        assert (plan.next_index, plan.next_billing_at) == (2, utc(2027, 1, 15))

    def test_and_back_keeps_the_boundaries(self) -> None:
        year = self.change_to_year()
        plan = change(
            fee(73000, YEAR),
            fee(3100),
            utc(2026, 7, 20),
            year.period,
            cycle=year.cycle,
            effective="immediate",
        )
        assert plan.cycle == self.MONTHLY
        assert plan.period == days(date(2026, 7, 20), date(2026, 8, 15))
        # 20 July to 15 January: 179 of 365 days back; to 15 August: 26 of 31 days.
        assert lines(plan) == [-35800, 2600]
        assert plan.following.first == days(date(2026, 8, 15), date(2026, 9, 15))

    def test_restarting_charges_a_whole_period_from_the_change_day(self) -> None:
        plan = self.change_to_year(interval_change="restart")
        assert plan.period == days(date(2026, 4, 5), date(2027, 4, 5))
        assert lines(plan) == [-1000, 73000]
        assert plan.cycle.anchor == date(2026, 4, 5)
        assert plan.next_index == 1

    def test_restarting_per_second_still_begins_at_midnight(self) -> None:
        plan = change(
            fee(3100, by=BY_SECOND),
            fee(73000, YEAR, by=BY_SECOND),
            utc(2026, 4, 5, 13),
            self.PERIOD,
            cycle=self.MONTHLY,
            interval_change="restart",
        )
        assert lines(plan) == [-1000, 73000]

    def test_restarting_without_proration_charges_and_credits_nothing_back(self) -> None:
        assert lines(self.change_to_year(interval_change="restart", proration_behavior="none")) == [73000]

    def test_without_proration_uses_up_what_is_paid_first(self) -> None:
        plan = self.change_to_year(proration_behavior="none")
        assert (plan.when, plan.parts, plan.period) == ("immediate", (), self.PERIOD)
        assert plan.following.first == days(date(2026, 4, 15), date(2027, 1, 15))
        assert plan.cycle.interval == YEAR

    def test_at_period_end_opens_with_a_stub_or_restarts_there(self) -> None:
        kept = self.change_to_year(effective="period_end")
        assert kept.following.first == days(date(2026, 4, 15), date(2027, 1, 15))
        assert kept.following.share_of_first(BY_DAY).fraction == Fraction(275, 365)
        anew = self.change_to_year(effective="period_end", interval_change="restart")
        assert anew.following.first == days(date(2026, 4, 15), date(2027, 4, 15))
        assert (kept.parts, anew.parts) == ((), ())

    def test_on_the_calendar_lands_on_the_calendar_year(self) -> None:
        plan = change(fee(3000), fee(73000, YEAR), utc(2026, 4, 16), alignment="calendar")
        assert plan.period == days(date(2026, 4, 16), date(2027, 1, 1))

    @given(
        days_later=st.integers(0, 1500),
        unit=st.sampled_from(["week", "month", "year"]),
        terms=st.sampled_from([BY_DAY, BY_SECOND]),
    )
    def test_leaves_no_gap_between_old_and_new(self, days_later: int, unit: str, terms: ProrationTerms) -> None:
        cycle = monthly(date(2024, 1, 31), PARIS)
        at = cycle.boundary(0) + timedelta(days=days_later, hours=5)
        period = cycle.whole_period_at(at)
        plan = plan_change(
            at=at,
            cycle=cycle,
            period=period,
            old=fee(1000, MONTH, by=terms),
            new=fee(5000, Interval.parse(unit, 2), by=terms),
            effective="immediate",
            proration_behavior="always_invoice",
        )
        credit, charge = plan.parts
        assert credit.period.start == charge.period.start == plan.period.start == plan.effective_at
        assert charge.period.end == plan.period.end == plan.following.first.start
        assert credit.period.end == period.end
