"""Money: rounding once, splitting exactly, never mixing currencies."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.money import (
    CURRENCIES,
    CurrencyMismatch,
    Money,
    UnknownCurrency,
    allocate,
    average_unit_amount,
    format_decimal,
    get_exponent,
    is_known_currency,
    parse_major,
    round_to_minor,
)

amounts = st.integers(min_value=-(10**18), max_value=10**18)
int_weights = st.lists(st.integers(min_value=0, max_value=10**12), min_size=1, max_size=25)
decimal_weights = st.lists(
    st.decimals(min_value=0, max_value=10**12, places=12, allow_nan=False, allow_infinity=False),
    min_size=1,
    max_size=25,
)
currencies = st.sampled_from(sorted(CURRENCIES))


class TestGetExponent:
    @pytest.mark.parametrize(
        ("currency", "exponent"),
        [
            ("usd", 2),
            ("eur", 2),
            ("jpy", 0),
            ("isk", 0),
            ("ugx", 0),
            ("krw", 0),
            ("kwd", 3),
            ("bhd", 3),
            ("clf", 4),
            ("mga", 2),
        ],
    )
    def test_is_that_of_iso_4217(self, currency: str, exponent: int) -> None:
        assert get_exponent(currency) == exponent

    @pytest.mark.parametrize("code", ["", "USD", "xxx", "us", "bitcoin", "xau", "xts"])
    def test_refuses_anything_else(self, code: str) -> None:
        with pytest.raises(UnknownCurrency):
            get_exponent(code)
        assert not is_known_currency(code)

    @given(currencies)
    def test_knows_every_listed_currency(self, code: str) -> None:
        assert is_known_currency(code)
        assert 0 <= get_exponent(code) <= 4
        assert code == code.lower()
        assert len(code) == 3


class TestRoundToMinor:
    @pytest.mark.parametrize(
        ("exact", "half_up", "half_even"),
        [
            ("0.5", 1, 0),
            ("1.5", 2, 2),
            ("2.5", 3, 2),
            ("-0.5", -1, 0),
            ("-1.5", -2, -2),
            ("-2.5", -3, -2),
            ("0.4999999999999999999999999", 0, 0),
            ("2.5000000000000000000000001", 3, 3),
            ("-2.4999999999999999999999999", -2, -2),
            ("499.75", 500, 500),  # 25 % of 19.99 in cents is 499.75
            ("0", 0, 0),
            ("-0", 0, 0),
            ("7", 7, 7),
        ],
    )
    def test_rounds_ties_as_the_mode_says(self, exact: str, half_up: int, half_even: int) -> None:
        assert round_to_minor(Decimal(exact)) == half_up
        assert round_to_minor(Decimal(exact), mode="half_even") == half_even

    @pytest.mark.parametrize("wrong", [1, 1.5, "1.5", None])
    def test_takes_nothing_but_a_decimal(self, wrong: object) -> None:
        with pytest.raises(TypeError):
            round_to_minor(wrong)  # type: ignore[arg-type]

    @pytest.mark.parametrize("wrong", ["NaN", "Infinity", "-Infinity"])
    def test_refuses_what_is_no_number(self, wrong: str) -> None:
        with pytest.raises(ValueError, match="not an amount"):
            round_to_minor(Decimal(wrong))

    def test_keeps_the_digits_of_a_large_product(self) -> None:
        # 26 integer digits and 12 decimals: the largest numeric(38,12); squared it is still exact
        largest = Decimal("9" * 26 + "." + "9" * 12)
        with_context = Decimal("99999999999999999999999999.999999999999")
        assert largest == with_context
        assert round_to_minor(largest) == 10**26

    @given(st.decimals(min_value=-(10**25), max_value=10**25, places=12, allow_nan=False))
    def test_is_never_more_than_half_a_unit_off(self, exact: Decimal) -> None:
        for rounded in (round_to_minor(exact), round_to_minor(exact, mode="half_even")):
            assert abs(Fraction(rounded) - Fraction(exact)) <= Fraction(1, 2)

    @given(st.integers(min_value=-(10**15), max_value=10**15))
    def test_moves_ties_away_from_zero(self, whole: int) -> None:
        tie = Decimal(whole) + (Decimal("0.5") if whole >= 0 else Decimal("-0.5"))
        assert round_to_minor(tie) == (whole + 1 if whole >= 0 else whole - 1)
        assert round_to_minor(tie, mode="half_even") % 2 == 0

    @given(st.decimals(min_value=-(10**12), max_value=10**12, places=6, allow_nan=False))
    def test_agrees_with_the_decimal_module(self, exact: Decimal) -> None:
        assert round_to_minor(exact) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))
        assert round_to_minor(exact, mode="half_even") == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))


class TestAllocate:
    @pytest.mark.parametrize(
        ("amount", "weights", "parts"),
        [
            (100, [1, 1, 1], [34, 33, 33]),
            (101, [1, 1, 1], [34, 34, 33]),
            (-100, [1, 1, 1], [-34, -33, -33]),
            (10, [50, 20], [7, 3]),  # 10 * 5/7 = 7.14, 10 * 2/7 = 2.86
            (1000, [5000, 2000], [714, 286]),
            (1, [0, 0, 1], [0, 0, 1]),
            (1, [1, 2], [0, 1]),
            (5, [0, 0], [5, 0]),
            (0, [3, 4], [0, 0]),
            (7, [Decimal("0.1"), Decimal("0.2")], [2, 5]),  # 2.33 and 4.67
            (1, [Decimal("0.000000000001"), Decimal("0.000000000001")], [1, 0]),
        ],
    )
    def test_gives_the_rest_to_the_largest_remainder_and_ties_to_the_first(
        self, amount: int, weights: list[Decimal | int], parts: list[int]
    ) -> None:
        assert allocate(amount, weights) == parts

    def test_equal_fractions_that_no_decimal_can_hold_are_ties(self) -> None:
        # 1 1/3, 1/3 and 1/3: all remainders are one third, so the first takes the unit
        assert allocate(2, [4, 1, 1]) == [2, 0, 0]
        assert allocate(4, [2, 2, 2]) == [2, 1, 1]

    def test_keeps_every_digit_of_long_weights(self) -> None:
        # 30 digits each, more than the default precision of decimal: equal but for the last digit
        weights = [Decimal("100000000000000000.000000000001"), Decimal("100000000000000000.000000000002")]
        assert allocate(1, weights) == [0, 1]
        assert allocate(10**18, [*weights, Decimal("0.000000000003")])[2] == 0

    @given(amounts, int_weights)
    def test_sums_to_the_whole(self, amount: int, weights: list[int]) -> None:
        assert sum(allocate(amount, weights)) == amount

    @given(amounts, decimal_weights)
    def test_sums_to_the_whole_with_decimal_weights(self, amount: int, weights: list[Decimal]) -> None:
        assert sum(allocate(amount, weights)) == amount

    @given(amounts, int_weights)
    def test_is_never_a_whole_unit_off(self, amount: int, weights: list[int]) -> None:
        total = sum(weights)
        if total:
            for part, weight in zip(allocate(amount, weights), weights, strict=True):
                assert abs(Fraction(part) - Fraction(amount * weight, total)) < 1

    @given(amounts, int_weights)
    def test_gives_nothing_to_weight_zero_beside_others(self, amount: int, weights: list[int]) -> None:
        if any(weights):
            parts = allocate(amount, weights)
            assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if weight == 0)

    @given(amounts, int_weights)
    def test_a_refund_mirrors_the_charge(self, amount: int, weights: list[int]) -> None:
        assert allocate(-amount, weights) == [-part for part in allocate(amount, weights)]

    @given(amounts, int_weights, st.integers(min_value=1, max_value=10**6))
    def test_only_the_proportion_of_weights_counts(self, amount: int, weights: list[int], factor: int) -> None:
        assert allocate(amount, weights) == allocate(amount, [weight * factor for weight in weights])

    @given(amounts, st.integers(min_value=1, max_value=40))
    def test_equal_weights_differ_by_one_unit_and_favour_the_first(self, amount: int, count: int) -> None:
        parts = [abs(part) for part in allocate(amount, [1] * count)]
        assert max(parts) - min(parts) <= 1
        assert parts == sorted(parts, reverse=True)

    @pytest.mark.parametrize(
        ("weights", "error"),
        [
            ([], ValueError),
            ([1, -1], ValueError),
            ([Decimal("-0.01")], ValueError),
            ([0.5, 0.5], TypeError),
            ([Decimal("NaN")], ValueError),
            ([Decimal("Infinity"), 1], ValueError),
        ],
    )
    def test_refuses_what_cannot_be_split_by(self, weights: list[Decimal | int], error: type[Exception]) -> None:
        with pytest.raises(error):
            allocate(100, weights)


class TestFormatAndParse:
    @pytest.mark.parametrize(
        ("amount", "currency", "text"),
        [
            (1050, "usd", "10.50"),
            (5, "usd", "0.05"),
            (-5, "usd", "-0.05"),
            (0, "usd", "0.00"),
            (1050, "jpy", "1050"),
            (1050, "kwd", "1.050"),
            (1050, "clf", "0.1050"),
            (10**17, "usd", "1000000000000000.00"),
            (10**30 + 1, "usd", "10000000000000000000000000000.01"),
            (10**32, "jpy", "100000000000000000000000000000000"),
        ],
    )
    def test_writes_major_units(self, amount: int, currency: str, text: str) -> None:
        assert format_decimal(amount, currency) == text

    @pytest.mark.parametrize(
        ("text", "currency", "amount"),
        [
            ("10.50", "usd", 1050),
            ("10.5", "usd", 1050),
            ("-1", "eur", -100),
            ("-0.05", "usd", -5),
            ("+3.10", "usd", 310),
            ("007.00", "jpy", 7),
            ("1050", "jpy", 1050),
            ("1.050", "kwd", 1050),
            ("1.500", "usd", 150),
        ],
    )
    def test_reads_major_units(self, text: str, currency: str, amount: int) -> None:
        assert parse_major(text, currency) == amount

    @pytest.mark.parametrize(
        ("text", "currency"),
        [
            ("10.505", "usd"),
            ("1.5", "jpy"),
            ("", "usd"),
            ("ten", "usd"),
            ("NaN", "usd"),
            ("Infinity", "usd"),
            ("1e999999999", "usd"),
            ("1e2", "usd"),
            ("1_000", "usd"),
            (" 10", "usd"),
            ("10.", "usd"),
            ("١٠", "usd"),
        ],
    )
    def test_refuses_what_is_no_amount(self, text: str, currency: str) -> None:
        with pytest.raises(ValueError, match="is not an amount"):
            parse_major(text, currency)

    @given(amounts, currencies)
    def test_reading_undoes_writing(self, amount: int, currency: str) -> None:
        assert parse_major(format_decimal(amount, currency), currency) == amount


class TestMoney:
    def test_adds_subtracts_negates_and_compares_in_one_currency(self) -> None:
        ten, three = Money(1000, "usd"), Money(300, "usd")
        assert ten + three == Money(1300, "usd")
        assert three - ten == Money(-700, "usd")
        assert -ten == Money(-1000, "usd")
        assert three < ten
        assert three <= Money(300, "usd")
        assert max(ten, three) == ten
        assert str(ten) == "10.00 USD"

    def test_refuses_two_currencies(self) -> None:
        dollars, euros = Money(1, "usd"), Money(1, "eur")
        for operation in (Money.__add__, Money.__sub__, Money.__lt__, Money.__le__):
            with pytest.raises(CurrencyMismatch):
                operation(dollars, euros)
        assert dollars != euros

    @pytest.mark.parametrize("amount", [1.0, Decimal(1), "1", True, None])
    def test_takes_nothing_but_whole_minor_units(self, amount: object) -> None:
        with pytest.raises(TypeError):
            Money(amount, "usd")  # type: ignore[arg-type]

    def test_refuses_an_unknown_currency(self) -> None:
        with pytest.raises(UnknownCurrency):
            Money(1, "xxx")

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            Money(1, "usd").amount = 2  # type: ignore[misc]

    def test_splits_into_money(self) -> None:
        assert Money(100, "usd").allocate([1, 2]) == [Money(33, "usd"), Money(67, "usd")]


class TestAverageUnitAmount:
    def test_has_twelve_decimals(self) -> None:
        assert average_unit_amount(Decimal(2), Decimal(3)) == Decimal("0.666666666667")
        assert average_unit_amount(Decimal(-1), Decimal(3)) == Decimal("-0.333333333333")

    def test_without_a_quantity_is_zero_and_of_one_the_amount_itself(self) -> None:
        assert average_unit_amount(Decimal(5), Decimal(0)) == 0
        assert str(average_unit_amount(Decimal("1.5"))) == "1.500000000000"

    def test_stays_exact_beyond_the_digits_of_the_usual_context(self) -> None:
        amount = Decimal("12345678901234567890123456789012345.5")
        assert average_unit_amount(amount, Decimal(2)) == Decimal("6172839450617283945061728394506172.75")
