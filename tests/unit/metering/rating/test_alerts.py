"""What is told about, and what is not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.rating.alerts import judge_amount, judge_anomaly, judge_budget

AMOUNTS = st.integers(0, 10**12)
PERCENTS = st.decimals("0.01", "1000", places=2)


class TestJudgeAmount:
    @pytest.mark.parametrize(("cost", "reached"), [(4_999, False), (5_000, True), (5_001, True)])
    def test_reaches_it_from_the_amount_on(self, cost: int, reached: bool) -> None:
        assert judge_amount(cost, threshold=5_000).is_reached is reached


class TestJudgeBudget:
    @pytest.mark.parametrize(
        ("cost", "reached"),
        [
            (7_999, False),
            (8_000, True),  # 80 % of 100.00
        ],
    )
    def test_is_a_share_of_the_month(self, cost: int, reached: bool) -> None:
        found = judge_budget(cost, percent=Decimal(80), budget=10_000, months=1)
        assert (found.threshold, found.is_reached) == (8_000, reached)

    def test_is_a_share_of_as_many_months_as_the_period_has(self) -> None:
        # 50 % of 12 × 100.00
        assert judge_budget(0, percent=Decimal(50), budget=10_000, months=12).threshold == 60_000

    def test_rounds_a_fraction_of_a_cent_up(self) -> None:
        # 33.3 % of 0.10 is 3.33 cents: 3 are below it, 4 are not.
        assert [judge_budget(cost, percent=Decimal("33.3"), budget=10, months=1).is_reached for cost in (3, 4)] == [
            False,
            True,
        ]

    def test_of_nothing_is_passed_by_the_first_cent(self) -> None:
        assert [judge_budget(cost, percent=Decimal(80), budget=0, months=1).is_reached for cost in (0, 1)] == [
            False,
            True,
        ]

    def test_without_a_budget_tells_nothing(self) -> None:
        assert not judge_budget(10**9, percent=Decimal(1), budget=None, months=1).is_reached

    @given(AMOUNTS, PERCENTS, st.integers(1, 10**9), st.integers(1, 24))
    def test_is_exact(self, cost: int, percent: Decimal, budget: int, months: int) -> None:
        exactly = cost > 0 and cost * 100 >= budget * months * percent
        assert judge_budget(cost, percent=percent, budget=budget, months=months).is_reached is exactly


class TestJudgeAnomaly:
    @pytest.mark.parametrize(("today", "reached"), [(200, False), (201, True)])
    def test_is_above_twice_the_mean(self, today: int, reached: bool) -> None:
        # (70 + 100 + 130 + 100 + 100 + 90 + 110) / 7 = 100
        found = judge_anomaly(today, before=[70, 100, 130, 100, 100, 90, 110], percent=Decimal(200))
        assert (found.is_reached, found.details["mean"]) == (reached, 100)

    def test_needs_three_days_of_data(self) -> None:
        assert not judge_anomaly(10_000, before=[100, 100], percent=Decimal(200)).is_reached
        assert judge_anomaly(10_000, before=[100, 100, 100], percent=Decimal(200)).is_reached

    def test_after_days_that_cost_nothing_any_cost_is_unusual(self) -> None:
        assert [judge_anomaly(today, before=[0, 0, 0], percent=Decimal(200)).is_reached for today in (0, 1)] == [
            False,
            True,
        ]

    def test_a_mean_below_nothing_counts_as_nothing(self) -> None:
        # A cheaper tier was reached on the second day: (50 - 200 + 60) / 3 = -30.
        found = judge_anomaly(1, before=[50, -200, 60], percent=Decimal(200))
        assert (found.threshold, found.details["mean"]) == (1, 0)

    def test_looks_back_a_week_and_no_further(self) -> None:
        with pytest.raises(ValueError, match="7 days"):
            judge_anomaly(1, before=[1] * 8, percent=Decimal(200))

    @given(AMOUNTS, st.lists(st.integers(0, 10**9), min_size=3, max_size=7), PERCENTS)
    def test_is_exact(self, today: int, before: list[int], percent: Decimal) -> None:
        exactly = today * 100 * len(before) > sum(before) * percent
        assert judge_anomaly(today, before=before, percent=percent).is_reached is exactly
