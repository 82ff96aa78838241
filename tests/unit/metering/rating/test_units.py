"""Units and exact conversion."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.rating import UnitNotConvertible, convert_quantity
from metering.rating.units import count_decimals, normalize_unit


class TestConvertQuantity:
    @pytest.mark.parametrize(
        ("quantity", "unit", "target", "expected"),
        [
            ("52428800", "bytes", "GB", "0.048828125"),  # 50 MiB of 1024
            ("1", "byte", "GB", "0.000000000931"),  # 2^-30 = 9.31322…e-10, twelve decimals
            ("3600", "seconds", "CPU-hours", "1"),
            ("1800", "SECONDS", "cpu_hours", "0.5"),
            ("1", "ms", "seconds", "0.001"),
            ("2.5", "hours", "CPU-hours", "2.5"),
            ("107374182400", "byte-hours", "GB-hours", "100"),
            ("7", "count", "requests", "7"),
            ("7", "requests", "request", "7"),
            ("0.000000000001", "tokens", "Tokens", "0.000000000001"),
        ],
    )
    def test_is_exact(self, quantity: str, unit: str, target: str, expected: str) -> None:
        assert convert_quantity(Decimal(quantity), unit=unit, target=target) == Decimal(expected)

    @pytest.mark.parametrize(
        ("unit", "target"),
        [
            ("bytes", "seconds"),
            ("bytes", "GB-hours"),  # the hours are missing
            ("count", "GB"),
            ("tokens", "requests"),
            ("MB", "GB"),  # 1000 or 1024 is anybody's guess
        ],
    )
    def test_refuses_what_does_not_convert(self, unit: str, target: str) -> None:
        with pytest.raises(UnitNotConvertible, match="does not convert"):
            convert_quantity(Decimal(1), unit=unit, target=target)

    @given(st.integers(min_value=0, max_value=10**15))
    def test_loses_no_byte_of_whole_gigabytes(self, gigabytes: int) -> None:
        assert convert_quantity(Decimal(gigabytes * 1024**3), unit="bytes", target="GB") == gigabytes

    @given(st.decimals(min_value=0, max_value=10**20, places=12))
    def test_is_off_by_less_than_the_last_decimal(self, seconds: Decimal) -> None:
        hours = convert_quantity(seconds, unit="seconds", target="CPU-hours")
        with localcontext(prec=60):  # the check must not round what it checks
            assert abs(hours * 3600 - seconds) <= Decimal("0.0000000000005") * 3600


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("GB_Hours", "gb-hour"), (" Queries ", "query"), ("addresses", "addresse"), ("access", "access"), ("S", "second")],
)
def test_units_compare_in_singular_lower_case(unit: str, expected: str) -> None:
    assert normalize_unit(unit) == expected


@pytest.mark.parametrize(("value", "expected"), [("1.50", 1), ("1E+3", 0), ("0", 0), ("1e-12", 12), ("1e-13", 13)])
def test_trailing_zeros_are_no_decimals(value: str, expected: int) -> None:
    assert count_decimals(Decimal(value)) == expected
