"""Dimensional prices: which variant prices what."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from catalog.pricing.engine import find_variant, price_usage
from catalog.pricing.usage import EventGroup, Usage, UsageGroup
from tests.unit.catalog.pricing.terms import make_price, tiers

VARIANTS: list[dict[str, Any]] = [
    {"when": {"model": "large"}, "unit_amount": 10},
    {"when": {"region": "eu"}, "unit_amount": 7},
    {"when": {"model": "large", "region": "eu"}, "unit_amount": 20},
    {"when": {"region": "us"}, "unit_amount": 3},
]
PRICE = make_price("per_unit", unit_amount=1, variants=VARIANTS)


def use(**groups: Any) -> Usage:
    """Usage by dimensions: `large_eu=5` is model large in region eu; `_` stands for a missing one."""
    made = []
    for name, quantity in groups.items():
        model, region = name.split("_", 1)
        dimensions = {key: value for key, value in (("model", model), ("region", region)) if value not in ("", "x")}
        made.append(UsageGroup(tuple(sorted(dimensions.items())), Decimal(quantity)))
    return Usage(sum((group.quantity for group in made), Decimal(0)), groups=tuple(made))


class TestFindVariant:
    @pytest.mark.parametrize(
        ("dimensions", "label"),
        [
            ({"model": "large", "region": "eu"}, "model=large, region=eu"),  # the most words win
            ({"model": "large", "region": "us"}, "model=large"),  # among equals the first
            ({"model": "small", "region": "us"}, "region=us"),
            ({"model": "large"}, "model=large"),
            ({"model": "small"}, None),
            ({"model": "Large"}, None),
            ({}, None),
            ({"region": "eu", "tenant": "acme"}, "region=eu"),
        ],
    )
    def test_takes_the_one_that_names_most(self, dimensions: dict[str, str], label: str | None) -> None:
        variant = find_variant(PRICE, dimensions)
        assert (variant.label if variant else None) == label


class TestPriceUsage:
    def test_each_part_has_its_price_and_the_rest_the_prices_own(self) -> None:
        priced = price_usage(PRICE, use(large_eu=1, large_us=2, small_us=4, small_x=8, x_eu=16))
        # 1 x 20 + 2 x 10 + 4 x 3 + 8 x 1 + 16 x 7
        assert priced.amount_decimal == 172
        assert [(step.variant, int(step.amount)) for step in priced.tiers] == [
            ("other", 8),
            ("model=large", 20),
            ("region=eu", 112),
            ("model=large, region=eu", 20),
            ("region=us", 12),
        ]

    def test_without_groups_everything_takes_the_prices_own(self) -> None:
        assert price_usage(PRICE, Usage(Decimal(9))).amount_decimal == 9

    def test_values_of_one_variant_share_its_tiers(self) -> None:
        bands = tiers((10, 10), (None, 1))
        price = make_price("graduated", tiers=tiers((None, 0)), variants=[{"when": {"region": "eu"}, "tiers": bands}])
        # 8 + 8 in eu, whatever the model: 10 x 10 + 6 x 1
        assert price_usage(price, use(large_eu=8, small_eu=8, large_us=99)).amount_decimal == 106

    def test_a_variant_has_its_own_free_units_and_packages(self) -> None:
        variants = [{"when": {"model": "large"}, "unit_amount": 50, "package_size": 10, "free_quantity": 5}]
        price = make_price("package", unit_amount=7, package_size=100, variants=variants)
        # large: 26 - 5 = 21, three packages of 10; small: one package of 100
        assert price_usage(price, use(large_x=26, small_x=1)).amount_decimal == 157

    def test_a_variant_converts_as_the_price_does(self) -> None:
        price = make_price(
            "per_unit",
            unit_amount=1,
            transform_quantity={"divide_by": 1000, "round": "up"},
            variants=[{"when": {"model": "large"}, "unit_amount": 10}],
        )
        assert price_usage(price, use(large_x=1500, small_x=1500)).amount_decimal == 22

    def test_events_are_priced_within_their_variant(self) -> None:
        variants = [{"when": {"model": "large"}, "percent": 10, "free_events": 1}]
        price = make_price("percentage", percent=1, fixed_amount=5, variants=variants)
        large = tuple(EventGroup(Decimal(value)) for value in (100, 200))
        groups = (
            UsageGroup((("model", "large"),), Decimal(300), large),
            UsageGroup((), Decimal(1000), (EventGroup(Decimal(500), 2),)),
        )
        # large: 100 free, 10 % of 200 = 20; the rest: 2 x (5 + 5) = 20
        assert price_usage(price, Usage(Decimal(1300), groups=groups)).amount_decimal == 40
