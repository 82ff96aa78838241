"""Discounts: their order, what they take, how it is shared by the lines, and what stops them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing.terms import PriceOptions
from invoicing.calculation.discounts import DiscountFacts, LineBase, apply_discounts
from invoicing.calculation.draft import CurrencyMixed, draft_invoice
from invoicing.calculation.facts import InvoiceFacts
from tests.unit.invoicing.calculation.test_draft import facts, fee, usage

MONDAY = datetime(2023, 11, 6, 9, tzinfo=UTC)


def percent(value: str, number: int = 1, **options: Any) -> DiscountFacts:
    attached = MONDAY + timedelta(hours=number)
    return DiscountFacts(f"dis_{number}", f"D{number}", attached, percent_off=Decimal(value), **options)


def amount(value: int, number: int = 1, currency: str = "usd", **options: Any) -> DiscountFacts:
    attached = MONDAY + timedelta(hours=number)
    return DiscountFacts(f"dis_{number}", f"D{number}", attached, amount_off=value, currency=currency, **options)


def line(amount: int, *, gross: int | None = None, plan: str = "basic", meter: str | None = None) -> LineBase:
    return LineBase(amount, amount if gross is None else gross, plan, meter)


def take(lines: list[LineBase], *discounts: DiscountFacts) -> list[int]:
    return [sum(each.amount for each in found) for found in apply_discounts(lines, discounts)]


class TestOnePercentage:
    def test_25_percent_of_19_99_is_5_00(self) -> None:
        # 1999 × 0.25 = 499.75 → 500, leaves 1499
        draft = draft_invoice(replace(facts(fee("1999")), discounts=(percent("25"),)))
        assert (draft.subtotal, draft.discount, draft.total, draft.discount_name) == (1999, 500, 1499, "D1")

    def test_is_rounded_once_for_all_lines_and_shared_by_largest_remainder(self) -> None:
        # 10 % of 3 × 33 = 9.9 → 10 in all; 3.33… each, the cent over goes to the first line
        assert take([line(33), line(33), line(33)], percent("10")) == [4, 3, 3]

    def test_rounds_a_half_away_from_zero(self) -> None:
        # 50 % of 5 = 2.5 → 3
        assert take([line(5)], percent("50")) == [3]

    def test_rounds_half_to_even_where_the_seller_does(self) -> None:
        reductions = apply_discounts([line(5)], [percent("50")], rounding="half_even")
        assert [each.amount for each in reductions[0]] == [2]

    def test_of_100_leaves_nothing(self) -> None:
        assert take([line(1999), line(1)], percent("100")) == [1999, 1]


class TestSeveral:
    def test_two_of_10_percent_are_19_percent(self) -> None:
        # 10000 − 1000 = 9000, − 900 = 8100
        assert take([line(10000)], percent("10", 1), percent("10", 2)) == [1900]

    def test_meters_come_before_plans_before_all_and_then_the_oldest(self) -> None:
        discounts = (
            percent("10", 1),
            percent("10", 2, plans=("basic",)),
            percent("10", 3, meters=("tokens",)),
            percent("10", 0),
        )
        (reductions,) = apply_discounts([line(10000, meter="tokens")], discounts)
        assert [each.discount.name for each in reductions] == ["D3", "D2", "D0", "D1"]
        # 1000 of 10000, 900 of 9000, 810 of 8100, 729 of 7290
        assert [each.amount for each in reductions] == [1000, 900, 810, 729]

    def test_an_amount_first_leaves_less_for_the_percentage(self) -> None:
        # 10000 − 2000 = 8000; 10 % of 8000 = 800
        assert take([line(10000)], amount(2000, 1), percent("10", 2)) == [2800]


class TestAnAmount:
    def test_is_shared_by_what_the_lines_cost(self) -> None:
        # 1000 × 5000 / 7000 = 714.28…, 1000 × 2000 / 7000 = 285.71… → 714 and 286
        assert take([line(5000), line(2000)], amount(1000)) == [714, 286]

    def test_is_at_most_what_it_applies_to(self) -> None:
        assert take([line(300), line(200)], amount(1000)) == [300, 200]

    def test_in_another_currency_is_refused(self) -> None:
        with pytest.raises(CurrencyMixed):
            draft_invoice(replace(facts(fee("1999")), discounts=(amount(100, currency="eur"),)))


class TestLimits:
    def test_to_a_meter_leaves_the_fee_alone(self) -> None:
        draft = draft_invoice(
            replace(facts(fee("1000"), usage("2", "100")), discounts=(percent("50", meters=("tokens",)),))
        )
        assert [(each.type, each.amount, each.discount) for each in draft.lines] == [
            ("subscription", 1000, 0),
            ("usage", 200, 100),
        ]

    def test_to_a_plan_leaves_other_plans_alone(self) -> None:
        assert take([line(1000, plan="pro"), line(1000)], percent("50", plans=("pro",))) == [500, 0]

    def test_to_what_is_not_there_takes_nothing_and_has_no_name(self) -> None:
        draft = draft_invoice(replace(facts(fee("1000")), discounts=(percent("50", meters=("other",)),)))
        assert (draft.discount, draft.discount_name) == (0, "")

    def test_negative_and_closed_lines_take_no_part(self) -> None:
        lines = [line(1000), line(-400), line(500)._replace(is_open=False)]
        assert take(lines, percent("10")) == [100, 0, 0]


class TestMinimumAndMaximum:
    def draft(self, *, quantity: str, discount: DiscountFacts, **options: Decimal) -> list[tuple[str, int, int]]:
        charge = usage("1", quantity)
        bounded = replace(charge, price=replace(charge.price, options=PriceOptions(**options)))  # type: ignore[arg-type]
        draft = draft_invoice(replace(facts(bounded), discounts=(discount,)))
        return [(each.type, each.amount, each.discount) for each in draft.lines]

    def test_a_minimum_is_owed_in_full(self) -> None:
        # used 800 of 1000: true-up 200, and 10 % of 800 only
        found = self.draft(quantity="800", discount=percent("10"), minimum_amount=Decimal(1000))
        assert found == [("usage", 800, 80), ("one_off", 200, 0)]

    def test_a_maximum_holds_after_the_percentage(self) -> None:
        # 1500 − 20 % = 1200, still above 1000: the maximum is owed, nothing is taken off it
        found = self.draft(quantity="1500", discount=percent("20"), maximum_amount=Decimal(1000))
        assert found == [("usage", 1000, 0)]

    def test_a_percentage_that_brings_it_below_the_maximum_counts_from_there(self) -> None:
        # 1100 − 20 % = 880: 120 below the maximum of 1000
        found = self.draft(quantity="1100", discount=percent("20"), maximum_amount=Decimal(1000))
        assert found == [("usage", 1000, 120)]

    def test_an_amount_comes_off_the_maximum(self) -> None:
        found = self.draft(quantity="1500", discount=amount(300), maximum_amount=Decimal(1000))
        assert found == [("usage", 1000, 300)]

    def test_the_steps_say_that_the_maximum_held(self) -> None:
        charge = usage("1", "1500")
        bounded = replace(charge, price=replace(charge.price, options=PriceOptions(maximum_amount=Decimal(1000))))
        draft = draft_invoice(replace(facts(bounded), discounts=(percent("20"),)))
        assert draft.lines[0].steps[-1] == {
            "title": "Discount D1",
            "formula": "20 % of 15.00; leaves 12.00 of the line without its maximum of 10.00",
            "value": "−0 = −0.00 USD, leaves 10.00",
        }


class TestTrace:
    def test_explains_the_discount_of_each_line(self) -> None:
        draft = draft_invoice(replace(facts(fee("1000"), usage("2", "100")), discounts=(percent("10"),)))
        assert draft.lines[0].trace["discounts"] == [{"id": "dis_1", "amount": "100"}]
        assert draft.lines[0].steps[-1] == {
            "title": "Discount D1",
            "formula": "10 % of 12.00, shared by 2 lines by largest remainder",
            "value": "−100 = −1.00 USD, leaves 9.00",
        }

    def test_survives_storing(self) -> None:
        told = replace(
            facts(fee("1000")),
            discounts=(percent("12.5", plans=("basic",), months_left=3), amount(5, 2, meters=("tokens",))),
        )
        assert InvoiceFacts.from_dict(json.loads(json.dumps(told.as_dict()))) == told

    def test_without_discounts_is_what_it_was(self) -> None:
        told = facts(fee("1000"))
        assert "discounts" not in told.as_dict()
        assert "discounts" not in draft_invoice(told).lines[0].trace
        assert InvoiceFacts.from_dict(told.as_dict()) == told


class TestDiscountFacts:
    @pytest.mark.parametrize("value", ["0", "-1", "100.01"])
    def test_refuses_a_percentage_out_of_range(self, value: str) -> None:
        with pytest.raises(ValueError, match="not a discount"):
            percent(value)

    def test_refuses_both_and_none(self) -> None:
        with pytest.raises(ValueError, match="one of them"):
            percent("10", amount_off=5, currency="usd")
        with pytest.raises(ValueError, match="one of them"):
            DiscountFacts("dis_1", "", MONDAY)


percentages = st.decimals(min_value=Decimal("0.0001"), max_value=100, places=4).map(lambda value: f"{value:f}")
limits: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {"meters": ("tokens",)}, {"plans": ("basic",)}])
discounts = st.lists(
    st.one_of(
        st.tuples(percentages, limits).map(lambda pair: percent(pair[0], **pair[1])),
        st.tuples(st.integers(1, 10**7), limits).map(lambda pair: amount(pair[0], **pair[1])),
    ),
    max_size=4,
)
bases = st.builds(
    lambda value, over, plan, meter, is_open: LineBase(value, value + over, plan, meter, is_open),
    st.integers(-(10**6), 10**9),
    st.sampled_from([0, 0, 1, 500, 10**6]),
    st.sampled_from(["basic", "pro"]),
    st.sampled_from([None, "tokens", "calls"]),
    st.booleans(),
)


class TestAlways:
    @given(st.lists(bases, max_size=8), discounts)
    def test_no_line_gives_more_than_it_has(self, lines: list[LineBase], taken: list[DiscountFacts]) -> None:
        for base, reductions in zip(lines, apply_discounts(lines, taken), strict=True):
            off = sum(each.amount for each in reductions)
            assert 0 <= off <= max(0, base.amount)
            assert all(each.amount >= 0 for each in reductions)

    @given(st.lists(bases, max_size=8), discounts)
    def test_the_parts_of_a_discount_sum_to_it(self, lines: list[LineBase], taken: list[DiscountFacts]) -> None:
        found = [each for reductions in apply_discounts(lines, taken) for each in reductions]
        for discount in taken:
            parts = [each for each in found if each.discount is discount]
            assert {each.total for each in parts} <= {sum(each.amount for each in parts)}

    @given(st.lists(st.integers(1, 10**9), min_size=1, max_size=8), percentages)
    def test_a_percentage_is_what_it_is_of_the_sum(self, amounts: list[int], value: str) -> None:
        off = sum(take([line(each) for each in amounts], percent(value)))
        assert abs(off - sum(amounts) * Decimal(value) / 100) <= Decimal("0.5")

    @given(st.lists(bases, max_size=8), discounts)
    def test_equal_facts_give_equal_reductions_in_any_order_of_discounts(
        self, lines: list[LineBase], taken: list[DiscountFacts]
    ) -> None:
        named = [replace(each, id=f"dis_{index}") for index, each in enumerate(taken)]
        assert apply_discounts(lines, named) == apply_discounts(lines, list(reversed(named)))
