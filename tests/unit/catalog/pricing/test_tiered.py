"""Tiers: graduated, volume, stairstep, graduated percentages; their bounds, flat amounts and zero usage."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from catalog.pricing.engine import price_quantity
from catalog.pricing.tiered import find_tier
from tests.unit.catalog.pricing.terms import make_price, price_of, show, tiers

BANDS = tiers((1000, "1"), (10_000, "0.8"), (None, "0.5"))


class TestGraduated:
    @pytest.mark.parametrize(
        ("quantity", "amount"),
        [
            ("0", "0"),
            ("1", "1"),
            ("1000", "1000"),  # the bound is inclusive
            ("1000.000000000001", "1000.0000000000008"),
            ("1001", "1000.8"),
            ("10000", "8200"),  # 1,000 x 1 + 9,000 x 0.8
            ("10001", "8200.5"),
            ("15000", "10700"),  # and 5,000 x 0.5
        ],
    )
    def test_prices_each_part_in_its_tier(self, quantity: str, amount: str) -> None:
        assert price_of(make_price("graduated", tiers=BANDS), quantity) == Decimal(amount)

    def test_bounds_are_cumulative(self) -> None:
        # The contract's example: (100, 10), (500, 5), (-, 2); 600 = 100 x 10 + 400 x 5 + 100 x 2 = 3,200
        price = make_price("graduated", tiers=tiers((100, 10), (500, 5), (None, 2)))
        assert price_of(price, 600) == 3200

    def test_a_flat_amount_is_added_once_for_every_tier_entered(self) -> None:
        price = make_price("graduated", tiers=tiers((10, 1, 100), (20, 1, 50), (None, 1, 25)))
        for quantity, amount in ((5, 105), (10, 110), (11, 161), (20, 170), (21, 196)):
            assert price_of(price, quantity) == amount

    def test_a_quantity_between_two_bounds_is_in_the_upper_tier(self) -> None:
        price = make_price("graduated", tiers=tiers((5, 2), (10, 1, 7), (None, 0)))
        assert price_of(price, "5.5") == Decimal("17.5")  # 5 x 2 + 0.5 x 1 + 7

    def test_says_how_it_came_about(self) -> None:
        priced = price_quantity(make_price("graduated", tiers=BANDS), Decimal(1500))
        assert [step.as_dict() for step in priced.tiers] == [
            {"up_to": "1000", "quantity": "1000", "unit_amount": "1", "flat_amount": "0", "amount": "1000"},
            {"up_to": "10000", "quantity": "500", "unit_amount": "0.8", "flat_amount": "0", "amount": "400"},
        ]

    def test_fractional_bounds_are_exact(self) -> None:
        price = make_price("graduated", tiers=tiers(("0.1", "1"), ("0.3", "2"), (None, "3")))
        assert price_of(price, "0.4") == Decimal("0.8")  # 0.1 x 1 + 0.2 x 2 + 0.1 x 3


class TestVolume:
    @pytest.mark.parametrize(
        ("quantity", "amount"),
        [
            ("0", "10"),
            ("10000", "1010"),
            ("10000.5", "810.04"),
            ("50000", "4010"),
            ("65000", "3910"),
            ("100001", "4010.04"),
        ],
    )
    def test_one_tier_prices_everything(self, quantity: str, amount: str) -> None:
        rows = ((10_000, "0.10", 10), (50_000, "0.08", 10), (100_000, "0.06", 10), (None, "0.04", 10))
        assert price_of(make_price("volume", tiers=tiers(*rows)), quantity) == Decimal(amount)

    def test_the_contracts_example(self) -> None:
        # (100, 10), (500, 5), (-, 2); 600 x 2 = 1,200
        assert price_of(make_price("volume", tiers=tiers((100, 10), (500, 5), (None, 2))), 600) == 1200

    def test_seats(self) -> None:
        seats = tiers((10, 1000), (None, 800))
        assert price_of(make_price("volume", meter=None, tiers=seats), 14) == 11_200  # 14 x 8.00
        assert price_of(make_price("graduated", meter=None, tiers=seats), 14) == 13_200  # 10 x 10.00 + 4 x 8.00


class TestStairstep:
    STEPS = tiers((5, 500), (10, 900), (None, 2000), keys=("flat_amount",))

    @pytest.mark.parametrize(
        ("quantity", "amount"), [("0", 500), ("0.1", 500), ("5", 500), ("5.5", 900), ("10", 900), ("10.01", 2000)]
    )
    def test_one_amount_for_the_tier_that_holds_the_quantity(self, quantity: str, amount: int) -> None:
        assert price_of(make_price("stairstep", tiers=self.STEPS), quantity) == amount


class TestGraduatedPercentage:
    def test_takes_its_share_of_the_money_in_each_tier(self) -> None:
        rows = tiers((100_000, "2.9", 30), (1_000_000, "2.5"), (None, "1.5"), keys=("percent", "flat_amount"))
        price = make_price("graduated_percentage", tiers=rows)
        # 100,000 x 2.9 % + 30 = 2,930; 900,000 x 2.5 % = 22,500; 500,000 x 1.5 % = 7,500
        assert price_of(price, 1_500_000) == 32_930
        assert show(price_quantity(price, Decimal(150_000))) == [
            ("percentage", "100000", "2930"),
            ("percentage", "50000", "1250"),
        ]


class TestZeroUsage:
    @pytest.mark.parametrize("model", ["graduated", "volume", "stairstep", "graduated_percentage"])
    @pytest.mark.parametrize(
        ("said", "amount"), [({}, 700), ({"bill_zero_usage": True}, 700), ({"bill_zero_usage": False}, 0)]
    )
    def test_the_first_flat_amount_is_owed_unless_the_price_says_no(
        self, model: str, said: dict[str, Any], amount: int
    ) -> None:
        price = make_price(model, tiers=tiers((10, 700), (None, 900), keys=("flat_amount",)), **said)
        assert price_of(price, 0) == amount
        assert price_of(price, "0.000000000001") == 700

    def test_no_flat_amount_is_nothing_either_way(self) -> None:
        assert price_of(make_price("graduated", tiers=BANDS), 0) == 0


class TestFindTier:
    def test_refuses_what_no_tier_reaches(self) -> None:
        options = make_price("volume", tiers=BANDS).options
        with pytest.raises(ValueError, match="no tier reaches"):
            find_tier(options.tiers[:2], Decimal("10000.1"))
