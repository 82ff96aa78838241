"""Events on their way into a price: kept in order while it matters, counted when it does not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing.engine import price_usage
from catalog.pricing.terms import PriceOptions, PriceTerms
from catalog.pricing.usage import EventGroup, Usage
from metering.rating.events import EventCollector, EventPriceInvalid, parse_unit_amount

EUROPE, AMERICA = {"region": "eu"}, {"region": "us"}


def make_price(model: str = "percentage", **options: Any) -> PriceTerms:
    return PriceTerms(
        price_id="price_1",
        model=model,
        currency="usd",
        unit_amount=Decimal(0),
        meter="payments",
        unit="cents",
        interval="month",
        interval_count=1,
        billing_timing="arrears",
        lookup_key="pay:usd:month:payments",
        options=PriceOptions.from_dict(options),
    )


def collect(price: PriceTerms, *values: str, dimensions: dict[str, str] | None = None) -> Usage:
    collector = EventCollector(price)
    for value in values:
        collector.add(Decimal(value), None, dimensions or {})
    return collector.collect()


def show_events(usage: Usage) -> list[tuple[int, int]]:
    return [(int(event.value), event.times) for event in usage.events]


class TestCollecting:
    def test_counts_equal_events_where_order_does_not_matter(self) -> None:
        usage = collect(make_price(percent="1", fixed_amount="5"), "30", "10", "30", "10", "30")
        assert usage.quantity == 110
        assert usage.events == (EventGroup(Decimal(10), 2), EventGroup(Decimal(30), 3))

    def test_keeps_the_order_while_free_events_last(self) -> None:
        usage = collect(make_price(percent="1", free_events=3), "30", "10", "30", "10", "30")
        assert show_events(usage) == [(30, 1), (10, 1), (30, 1), (10, 1), (30, 1)]

    def test_keeps_the_order_while_a_free_amount_lasts(self) -> None:
        usage = collect(make_price(percent="1", free_amount="35"), "30", "10", "30", "10", "30")
        # 30, and 5 of the 10: from then on they are counted
        assert show_events(usage) == [(30, 1), (10, 1), (10, 1), (30, 2)]

    def test_gives_each_variant_its_own_events_and_allowance(self) -> None:
        price = make_price(
            percent="1", free_events=1, variants=[{"when": {"region": "eu"}, "percent": "2", "free_events": 1}]
        )
        collector = EventCollector(price)
        for value, dimensions in ((100, EUROPE), (200, AMERICA), (300, EUROPE), (400, AMERICA), (500, {})):
            collector.add(Decimal(value), None, dimensions)
        usage = collector.collect()
        assert {group.dimensions: int(group.quantity) for group in usage.groups} == {(): 1100, (("region", "eu"),): 400}
        # other: 200 free, 1 % of 900 = 9; eu: 100 free, 2 % of 300 = 6
        assert price_usage(price, usage).amount_decimal == 15

    def test_carries_prices_for_a_dynamic_price_only(self) -> None:
        for model, expected in (("dynamic", Decimal(7)), ("percentage", None)):
            collector = EventCollector(make_price(model, **({"percent": "1"} if model == "percentage" else {})))
            collector.add(Decimal(2), Decimal(7), {})
            assert collector.collect().events == (EventGroup(Decimal(2), 1, expected),)

    def test_of_nothing_is_nothing(self) -> None:
        assert EventCollector(make_price(percent="1", free_events=1)).collect() == Usage(Decimal(0))


values = st.lists(st.integers(min_value=0, max_value=5_000), max_size=30)


class TestShortening:
    @given(
        values=values,
        free_events=st.none() | st.integers(min_value=0, max_value=10),
        free_amount=st.none() | st.integers(min_value=0, max_value=20_000),
        bounds=st.sampled_from([{}, {"event_minimum": "40"}, {"event_maximum": "60"}]),
    )
    def test_never_changes_the_amount(
        self, values: list[int], free_events: int | None, free_amount: int | None, bounds: dict[str, str]
    ) -> None:
        price = make_price(percent="1.2", fixed_amount="10", free_events=free_events, free_amount=free_amount, **bounds)
        collector = EventCollector(price)
        for value in values:
            collector.add(Decimal(value), None, {})
        shortened = collector.collect()
        whole = Usage(Decimal(sum(values)), events=tuple(EventGroup(Decimal(value)) for value in values))
        assert price_usage(price, shortened).amount_decimal == price_usage(price, whole).amount_decimal
        assert Usage.from_dict(shortened.quantity, shortened.as_dict()) == shortened


class TestParseUnitAmount:
    @pytest.mark.parametrize(("text", "amount"), [(None, None), ("0", Decimal(0)), ("12.5", Decimal("12.5"))])
    def test_reads_a_price(self, text: str | None, amount: Decimal | None) -> None:
        assert parse_unit_amount(text) == amount

    @pytest.mark.parametrize("text", ["cheap", "-1", "NaN", "Infinity", ""])
    def test_refuses_what_is_none(self, text: str) -> None:
        with pytest.raises(EventPriceInvalid):
            parse_unit_amount(text)
