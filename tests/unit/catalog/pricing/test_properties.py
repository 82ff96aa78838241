"""What holds for every price and every usage."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.money import EXACT
from catalog.pricing.engine import price_usage
from catalog.pricing.terms import PricedQuantity, PriceOptions, PriceTerms, Tier
from catalog.pricing.usage import EventGroup, Usage, UsageGroup, merge_events
from tests.unit.catalog.pricing.terms import (
    event_groups,
    make_price,
    price_of,
    prices,
    quantities,
    small_quantities,
    usages,
)

amounts = st.decimals(0, 1000, places=6)
bounds = st.lists(st.decimals("0.5", "1e6", places=1), min_size=1, max_size=5, unique=True).map(sorted)


@st.composite
def banded(draw: st.DrawFn, model: str, *, falling: bool | None = None) -> PriceTerms:
    """A price with tiers; `falling` says whether prices per unit fall or rise, None leaves them as they come."""
    ends = draw(bounds)
    values = draw(st.lists(amounts, min_size=len(ends) + 1, max_size=len(ends) + 1))
    if falling is not None:
        values.sort(reverse=falling)
    rows = [{"up_to": str(end), "unit_amount": str(value)} for end, value in zip(ends, values, strict=False)]
    return make_price(model, tiers=[*rows, {"unit_amount": str(values[-1])}])


def charge(price: PriceTerms, usage: Usage) -> PricedQuantity:
    """Price usage; the quantity of a group counts its events."""
    return price_usage(price, usage)


class TestEveryPrice:
    @given(price=prices(), usage=usages())
    def test_the_breakdown_sums_to_the_amount(self, price: PriceTerms, usage: Usage) -> None:
        priced = charge(price, usage)
        with localcontext(EXACT):
            assert sum((step.amount for step in priced.tiers), Decimal(0)) == priced.amount_decimal

    @given(price=prices(), usage=usages())
    def test_nothing_is_negative_and_bounds_are_kept(self, price: PriceTerms, usage: Usage) -> None:
        priced = charge(price, usage)
        least, most = price.options.minimum_amount, price.options.maximum_amount
        assert priced.amount_decimal >= 0
        assert priced.true_up >= 0
        with localcontext(EXACT):
            total = priced.amount_decimal + priced.true_up
        if least is not None:
            assert total >= least
            assert not priced.true_up or total == least
        else:
            assert not priced.true_up
        if most is not None:
            assert priced.amount_decimal <= most

    @given(price=prices(), usage=usages())
    def test_is_free_only_if_it_can_cost_nothing(self, price: PriceTerms, usage: Usage) -> None:
        priced = charge(price, usage)
        assert not price.is_free or (priced.amount_decimal == 0 and priced.true_up == 0)

    @given(price=prices(), usage=usages())
    def test_traces_read_back_as_written(self, price: PriceTerms, usage: Usage) -> None:
        assert PriceTerms.from_dict(price.as_dict()) == price
        assert PriceOptions.from_dict(price.options.as_dict()) == price.options
        stored = Usage.from_dict(usage.quantity, usage.as_dict())
        assert stored == usage
        assert charge(PriceTerms.from_dict(price.as_dict()), stored) == charge(price, usage)

    @given(price=prices(), usage=usages())
    def test_every_step_reads_back_as_written(self, price: PriceTerms, usage: Usage) -> None:
        for step in charge(price, usage).tiers:
            assert type(step).from_dict(step.as_dict()) == step


class TestMoreUsage:
    @pytest.mark.parametrize(
        "terms",
        [
            {"model": "per_unit", "unit_amount": "0.37", "free_quantity": 11},
            {"model": "package", "unit_amount": 13, "package_size": 7, "free_quantity": "2.5"},
            {"model": "percentage", "percent": "2.9"},
            {"model": "per_unit", "unit_amount": 2, "transform_quantity": {"divide_by": 60, "round": "up"}},
            {"model": "per_unit", "unit_amount": 2, "maximum_amount": 500, "minimum_amount": 20},
        ],
    )
    @given(one=small_quantities, other=small_quantities)
    def test_never_costs_less(self, terms: dict[str, Any], one: Decimal, other: Decimal) -> None:
        price = make_price(**terms)
        low, high = sorted((one, other))
        assert price_of(price, low) <= price_of(price, high)

    @given(price=banded("graduated"), one=small_quantities, other=small_quantities)
    def test_never_costs_less_in_tiers_of_any_price(self, price: PriceTerms, one: Decimal, other: Decimal) -> None:
        low, high = sorted((one, other))
        assert price_of(price, low) <= price_of(price, high)

    @given(ends=bounds, one=small_quantities, other=small_quantities)
    def test_never_costs_less_up_a_stair(self, ends: list[Decimal], one: Decimal, other: Decimal) -> None:
        steps = [{"up_to": str(end), "flat_amount": number} for number, end in enumerate(ends)]
        price = make_price("stairstep", tiers=[*steps, {"flat_amount": len(ends)}])
        low, high = sorted((one, other))
        assert price_of(price, low) <= price_of(price, high)


class TestSplitUsage:
    @given(unit_amount=amounts, one=quantities, other=quantities)
    def test_per_unit_costs_the_same_in_parts(self, unit_amount: Decimal, one: Decimal, other: Decimal) -> None:
        price = make_price("per_unit", unit_amount=str(unit_amount))
        with localcontext(EXACT):
            assert price_of(price, one) + price_of(price, other) == price_of(price, one + other)

    @given(first=st.lists(event_groups, max_size=5), second=st.lists(event_groups, max_size=5))
    def test_events_cost_the_same_in_parts(self, first: list[EventGroup], second: list[EventGroup]) -> None:
        terms: dict[str, Any] = {"percent": "1.5", "fixed_amount": 30, "event_minimum": 50, "event_maximum": 5000}
        for price in (make_price("percentage", **terms), make_price("dynamic")):
            parts = [charge(price, make_usage(part)).amount_decimal for part in (first, second)]
            with localcontext(EXACT):
                assert sum(parts) == charge(price, make_usage([*first, *second])).amount_decimal

    @given(events=st.lists(event_groups, max_size=8))
    def test_equal_events_in_a_row_are_one_group(self, events: list[EventGroup]) -> None:
        price = make_price(
            "percentage", percent=3, fixed_amount=1, free_events=7, free_amount="5000", event_maximum=900
        )
        single = [event._replace(times=1) for event in events for _ in range(event.times)]
        assert merge_events(single) == merge_events(events)
        assert charge(price, make_usage(events)) == charge(price, make_usage(single))

    @given(price=banded("graduated", falling=True), one=small_quantities, other=small_quantities)
    def test_falling_tiers_are_cheapest_in_one_piece(self, price: PriceTerms, one: Decimal, other: Decimal) -> None:
        with localcontext(EXACT):
            assert price_of(price, one) + price_of(price, other) >= price_of(price, one + other)

    @given(one=quantities, other=quantities, size=st.decimals("0.1", 5000, places=1))
    def test_packages_are_cheapest_in_one_piece(self, one: Decimal, other: Decimal, size: Decimal) -> None:
        price = make_price("package", unit_amount=3, package_size=str(size))
        with localcontext(EXACT):
            assert price_of(price, one) + price_of(price, other) >= price_of(price, one + other)

    @given(values=st.dictionaries(st.sampled_from("abcd"), small_quantities), unit_amount=amounts)
    def test_variants_at_the_same_price_change_nothing(self, values: dict[str, Decimal], unit_amount: Decimal) -> None:
        amount = str(unit_amount)
        variants = [{"when": {"model": name}, "unit_amount": amount} for name in "ab"]
        plain = make_price("per_unit", unit_amount=amount)
        divided = make_price("per_unit", unit_amount=amount, variants=variants)
        groups = tuple(UsageGroup((("model", name),), value) for name, value in values.items())
        usage = Usage(sum(values.values(), Decimal(0)), groups=groups)
        assert charge(divided, usage).amount_decimal == charge(plain, usage).amount_decimal


class TestGraduatedAndVolume:
    @given(price=banded("graduated", falling=True), quantity=small_quantities)
    def test_where_prices_fall_volume_is_never_dearer(self, price: PriceTerms, quantity: Decimal) -> None:
        assert price_of(replace(price, model="volume"), quantity) <= price_of(price, quantity)

    @given(price=banded("graduated", falling=False), quantity=small_quantities)
    def test_where_prices_rise_volume_is_never_cheaper(self, price: PriceTerms, quantity: Decimal) -> None:
        assert price_of(replace(price, model="volume"), quantity) >= price_of(price, quantity)

    @given(price=banded("graduated"), quantity=small_quantities)
    def test_within_the_first_tier_they_agree(self, price: PriceTerms, quantity: Decimal) -> None:
        first = price.options.tiers[0].up_to
        inside = quantity if first is None else min(quantity, first)
        assert price_of(replace(price, model="volume"), inside) == price_of(price, inside)

    @given(unit_amount=amounts, flat_amount=amounts, quantity=quantities)
    def test_one_tier_is_a_price_per_unit(self, unit_amount: Decimal, flat_amount: Decimal, quantity: Decimal) -> None:
        options = PriceOptions(tiers=(Tier(None, unit_amount, flat_amount),))
        with localcontext(EXACT):
            expected = quantity * unit_amount + flat_amount
        for model in ("graduated", "volume"):
            assert price_of(replace(make_price(model, tiers=[{}]), options=options), quantity) == expected


class TestConversion:
    @given(quantity=st.integers(0, 10**12), size=st.sampled_from([60, 1000, 3600, 1_073_741_824]))
    def test_of_a_whole_number_of_units_is_the_price_of_those_units(self, quantity: int, size: int) -> None:
        terms: dict[str, Any] = {"tiers": [{"up_to": 10, "unit_amount": 7}, {"unit_amount": 3}]}
        converted = make_price("graduated", **terms, transform_quantity={"divide_by": size, "round": "up"})
        assert price_of(converted, quantity * size) == price_of(make_price("graduated", **terms), quantity)


def make_usage(events: list[EventGroup]) -> Usage:
    with localcontext(EXACT):
        return Usage(sum((event.value * event.times for event in events), Decimal(0)), tuple(events))
