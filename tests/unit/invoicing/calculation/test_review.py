"""The check before issue: which totals a person looks at first."""

from __future__ import annotations

from decimal import Decimal
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.calculation.review import ReviewRules, check_total, compute_median

TOTALS = st.integers(-10_000, 10_000_000)


def why(total: int, history: list[int], rules: ReviewRules | None = None) -> str | None:
    found = check_total(total, currency="eur", history=history, rules=rules or ReviewRules())
    return None if found is None else found.reason


@pytest.mark.parametrize(
    ("total", "history", "reason"),
    [
        (5000, [1000, 1000, 1000], None),
        (5001, [1000, 1000, 1000], "far_from_history"),
        (5001, [1000, 1000], None),
        (90_000, [], None),
        # of six the two in the middle count: (1000 + 1001) / 2 = 1000.5, five times that is 5002.5
        (5002, [1, 2, 1000, 1001, 9000, 9000], None),
        (5003, [1, 2, 1000, 1001, 9000, 9000], "far_from_history"),
        # only the newest six count
        (5001, [1000] * 6 + [90_000] * 9, "far_from_history"),
        (1, [0, 0, 0], "far_from_history"),
        (0, [-100, -100, -100], None),
        (1, [-100, -100, -100], "far_from_history"),
        (-1, [], "negative"),
    ],
)
def test_says_why(total: int, history: list[int], reason: str | None) -> None:
    assert why(total, history) == reason


def test_follows_the_rules() -> None:
    assert why(-1, [], ReviewRules(negative=False)) is None
    assert why(9000, [1000] * 3, ReviewRules(factor=None)) is None
    assert why(1001, [], ReviewRules(limits={"eur": 1000})) == "above_amount"
    assert why(1000, [], ReviewRules(limits={"eur": 1000})) is None
    assert why(1001, [], ReviewRules(limits={"usd": 1000})) is None


@given(st.lists(TOTALS, min_size=1, max_size=12))
def test_the_median_is_exact(totals: list[int]) -> None:
    assert compute_median(totals) == Decimal(str(median(map(Decimal, totals))))


@given(TOTALS, st.lists(TOTALS, max_size=9))
def test_more_is_never_held_less(total: int, history: list[int]) -> None:
    if why(total, history) == "far_from_history":
        assert why(total + 1, history) == "far_from_history"
