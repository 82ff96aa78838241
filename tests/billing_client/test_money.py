"""Money and numbers as people read them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing_client.money import format_money, format_number, format_unit_price, get_exponent, parse_major
from billing_site.kernel import money as kernel
from invoicing.documents.formats import Formats


class TestExponents:
    def test_are_those_of_the_server(self) -> None:
        assert {code: get_exponent(code) for code in kernel.CURRENCIES} == {
            code: kernel.get_exponent(code) for code in kernel.CURRENCIES
        }


class TestFormatMoney:
    @pytest.mark.parametrize(
        ("amount", "currency", "expected"),
        [
            (1731, "usd", "$17.31"),
            (-5, "usd", "-$0.05"),
            (123456789, "eur", "€1,234,567.89"),
            (1500, "jpy", "¥1,500"),
            (1250, "kwd", "1.250 KWD"),
            (1, "CHF", "0.01 CHF"),
        ],
    )
    def test_has_sign_and_digits(self, amount: int, currency: str, expected: str) -> None:
        assert format_money(amount, currency) == expected


class TestFormatNumber:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("999", "999"),
            ("1000", "1000"),
            ("1001", "1.0K"),
            ("22361870", "22.4M"),
            ("999999", "1.0M"),
            ("1500000000", "1.5B"),
            ("0.048828125", "0.048828125"),
            ("5.50", "5.5"),
            ("-2500", "-2.5K"),
            ("1E+2", "100"),
        ],
    )
    def test_is_short_from_a_thousand_up(self, value: str, expected: str) -> None:
        assert format_number(Decimal(value)) == expected


class TestFormatUnitPrice:
    @pytest.mark.parametrize(
        ("minor", "currency", "expected"),
        [
            ("9900", "usd", "$99.00"),
            ("0", "usd", "$0.00"),
            ("0.5", "usd", "$0.005"),
            ("0.00005", "usd", "$0.50 / 1M"),
            ("0.000000000001", "usd", "$0.00001 / 1B"),
            ("-150", "chf", "-1.50 CHF"),
            ("1.5", "jpy", "¥1.5"),
        ],
    )
    def test_is_exact_and_short(self, minor: str, currency: str, expected: str) -> None:
        assert format_unit_price(Decimal(minor), currency) == expected

    @pytest.mark.parametrize("minor", ["1", "0.00005", "0.0125", "0.003", "12.3456", "0.000000000001", "99.5"])
    def test_reads_as_on_the_invoice(self, minor: str) -> None:
        printed = Formats("en", "usd", "UTC").unit_price(Decimal(minor))
        assert format_unit_price(Decimal(minor), "usd") == f"${printed}"


class TestParseMajor:
    @pytest.mark.parametrize(
        ("text", "currency", "minor"), [("25.00", "usd", 2500), ("25", "usd", 2500), ("1500", "jpy", 1500)]
    )
    def test_returns_minor_units(self, text: str, currency: str, minor: int) -> None:
        assert parse_major(text, currency) == minor

    @pytest.mark.parametrize(("text", "currency"), [("1.001", "usd"), ("0.5", "jpy"), ("x", "usd"), ("NaN", "usd")])
    def test_refuses_what_is_no_amount(self, text: str, currency: str) -> None:
        with pytest.raises(ValueError, match=r"is not an amount|more digits"):
            parse_major(text, currency)
