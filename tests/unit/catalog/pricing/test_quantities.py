"""Packages, free units, unit conversion, and the bounds of an interval."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing_site.kernel.money import round_to_minor
from catalog.pricing.engine import price_quantity
from tests.unit.catalog.pricing.terms import make_price, price_of, show, tiers


class TestPackage:
    @pytest.mark.parametrize(
        ("quantity", "amount"), [("0", 0), ("0.001", 500), ("1", 500), ("100", 500), ("100.5", 1000), ("201", 1500)]
    )
    def test_a_started_package_is_a_whole_one(self, quantity: str, amount: int) -> None:
        assert price_of(make_price("package", unit_amount=500, package_size=100), quantity) == amount

    def test_free_units_come_first(self) -> None:
        price = make_price("package", unit_amount=500, package_size=100, free_quantity=100)
        # 201 - 100 = 101: two packages
        assert price_of(price, 201) == 1000
        assert price_of(price, 200) == 500
        assert price_of(price, 100) == 0

    def test_packages_may_be_fractions(self) -> None:
        price = make_price("package", unit_amount=3, package_size="0.25")
        assert price_of(price, "0.75") == 9
        assert price_of(price, "0.76") == 12


class TestFreeQuantity:
    @pytest.mark.parametrize(
        ("model", "terms", "amount"),
        [
            ("per_unit", {"unit_amount": 2}, 10),
            ("graduated", {"tiers": tiers((3, 10), (None, 1))}, 32),  # 3 x 10 + 2 x 1
            ("volume", {"tiers": tiers((3, 10), (None, 1))}, 5),
            ("stairstep", {"tiers": tiers((3, 10), (None, 90), keys=("flat_amount",))}, 90),
            ("graduated_percentage", {"tiers": tiers((None, 50), keys=("percent",))}, Decimal("2.5")),
        ],
    )
    def test_is_taken_off_before_the_model(self, model: str, terms: dict[str, Any], amount: Decimal) -> None:
        priced = price_quantity(make_price(model, free_quantity="95", **terms), Decimal(100))
        assert priced.amount_decimal == amount
        assert show(priced)[0] == ("free", "95", "0")

    def test_more_than_is_used_leaves_nothing(self) -> None:
        priced = price_quantity(make_price("per_unit", unit_amount=2, free_quantity=10), Decimal(4))
        assert priced.amount_decimal == 0
        assert show(priced)[0] == ("free", "4", "0")


class TestTransformQuantity:
    @pytest.mark.parametrize(
        ("round_", "quantity", "amount"),
        [
            ("none", "1500", "3"),
            ("up", "1001", "4"),
            ("up", "1000", "2"),
            ("up", "0", "0"),
            ("down", "1999", "2"),
            ("down", "999", "0"),
        ],
    )
    def test_converts_the_whole_quantity_once(self, round_: str, quantity: str, amount: str) -> None:
        price = make_price("per_unit", unit_amount=2, transform_quantity={"divide_by": 1000, "round": round_})
        assert price_of(price, quantity) == Decimal(amount)

    def test_free_units_and_tiers_count_converted_units(self) -> None:
        price = make_price(
            "graduated",
            tiers=tiers((2, 10), (None, 1)),
            free_quantity=1,
            transform_quantity={"divide_by": "1073741824", "round": "none"},
        )
        # 5 GB in bytes: 5 - 1 free = 4; 2 x 10 + 2 x 1 = 22
        assert price_of(price, 5 * 1_073_741_824) == 22

    def test_what_does_not_divide_keeps_its_digits(self) -> None:
        price = make_price("per_unit", unit_amount=3, transform_quantity={"divide_by": 3})
        assert round_to_minor(price_of(price, 1)) == 1
        assert abs(price_of(price, 1) - 1) < Decimal("1e-60")


class TestBounds:
    @pytest.mark.parametrize(("used", "true_up"), [(80_000, 20_000), (130_000, 0), (100_000, 0), (0, 100_000)])
    def test_a_minimum_asks_for_what_is_missing_as_its_own_charge(self, used: int, true_up: int) -> None:
        priced = price_quantity(make_price("per_unit", unit_amount=1, minimum_amount=100_000), Decimal(used))
        assert priced.amount_decimal == used
        assert priced.true_up == true_up
        assert sum(step.amount for step in priced.tiers) == used

    def test_a_maximum_caps_and_says_so(self) -> None:
        priced = price_quantity(make_price("per_unit", unit_amount=2, maximum_amount="5000.5"), Decimal(3000))
        assert priced.amount_decimal == Decimal("5000.5")
        assert show(priced) == [("tier", "3000", "6000"), ("maximum", "0", "-999.5")]

    def test_within_both_nothing_changes(self) -> None:
        price = make_price("per_unit", unit_amount=2, minimum_amount=10, maximum_amount=1000)
        priced = price_quantity(price, Decimal(50))
        assert priced.amount_decimal == 100
        assert priced.true_up == 0
        assert show(priced) == [("tier", "50", "100")]

    def test_bounds_hold_for_all_variants_together(self) -> None:
        variants = [{"when": {"model": "large"}, "unit_amount": 9}]
        price = make_price("per_unit", unit_amount=1, maximum_amount=100, minimum_amount=50, variants=variants)
        assert price_of(price, 200) == 100
        assert price_quantity(price, Decimal(10)).true_up == 40
