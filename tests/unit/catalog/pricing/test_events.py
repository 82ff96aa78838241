"""Prices of money that is counted event by event, and prices that events carry."""

from __future__ import annotations

from decimal import Decimal

import pytest

from catalog.pricing.engine import EventsNeeded, price_quantity, price_usage
from catalog.pricing.usage import EventGroup, Usage
from tests.unit.catalog.pricing.terms import make_price, price_events, price_of, show


class TestPercentage:
    def test_without_anything_per_event_a_quantity_is_enough(self) -> None:
        assert price_of(make_price("percentage", percent="1.2"), 5000) == 60

    def test_each_event_costs_its_share_and_the_fixed_part(self) -> None:
        priced = price_events(make_price("percentage", percent="2.9", fixed_amount=30), 10_000, 2000)
        # 290 + 30 + 58 + 30
        assert priced.amount_decimal == 408
        assert show(priced) == [("percentage", "12000", "348"), ("per_event", "2", "60")]

    def test_the_first_events_are_free(self) -> None:
        # 1.2 % + 0.10, three free, the fourth of 50.00: 60 + 10 = 70
        price = make_price("percentage", percent="1.2", fixed_amount=10, free_events=3)
        priced = price_events(price, 1, 90_000, 3, 5000)
        assert priced.amount_decimal == 70
        assert show(priced)[0] == ("free", "90004", "0")
        assert price_events(price, 5, 5, 5).amount_decimal == 0

    def test_the_first_money_is_free_and_the_event_that_passes_it_pays_the_rest(self) -> None:
        price = make_price("percentage", percent=10, fixed_amount=1, free_amount=100)
        # 60 free; of 60 more 40 free and 20 charged: 2 + 1; then 10: 1 + 1
        assert price_events(price, 60, 60, 10).amount_decimal == 5
        assert price_events(price, 60, 40).amount_decimal == 0
        assert price_events(price, 60, 40, 10).amount_decimal == 2

    @pytest.mark.parametrize(
        ("events", "amount"),
        [
            ((10, 10, 10), 1),  # two events end it first: 10 % of 10
            ((90, 30), 2),  # the money ends it first: 20 of the second are charged
            ((100, 30), 3),
            ((0, 0, 50), 5),
        ],
    )
    def test_whichever_allowance_ends_first_ends_both(self, events: tuple[int, ...], amount: int) -> None:
        price = make_price("percentage", percent=10, free_events=2, free_amount=100)
        assert price_events(price, *events).amount_decimal == amount

    def test_no_free_events_means_none_even_with_free_money(self) -> None:
        assert (
            price_events(make_price("percentage", percent=10, free_events=0, free_amount=100), 50).amount_decimal == 5
        )

    def test_an_event_costs_at_least_and_at_most(self) -> None:
        price = make_price("percentage", percent=1, fixed_amount=5, event_minimum=20, event_maximum=200)
        # 1 + 5 -> 20; 100 + 5 = 105; 1,000 + 5 -> 200
        priced = price_events(price, 100, 10_000, 100_000)
        assert priced.amount_decimal == 325
        assert show(priced) == [
            ("percentage", "110100", "1101"),
            ("per_event", "3", "15"),
            ("event_bounds", "3", "-791"),
        ]

    def test_a_free_event_has_no_minimum(self) -> None:
        price = make_price("percentage", percent=1, event_minimum=20, free_events=1)
        assert price_events(price, 100, 100).amount_decimal == 20

    def test_the_order_of_events_counts_while_some_are_free(self) -> None:
        price = make_price("percentage", percent=10, free_events=1)
        assert price_events(price, 1000, 10).amount_decimal == 1
        assert price_events(price, 10, 1000).amount_decimal == 100

    def test_equal_events_may_be_counted_together(self) -> None:
        price = make_price("percentage", percent=1, fixed_amount=3, free_events=2, event_maximum=10)
        grouped = price_usage(price, Usage(Decimal(5000), (EventGroup(Decimal(1000), 5),)))
        assert grouped == price_events(price, *[1000] * 5)

    def test_a_quantity_alone_is_refused_where_events_count(self) -> None:
        price = make_price("percentage", percent=1, fixed_amount=3)
        with pytest.raises(EventsNeeded):
            price_quantity(price, Decimal(5))
        assert price_of(price, 0) == 0


class TestDynamic:
    def test_each_event_carries_its_price(self) -> None:
        priced = price_events(make_price("dynamic"), ("2", "3"), ("4", "0.5"), ("1", "3"))
        assert priced.amount_decimal == 11
        assert show(priced) == [("tier", "3", "9"), ("tier", "4", "2")]

    def test_an_event_without_price_costs_nothing_but_is_shown(self) -> None:
        priced = price_events(make_price("dynamic"), 7, ("2", "1"))
        assert show(priced) == [("tier", "2", "2"), ("tier", "7", "0")]

    def test_many_prices_are_summed_up_in_the_breakdown(self) -> None:
        priced = price_events(make_price("dynamic"), *[("1", str(number)) for number in range(1, 101)])
        assert priced.amount_decimal == 5050
        assert len(priced.tiers) == 50
        assert sum(step.amount for step in priced.tiers) == 5050
        # the dearest 49 are shown: 52 to 100; the rest is 1 to 51 = 1,326
        assert show(priced)[-1] == ("other_prices", "51", "1326")

    def test_a_quantity_alone_is_refused(self) -> None:
        with pytest.raises(EventsNeeded):
            price_quantity(make_price("dynamic"), Decimal(1))
