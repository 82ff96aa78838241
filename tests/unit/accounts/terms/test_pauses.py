"""Pauses: unused days credited on resume's invoice, the rest charged, the anchor day kept; trials that move."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.terms.cycles import Cycle
from accounts.terms.fees import PeriodFee
from accounts.terms.pauses import ResumeInvalid, ResumePlan, plan_resume, plan_trial_resume
from billing_site.kernel.money import round_to_minor
from billing_site.kernel.periods import Period
from tests.unit.accounts.terms.calendars import (
    APIA,
    BY_SECOND,
    PARIS,
    UNDIVIDED,
    cycles,
    days,
    fee,
    monthly,
    utc,
)

APRIL = days(date(2026, 4, 1), date(2026, 5, 1))
PAUSED = utc(2026, 4, 11, 10)


def resume(at: datetime, paused_at: datetime = PAUSED, of: PeriodFee | None = None, **options: Any) -> ResumePlan:
    options = {"cycle": monthly(), "period": APRIL, **options}
    return plan_resume(paused_at=paused_at, at=at, fee=of or fee(3000), **options)


def lines(plan: ResumePlan) -> list[tuple[str, int]]:
    return [(part.share.describe(), round_to_minor(part.net)) for part in plan.parts]


class TestPlanResume:
    def test_in_the_same_period_credits_unused_days_and_charges_the_rest(self) -> None:
        plan = resume(utc(2026, 4, 16, 8))
        # 11 to 30 April back, 16 to 30 April charged: five days slept, 3000 * 5 / 30.
        assert lines(plan) == [("20/30 days", -2000), ("15/30 days", 1500)]
        assert [part.settlement for part in plan.parts] == ["negative_line"] * 2
        assert plan.paused == days(date(2026, 4, 11), date(2026, 4, 16))
        assert plan.period == APRIL
        assert (plan.next_index, plan.next_billing_at) == (4, APRIL.end)

    def test_in_a_later_period_charges_the_rest_of_that_one_and_keeps_the_anchor_day(self) -> None:
        plan = resume(utc(2026, 6, 21))
        # May costs nothing; 21 to 30 June are 10 of 30 days.
        assert lines(plan) == [("20/30 days", -2000), ("10/30 days", 1000)]
        assert plan.period == days(date(2026, 6, 21), date(2026, 7, 1))
        assert (plan.next_index, plan.next_billing_at) == (6, utc(2026, 7, 1))

    def test_on_a_boundary_charges_a_whole_period(self) -> None:
        plan = resume(utc(2026, 5, 1))
        assert lines(plan) == [("20/30 days", -2000), ("31/31 days", 3000)]
        assert plan.period == days(date(2026, 5, 1), date(2026, 6, 1))

    def test_keeps_the_31st_after_a_short_month(self) -> None:
        cycle = monthly(date(2026, 1, 31))
        plan = resume(
            utc(2026, 3, 10),
            utc(2026, 2, 10),
            fee(2800),
            cycle=cycle,
            period=days(date(2026, 1, 31), date(2026, 2, 28)),
        )
        assert plan.period == days(date(2026, 3, 10), date(2026, 3, 31))
        assert lines(plan) == [("18/28 days", -1800), ("21/31 days", 1897)]  # 2800 * 21 / 31 = 1896.77
        assert plan.following.first == days(date(2026, 3, 31), date(2026, 4, 30))

    def test_on_the_day_of_the_pause_changes_nothing(self) -> None:
        plan = resume(utc(2026, 4, 11, 23))
        assert (plan.parts, plan.period) == ((), APRIL)

    def test_credits_what_was_really_paid(self) -> None:
        assert [amount for _, amount in lines(resume(utc(2026, 4, 16), of=fee(3000, discount=600)))] == [-1600, 1200]

    def test_per_second_counts_the_pause_itself(self) -> None:
        plan = resume(utc(2026, 4, 11, 22), of=fee(7200, by=BY_SECOND))
        assert sum(amount for _, amount in lines(plan)) == -120  # 12 of 720 hours

    def test_counts_local_days(self) -> None:
        # 22:30 UTC on 10 April is the 11th in Paris.
        period = days(date(2026, 4, 1), date(2026, 5, 1), PARIS)
        plan = resume(utc(2026, 4, 15, 22), utc(2026, 4, 10, 22, 30), cycle=monthly(zone=PARIS), period=period)
        assert [share for share, _ in lines(plan)] == ["20/30 days", "15/30 days"]

    @pytest.mark.parametrize("at", [utc(2026, 4, 11, 9), utc(2026, 4, 10)])
    def test_refuses_to_resume_before_the_pause(self, at: datetime) -> None:
        with pytest.raises(ResumeInvalid):
            resume(at)

    def test_refuses_a_pause_outside_the_period(self) -> None:
        with pytest.raises(ResumeInvalid):
            resume(utc(2026, 5, 20), utc(2026, 5, 2))


class TestPlanResumeWithoutCredit:
    def test_in_the_same_period_has_no_lines(self) -> None:
        plan = resume(utc(2026, 4, 16), credit="none")
        assert (plan.parts, plan.period) == ((), APRIL)

    def test_in_a_later_period_only_charges(self) -> None:
        assert lines(resume(utc(2026, 6, 21), credit="none")) == [("10/30 days", 1000)]

    def test_is_what_undivided_plans_have(self) -> None:
        undivided = fee(3000, by=UNDIVIDED)
        assert resume(utc(2026, 4, 16), of=undivided).parts == ()
        assert lines(resume(utc(2026, 6, 21), of=undivided)) == [("full period", 3000)]


class TestPlanResumeInArrears:
    def test_in_the_same_period_corrects_the_fee_that_closes_it(self) -> None:
        plan = resume(utc(2026, 4, 16), bills_in_advance=False)
        assert [amount for _, amount in lines(plan)] == [-2000, 1500]

    def test_in_a_later_period_charges_the_days_before_the_pause(self) -> None:
        plan = resume(utc(2026, 6, 21), bills_in_advance=False)
        assert lines(plan) == [("10/30 days", 1000)]
        (charge,) = plan.parts
        assert (charge.kind, charge.period) == ("charge", days(date(2026, 4, 1), date(2026, 4, 11)))
        assert plan.period == days(date(2026, 6, 21), date(2026, 7, 1))

    def test_without_credit_owes_the_period_in_full(self) -> None:
        assert lines(resume(utc(2026, 6, 21), bills_in_advance=False, credit="none")) == [("30/30 days", 3000)]


class TestPlanResumeAlways:
    @given(
        cycle=cycles.filter(lambda cycle: cycle.zone != APIA),
        index=st.integers(0, 30),
        day=st.integers(0, 2000),
        length=st.integers(0, 30_000),
        in_advance=...,
    )
    def test_bills_exactly_the_days_that_were_not_paused(
        self, cycle: Cycle, index: int, day: int, length: int, in_advance: bool
    ) -> None:
        period = cycle.period(index)
        paused_at = period.start + timedelta(days=day % period.count_days(cycle.zone), hours=1)
        at = paused_at + timedelta(hours=length)
        plan = plan_resume(
            paused_at=paused_at,
            at=at,
            cycle=cycle,
            period=period,
            fee=PeriodFee(Decimal(1000), cycle.interval),
            bills_in_advance=in_advance,
        )
        billed = sum((-1 if part.kind == "credit" else 1) * part.share.fraction for part in plan.parts)
        resumed_in = cycle.whole_period_at(at)
        used = Fraction(
            Period(period.start, paused_at).count_days(cycle.zone),
            period.count_days(cycle.zone),
        )
        rest = Fraction(
            Period(at, resumed_in.end).count_days(cycle.zone),
            resumed_in.count_days(cycle.zone),
        )
        assert plan.period.end == resumed_in.end == plan.following.first.start
        if in_advance or at < period.end:
            # One whole period was billed before the pause, or will be when this one closes.
            assert 1 + billed == used + rest
        else:
            # The rest is billed when its period closes.
            assert billed == used


class TestPlanTrialResume:
    TRIAL = days(date(2026, 4, 1), date(2026, 4, 15))

    def resume(self, paused_at: datetime, at: datetime, **options: Any) -> Period:
        cycle = monthly(date(2026, 4, 15))
        started = plan_trial_resume(paused_at=paused_at, at=at, trial=self.TRIAL, cycle=cycle, **options)
        assert started.trial is not None
        self.started = started
        return started.trial

    def test_moves_the_end_and_the_anchor_by_the_days_of_the_pause(self) -> None:
        trial = self.resume(utc(2026, 4, 5, 9), utc(2026, 4, 12, 21))
        assert trial == days(date(2026, 4, 1), date(2026, 4, 22))
        assert self.started.cycle.anchor == date(2026, 4, 22)

    def test_gives_the_rest_of_the_trial_however_long_the_pause(self) -> None:
        trial = self.resume(utc(2026, 4, 5), utc(2026, 9, 5))
        assert trial.end == utc(2026, 9, 15)  # the ten days that were left

    def test_keeps_calendar_boundaries(self) -> None:
        self.resume(utc(2026, 4, 5), utc(2026, 4, 8), alignment="calendar")
        assert self.started.first == days(date(2026, 4, 18), date(2026, 5, 1))

    def test_on_the_day_of_the_pause_changes_nothing(self) -> None:
        assert self.resume(utc(2026, 4, 5, 9), utc(2026, 4, 5, 21)) == self.TRIAL

    def test_refuses_a_pause_outside_the_trial(self) -> None:
        with pytest.raises(ResumeInvalid):
            self.resume(utc(2026, 4, 15), utc(2026, 4, 16))
        with pytest.raises(ResumeInvalid):
            self.resume(utc(2026, 4, 5), utc(2026, 4, 4))
