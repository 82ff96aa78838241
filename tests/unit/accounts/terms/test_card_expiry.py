"""When a card ends, and how it stands on a day."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from accounts.terms.card_expiry import find_last_day, judge_expiry


class TestFindLastDay:
    @pytest.mark.parametrize(
        ("month", "year", "last"),
        [
            (2, 2024, date(2024, 2, 29)),
            (2, 2025, date(2025, 2, 28)),
            (12, 2034, date(2034, 12, 31)),
            (4, 2030, date(2030, 4, 30)),
        ],
    )
    def test_is_the_end_of_the_month(self, month: int, year: int, last: date) -> None:
        assert find_last_day({"exp_month": month, "exp_year": year}) == last

    @pytest.mark.parametrize(
        "card",
        [
            {},
            {"exp_month": 1},
            {"exp_month": 13, "exp_year": 2030},
            {"exp_month": 0, "exp_year": 2030},
            {"exp_month": "1", "exp_year": 2030},
            {"exp_month": True, "exp_year": 2030},
            {"exp_month": 1, "exp_year": 30},
            {"exp_month": None, "exp_year": None},
        ],
    )
    def test_is_nothing_for_what_cannot_be(self, card: dict[str, Any]) -> None:
        assert find_last_day(card) is None


class TestJudgeExpiry:
    @pytest.mark.parametrize(
        ("today", "standing"),
        [
            (date(2030, 3, 31), ""),
            (date(2030, 4, 1), "soon"),
            (date(2030, 4, 30), "soon"),  # still good on its last day
            (date(2030, 5, 1), "expired"),
            (date(2029, 4, 15), ""),
        ],
    )
    def test_counts_days(self, today: date, standing: str) -> None:
        # 30 April less 29 days is 1 April.
        assert judge_expiry(date(2030, 4, 30), today=today, notice_days=29) == standing

    def test_without_days_nothing_is_soon(self) -> None:
        assert judge_expiry(date(2030, 4, 30), today=date(2030, 4, 30), notice_days=0) == ""
        assert judge_expiry(date(2030, 4, 30), today=date(2030, 5, 1), notice_days=0) == "expired"

    def test_no_day_is_no_standing(self) -> None:
        assert judge_expiry(None, today=date(2030, 4, 30), notice_days=30) == ""
