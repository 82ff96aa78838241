"""Fees per period, their price per month, and prorated parts of them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from accounts.terms.fees import prorate_fee, prorate_unused
from billing_site.kernel.periods import Interval, Period
from tests.unit.accounts.terms.calendars import DAY, MONTH, UNDIVIDED, WEEK, YEAR, days, fee, monthly, utc

APRIL = days(date(2026, 4, 1), date(2026, 5, 1))


class TestPerMonth:
    @pytest.mark.parametrize(
        ("interval", "expected"),
        [
            (MONTH, Fraction(36500)),
            (Interval("month", 3), Fraction(36500, 3)),
            (YEAR, Fraction(36500, 12)),
            (Interval("year", 2), Fraction(36500, 24)),
            (DAY, Fraction(36500 * 365, 12)),
            (WEEK, Fraction(36500 * 365, 84)),
        ],
    )
    def test_is_exact_for_every_interval(self, interval: Interval, expected: Fraction) -> None:
        assert fee(36500, interval).per_month == expected

    def test_takes_a_week_for_seven_days(self) -> None:
        assert fee(700, WEEK).per_month == fee(700, Interval("day", 7)).per_month == fee(100, DAY).per_month

    def test_is_before_discounts(self) -> None:
        assert fee(1000, discount=900).per_month == 1000


class TestPeriodFee:
    @pytest.mark.parametrize(("amount", "discount"), [(-1, 0), (100, 101), (100, -1)])
    def test_refuses_a_discount_it_cannot_carry(self, amount: int, discount: int) -> None:
        with pytest.raises(ValueError, match="cannot carry"):
            fee(amount, discount=discount)


class TestProrateFee:
    def test_of_a_credit_takes_back_amount_and_discount(self) -> None:
        part = prorate_fee(
            "credit",
            fee=fee(3000, discount=600),
            part=Period(utc(2026, 4, 21), APRIL.end),
            billed=APRIL,
            cycle=monthly(),
        )
        assert part is not None
        # a third of 3000 and of 600
        assert [part.amount, part.discount, part.net] == [-1000, -200, -800]
        assert part.as_dict() == {
            "kind": "credit",
            "share": {"unit": "day", "numerator": "10", "denominator": "30"},
            "amount": "-1000",
            "discount": "-200",
            "settlement": "negative_line",
        }

    def test_is_nothing_without_time_or_without_a_fee(self) -> None:
        empty = Period(APRIL.end, APRIL.end)
        assert prorate_fee("charge", fee=fee(3000), part=empty, billed=APRIL, cycle=monthly()) is None
        assert prorate_fee("charge", fee=fee(0), part=APRIL, billed=APRIL, cycle=monthly()) is None

    def test_keeps_fractions_of_a_cent(self) -> None:
        part = prorate_fee(
            "charge",
            fee=fee("0.5"),
            part=Period(utc(2026, 4, 28), APRIL.end),
            billed=APRIL,
            cycle=monthly(),
        )
        assert part is not None
        assert part.amount == Decimal("0.05")


class TestProrateUnused:
    def test_of_an_undivided_fee_is_nothing(self) -> None:
        rest = Period(utc(2026, 4, 21), APRIL.end)
        assert prorate_unused(fee=fee(3000, by=UNDIVIDED), part=rest, billed=APRIL, cycle=monthly()) is None
        credit = prorate_unused(fee=fee(3000), part=rest, billed=APRIL, cycle=monthly(), settlement="refund")
        assert credit is not None
        assert credit.net == -1000
        assert credit.settlement == "refund"
