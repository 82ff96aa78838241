"""Cancellations: unused time forfeited, credited or refunded; the termination day is not charged."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.terms.cancellations import CancellationPlan, UnusedTime, plan_cancellation
from accounts.terms.cycles import Cycle
from accounts.terms.fees import PeriodFee, Settlement
from accounts.terms.proration import ProrationTerms
from billing_site.kernel.periods import Period
from tests.unit.accounts.terms.calendars import BY_DAY, BY_SECOND, UNDIVIDED, cycles, days, fee, monthly, utc

APRIL = days(date(2026, 4, 1), date(2026, 5, 1))
AT = utc(2026, 4, 21, 15)


def cancel(at: datetime = AT, of: PeriodFee | None = None, **options: Any) -> CancellationPlan:
    options = {"cycle": monthly(), "period": APRIL, "at_period_end": False, **options}
    return plan_cancellation(at=at, fee=of or fee(3000), **options)


class TestPlanCancellation:
    def test_at_period_end_leaves_nothing_unused(self) -> None:
        plan = cancel(at_period_end=True, unused="credit")
        assert (plan.ends_at, plan.period, plan.credit, plan.owed) == (APRIL.end, APRIL, None, None)
        assert plan.unused == "credit"

    def test_at_once_forfeits_unless_asked(self) -> None:
        plan = cancel()
        assert (plan.ends_at, plan.unused, plan.credit) == (AT, "forfeit", None)
        assert plan.period == Period(APRIL.start, utc(2026, 4, 21))

    @pytest.mark.parametrize(
        ("unused", "is_paid", "settlement"),
        [
            ("credit", True, "credit_note"),
            ("refund", True, "refund"),
            ("credit", False, "negative_line"),
            ("refund", False, "negative_line"),
        ],
    )
    def test_gives_unused_days_back_the_way_that_was_chosen(
        self, unused: UnusedTime, is_paid: bool, settlement: Settlement
    ) -> None:
        plan = cancel(unused=unused, is_paid=is_paid)
        assert plan.credit is not None
        # The termination day is not charged: 21 to 30 April are 10 of 30 days.
        assert plan.credit.net == -1000
        assert plan.credit.settlement == settlement
        assert plan.credit.period == Period(utc(2026, 4, 21), APRIL.end)
        assert plan.unused == unused

    def test_gives_back_what_was_really_paid(self) -> None:
        plan = cancel(of=fee(3000, discount=1500), unused="credit")
        assert plan.credit is not None
        assert [plan.credit.amount, plan.credit.discount, plan.credit.net] == [-1000, -500, -500]

    @pytest.mark.parametrize(("left", "expected"), [("5000", -1000), ("1000", -1000), ("300", -300), ("0", None)])
    def test_never_gives_back_more_than_is_left_on_the_line(self, left: str, expected: int | None) -> None:
        plan = cancel(unused="credit", left=Decimal(left))
        assert (plan.credit.net if plan.credit else None) == expected

    def test_compares_what_is_left_with_the_discounted_amount(self) -> None:
        plan = cancel(of=fee(3000, discount=1500), unused="credit", left=Decimal(600))
        assert plan.credit is not None
        assert [plan.credit.amount, plan.credit.net] == [-1000, -500]

    def test_per_second_gives_back_the_rest_of_the_day(self) -> None:
        plan = cancel(utc(2026, 4, 30, 12), of=fee(6000, by=BY_SECOND), unused="credit")
        assert plan.credit is not None
        assert plan.credit.net == -100  # 12 of 720 hours

    def test_of_an_undivided_plan_gives_nothing_back(self) -> None:
        assert cancel(of=fee(3000, by=UNDIVIDED), unused="refund").credit is None

    def test_in_a_stub_gives_back_shares_of_the_whole_period(self) -> None:
        plan = cancel(period=days(date(2026, 4, 16), date(2026, 5, 1)), unused="credit")
        assert plan.credit is not None
        assert plan.credit.net == -1000

    def test_in_a_trial_has_no_money(self) -> None:
        for in_advance in (True, False):
            plan = cancel(unused="refund", is_trial=True, bills_in_advance=in_advance)
            assert (plan.credit, plan.owed) == (None, None)

    @pytest.mark.parametrize("unused", ["forfeit", "credit", "refund"])
    def test_in_arrears_owes_the_days_before(self, unused: UnusedTime) -> None:
        plan = cancel(bills_in_advance=False, unused=unused)
        assert plan.owed is not None
        assert plan.owed.net == 2000  # 20 of 30 days
        assert plan.credit is None

    def test_in_arrears_at_period_end_owes_the_whole_fee(self) -> None:
        plan = cancel(bills_in_advance=False, at_period_end=True)
        assert plan.owed is not None
        assert plan.owed.net == 3000

    def test_on_the_first_day_gives_everything_back_and_owes_nothing(self) -> None:
        at = utc(2026, 4, 1, 20)
        plan = cancel(at, unused="credit")
        assert plan.credit is not None
        assert plan.credit.net == -3000
        assert cancel(at, bills_in_advance=False).owed is None

    def test_after_the_period_leaves_nothing(self) -> None:
        assert cancel(utc(2026, 6, 1), unused="credit").credit is None

    def test_refuses_another_choice(self) -> None:
        with pytest.raises(ValueError, match="keep"):
            cancel(unused="keep")

    @given(
        cycle=cycles,
        index=st.integers(-5, 30),
        hours=st.integers(-100, 10_000),
        amount=st.integers(1, 10**8),
        terms=st.sampled_from([BY_DAY, BY_SECOND]),
    )
    def test_charges_used_and_gives_back_unused_time_once(
        self, cycle: Cycle, index: int, hours: int, amount: int, terms: ProrationTerms
    ) -> None:
        period = cycle.period(index)
        at = period.start + timedelta(hours=hours)
        paid = PeriodFee(Decimal(amount), cycle.interval, proration=terms)
        options: dict[str, Any] = {"cycle": cycle, "period": period}
        credit = cancel(at, of=paid, unused="credit", **options).credit
        owed = cancel(at, of=paid, bills_in_advance=False, **options).owed
        shares = [part.share.fraction for part in (credit, owed) if part is not None]
        assert sum(shares) == (1 if period.duration else 0)
