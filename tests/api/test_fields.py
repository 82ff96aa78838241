"""Fields of the contract's types: exact in, plain out, no float anywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError
from rest_framework.serializers import Field

from billing_site.api import fields


def refused(field: Field[Any, Any, Any, Any], value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        field.run_validation(value)
    detail: Any = caught.value.detail
    return str(detail[0].code)


class TestMoney:
    @pytest.mark.parametrize(("given_value", "kept"), [(0, 0), (5, 5), ("12", 12), (2**63 - 1, 2**63 - 1)])
    def test_takes_whole_minor_units(self, given_value: Any, kept: int) -> None:
        assert fields.MoneyField().run_validation(given_value) == kept

    @pytest.mark.parametrize(
        "value", [1.0, Decimal("1.5"), Decimal("1.0"), "1.0", "1e3", "", "٣", True, [], {}, "0x10", "1_000"]
    )
    def test_refuses_everything_else(self, value: Any) -> None:
        assert refused(fields.MoneyField(), value) == "invalid"

    def test_limits(self) -> None:
        assert refused(fields.MoneyField(), 2**63) == "out_of_range"
        assert refused(fields.MoneyField(), -1) == "min_value"
        assert refused(fields.MoneyField(positive=True), 0) == "amount_not_positive"
        assert fields.SignedMoneyField().run_validation("-7") == -7


class TestDecimal:
    @pytest.mark.parametrize(
        ("value", "plain"),
        [
            ("0.01", "0.01"),
            (5, "5"),
            (Decimal("1.500"), "1.5"),
            ("1E+3", "1000"),
            ("1e-12", "0.000000000001"),
            ("-0", "0"),
            ("-0.000", "0"),
            (".5", "0.5"),
            ("100", "100"),
            ("0.1000000000000000000000", "0.1"),
            ("9" * 26 + "." + "9" * 12, "9" * 26 + "." + "9" * 12),
        ],
    )
    def test_keeps_the_exact_value_and_writes_it_plainly(self, value: Any, plain: str) -> None:
        field = fields.DecimalStringField()
        assert field.to_representation(field.run_validation(value)) == plain

    @pytest.mark.parametrize(
        "value", [0.5, True, None, "NaN", "Infinity", Decimal("NaN"), "1,5", "abc", "1 2", "٣", [], ""]
    )
    def test_refuses_what_is_no_exact_decimal(self, value: Any) -> None:
        assert refused(fields.DecimalStringField(), value) in ("invalid", "null")

    def test_limits(self) -> None:
        assert refused(fields.DecimalStringField(), "0.0000000000001") == "too_precise"
        assert refused(fields.DecimalStringField(), "1e26") == "out_of_range"
        assert refused(fields.DecimalStringField(), Decimal("1e999999")) == "out_of_range"
        assert refused(fields.DecimalStringField(), Decimal("1e-999999")) == "too_precise"
        assert refused(fields.DecimalStringField(minimum=0), "-0.1") == "min_value"

    @given(st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**25), max_value=10**25))
    def test_round_trip_is_exact(self, value: Decimal) -> None:
        field = fields.DecimalStringField()
        text = field.to_representation(field.run_validation(str(value)))
        assert Decimal(text) == value
        assert "e" not in text.lower()
        assert text == "0" or not text.endswith(".")

    def test_float_on_the_way_out_is_a_bug(self) -> None:
        with pytest.raises(TypeError):
            fields.DecimalStringField().to_representation(0.1)  # type: ignore[arg-type]


class TestCurrency:
    @pytest.mark.parametrize("value", ["usd", "USD", " Usd "])
    def test_any_case_becomes_lower(self, value: str) -> None:
        assert fields.CurrencyField().run_validation(value) == "usd"

    @pytest.mark.parametrize("value", ["xxx", "us", "us$"])
    def test_unknown_is_unsupported(self, value: str) -> None:
        assert refused(fields.CurrencyField(), value) == "currency_unsupported"

    def test_only_configured_ones_are_offered(self, settings: Any) -> None:
        settings.BILLING_CURRENCIES = ["EUR"]
        assert fields.CurrencyField().run_validation("eur") == "eur"
        assert refused(fields.CurrencyField(), "usd") == "currency_unsupported"


class TestTimestamp:
    @pytest.mark.parametrize(
        ("text", "instant"),
        [
            ("2026-03-01T00:00:00Z", datetime(2026, 3, 1, tzinfo=UTC)),
            ("2026-03-01t02:00:00.5+02:00", datetime(2026, 3, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
            ("2026-03-01 00:00:00.123456789Z", datetime(2026, 3, 1, 0, 0, 0, 123_456, tzinfo=UTC)),
            ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ],
    )
    def test_reads_rfc_3339_and_plain_dates(self, text: str, instant: datetime) -> None:
        assert fields.TimestampField().run_validation(text) == instant

    def test_end_bound_of_a_date_is_the_midnight_after(self) -> None:
        assert fields.TimestampField(end=True).run_validation("2026-02-28") == datetime(2026, 3, 1, tzinfo=UTC)
        assert fields.TimestampField(end=True).run_validation("2026-02-28T00:00:00Z").day == 28

    @pytest.mark.parametrize(
        "text",
        [
            "2026-03-01T00:00:00",
            "2026-02-30",
            "2026-13-01",
            "0001-01-01T00:00:00+02:00",
            "9999-12-31",
            "now",
            5,
            "",
            "20260301",
        ],
    )
    def test_refuses_the_rest(self, text: Any) -> None:
        assert refused(fields.TimestampField(end=True), text) == "invalid"

    def test_writes_utc_with_z(self) -> None:
        instant = datetime.fromisoformat("2026-03-01T02:00:00.000001+02:00")
        assert fields.TimestampField().to_representation(instant) == "2026-03-01T00:00:00.000001Z"


class TestMetadata:
    def test_keeps_keys_and_values(self) -> None:
        value = {"someKey": {"other_key": [1, Decimal("0.5"), None, "ü"]}}
        assert fields.MetadataField().run_validation(value) == {"someKey": {"other_key": [1, 0.5, None, "ü"]}}

    @pytest.mark.parametrize("value", [[], "text", 5, {"a": "\x00"}, '{"a": 1}'])
    def test_is_an_object(self, value: Any) -> None:
        assert refused(fields.MetadataField(), value) == "invalid"

    def test_text_of_an_object_where_allowed(self) -> None:
        assert fields.MetadataField(accept_text=True).run_validation('{"a": 1}') == {"a": 1}
        assert refused(fields.MetadataField(accept_text=True), "[1]") == "invalid"

    def test_limits(self) -> None:
        assert refused(fields.MetadataField(), {"a": "x" * 20_000}) == "too_large"
        assert refused(fields.MetadataField(), {"a": Decimal("1e400")}) == "number_out_of_range"
