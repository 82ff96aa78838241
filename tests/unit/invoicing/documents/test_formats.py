"""How documents write numbers and days."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing_site.kernel.periods import Period
from invoicing.documents.formats import Formats

USD = Formats("en", "usd", "UTC")


class TestMoney:
    @pytest.mark.parametrize(
        ("locale", "currency", "amount", "expected"),
        [
            ("en", "usd", 123456, "$1,234.56"),
            ("en", "usd", -5, "−$0.05"),
            ("en", "jpy", 1500, "¥1,500"),
            ("en", "kwd", 1234567, "1,234.567\u00a0KWD"),
            ("en", "isk", 1500, "1,500\u00a0ISK"),  # no digits here, whatever a processor thinks
            ("de_DE", "eur", 123456, "1.234,56\u00a0€"),
            ("en_IN", "inr", 12345678900, "₹12,34,56,789.00"),
        ],
    )
    def test_has_sign_groups_and_digits(self, locale: str, currency: str, amount: int, expected: str) -> None:
        assert Formats(locale, currency, "UTC").money(amount) == expected

    def test_names_the_currency_once(self) -> None:
        assert USD.money_with_code(1) == "$0.01 USD"
        assert Formats("en", "chf", "UTC").money_with_code(1) == "0.01\u00a0CHF"
        assert Formats("de", "eur", "UTC").money_with_code(1) == "0,01\u00a0€"
        assert Formats("de", "jpy", "UTC").money_with_code(1) == "1\u00a0¥ JPY"


class TestUnitPrice:
    @pytest.mark.parametrize(
        ("minor", "expected"),
        [
            ("9900", "99.00"),
            ("0", "0.00"),
            ("0.5", "0.005"),
            ("12.3456", "0.123456"),
            ("0.00005", "0.50 / 1M"),
            ("0.0125", "125.00 / 1M"),
            ("0.000000000001", "0.00001 / 1B"),
            ("-150", "−1.50"),
        ],
    )
    def test_is_exact_and_short(self, minor: str, expected: str) -> None:
        assert USD.unit_price(Decimal(minor)) == expected

    def test_has_the_digits_of_the_currency(self) -> None:
        assert Formats("en", "jpy", "UTC").unit_price(Decimal("1.5")) == "1.5"
        assert Formats("en", "kwd", "UTC").unit_price(Decimal(1500)) == "1.500"


class TestLinePrice:
    @pytest.mark.parametrize(
        ("minor", "expected"),
        [
            # Agreed: as many digits as it has.
            ("12.3456", "0.123456"),
            ("123456789", "1,234,567.89"),
            ("0.00005", "0.50 / 1M"),
            ("0.000000000001", "0.00001 / 1B"),
            ("0", "0.00"),
            # An average that does not end: six digits.
            ("2211.290322580645", "≈ 22.1129"),
            ("-33.333333333333", "≈ −0.333333"),
            ("0.033333333333", "≈ 333,333.00 / 1B"),
        ],
    )
    def test_is_exact_where_somebody_agreed_on_it(self, minor: str, expected: str) -> None:
        assert USD.line_price(Decimal(minor)) == expected


class TestQuantity:
    @pytest.mark.parametrize(
        ("quantity", "expected"),
        [("22361870", "22,361,870"), ("5.500000000000", "5.5"), ("0.048828125", "0.048828125"), ("1E+3", "1,000")],
    )
    def test_is_exact_without_trailing_zeros(self, quantity: str, expected: str) -> None:
        assert USD.quantity(Decimal(quantity)) == expected


class TestPeriod:
    def test_ends_on_its_last_day(self) -> None:
        period = Period(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
        assert USD.period(period) == "Feb 1, 2026 – Feb 28, 2026"

    def test_of_one_day_is_that_day(self) -> None:
        period = Period(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC))
        assert USD.period(period) == "Feb 1, 2026"

    def test_that_is_empty_is_its_day(self) -> None:
        instant = datetime(2026, 2, 1, 12, tzinfo=UTC)
        assert USD.period(Period(instant, instant)) == "Feb 1, 2026"
