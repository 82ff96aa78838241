"""What a fee comes to by the month."""

from __future__ import annotations

from decimal import Decimal

import pytest

from catalog.pricing.monthly import Fee, MonthlyPrice, compute_monthly_price


class TestComputeMonthlyPrice:
    @pytest.mark.parametrize(
        ("fees", "expected"),
        [
            # 29000 a year / 12 = 2416.67
            ([Fee(Decimal(2900), "month"), Fee(Decimal(29000), "year")], MonthlyPrice(2900, 2417, "month", 1)),
            ([Fee(Decimal(19200), "year")], MonthlyPrice(1600, 1600, "year", 1)),
            ([Fee(Decimal(2000), "month")], MonthlyPrice(2000, None, "month", 1)),
            # 2500 a quarter / 3 = 833.33
            ([Fee(Decimal(2500), "month", 3)], MonthlyPrice(833, None, "month", 3)),
            # twelve months are a year; 30 / 12 = 2.5 rounds up
            ([Fee(Decimal(30), "month", 12)], MonthlyPrice(3, 3, "month", 12)),
            ([Fee(Decimal(0), "month")], MonthlyPrice(0, None, "month", 1)),
            ([Fee(Decimal(500), "week")], MonthlyPrice(None, None, None, 1)),
            ([], MonthlyPrice(None, None, None, 1)),
        ],
    )
    def test_shows_shortest_and_yearly(self, fees: list[Fee], expected: MonthlyPrice) -> None:
        assert compute_monthly_price(fees) == expected
