"""What is done and undone on one local day: days are counted once, so money moves once or not at all."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from accounts.terms.changes import ChangePlan, plan_change
from accounts.terms.cycles import Cycle
from accounts.terms.fees import PeriodFee
from accounts.terms.pauses import plan_resume
from billing_site.kernel.periods import Period, local_date, local_midnight
from tests.unit.accounts.terms.calendars import APIA, cycles, days, fee, monthly

fees = st.tuples(st.integers(0, 10**7), st.integers(0, 100))  # minor units, and percent off
parts_of_a_day = st.lists(st.fractions(0, 1).filter(lambda part: part < 1), min_size=2, max_size=2).map(sorted)


def make_fee(cycle: Cycle, terms: tuple[int, int]) -> PeriodFee:
    amount, percent = terms
    return PeriodFee(Decimal(amount), cycle.interval, Decimal(amount) * percent / 100)


def find_moments(cycle: Cycle, period: Period, day: int, parts: list[Fraction]) -> list[datetime]:
    """Return moments of one local day of the period, in order."""
    local = local_date(period.start, cycle.zone) + timedelta(days=day)
    start, end = local_midnight(local, cycle.zone), local_midnight(local + timedelta(days=1), cycle.zone)
    assume(start < end <= period.end)  # Apia never had 30 December 2011
    seconds = (end - start) // timedelta(seconds=1)
    return [start + timedelta(seconds=int(seconds * part)) for part in parts]


def change(cycle: Cycle, period: Period, at: datetime, old: PeriodFee, new: PeriodFee) -> ChangePlan:
    return plan_change(
        at=at,
        cycle=cycle,
        period=period,
        old=old,
        new=new,
        effective="immediate",
        proration_behavior="always_invoice",
    )


def sum_nets(*plans: ChangePlan) -> Fraction:
    return sum((Fraction(part.net) for plan in plans for part in plan.parts), Fraction(0))


class TestChanges:
    @given(
        cycle=cycles, index=st.integers(-5, 30), day=st.integers(0, 400), parts=parts_of_a_day, a=fees, b=fees, c=fees
    )
    def test_two_come_to_the_same_as_one(
        self,
        cycle: Cycle,
        index: int,
        day: int,
        parts: list[Fraction],
        a: tuple[int, int],
        b: tuple[int, int],
        c: tuple[int, int],
    ) -> None:
        period = cycle.period(index)
        morning, evening = find_moments(cycle, period, day % period.count_days(cycle.zone), parts)
        old, between, new = (make_fee(cycle, terms) for terms in (a, b, c))
        steps = (change(cycle, period, morning, old, between), change(cycle, period, evening, between, new))
        assert sum_nets(*steps) == sum_nets(change(cycle, period, evening, old, new))
        # The plan between is charged and given back whole: nothing of it stays, whatever its lines are rounded to.
        charged, given_back = (
            [part for part in step.parts if part.kind == kind]
            for step, kind in zip(steps, ("charge", "credit"), strict=True)
        )
        assert [(part.period, -part.net) for part in charged] == [(part.period, part.net) for part in given_back]

    @given(cycle=cycles, index=st.integers(-5, 30), day=st.integers(0, 400), parts=parts_of_a_day, a=fees, b=fees)
    def test_there_and_back_are_nothing(
        self,
        cycle: Cycle,
        index: int,
        day: int,
        parts: list[Fraction],
        a: tuple[int, int],
        b: tuple[int, int],
    ) -> None:
        period = cycle.period(index)
        morning, evening = find_moments(cycle, period, day % period.count_days(cycle.zone), parts)
        old, new = make_fee(cycle, a), make_fee(cycle, b)
        steps = (change(cycle, period, morning, old, new), change(cycle, period, evening, new, old))
        assert sum_nets(*steps) == 0
        assert steps[1].period == period

    def test_in_the_night_that_apia_skipped_a_day_count_it_for_nobody(self) -> None:
        december = days(date(2011, 12, 1), date(2012, 1, 1), APIA)
        cycle = monthly(date(2011, 12, 1), APIA)
        late = local_midnight(date(2011, 12, 31), APIA) - timedelta(seconds=1)  # the 29th
        plan = change(cycle, december, late, fee(3000), fee(6000))
        # 30 days: the 29th and the 31st are left.
        assert [(part.kind, part.net) for part in plan.parts] == [("credit", Decimal(-200)), ("charge", Decimal(400))]


class TestPauses:
    @given(
        cycle=cycles,
        index=st.integers(-5, 30),
        day=st.integers(0, 400),
        parts=parts_of_a_day,
        terms=fees,
        in_advance=...,
    )
    def test_that_end_on_their_day_are_nothing(
        self, cycle: Cycle, index: int, day: int, parts: list[Fraction], terms: tuple[int, int], in_advance: bool
    ) -> None:
        period = cycle.period(index)
        paused_at, at = find_moments(cycle, period, day % period.count_days(cycle.zone), parts)
        plan = plan_resume(
            paused_at=paused_at,
            at=at,
            cycle=cycle,
            period=period,
            fee=make_fee(cycle, terms),
            bills_in_advance=in_advance,
        )
        assert (plan.parts, plan.period) == ((), period)
        assert not plan.paused.duration
        assert plan.next_billing_at == period.end
