"""Pricing a quantity is exact, explained, and readable back from its trace."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.money import EXACT, round_to_minor
from catalog.models import PriceModel
from catalog.pricing.engine import MODELS, UnknownPriceModel, price_quantity
from catalog.pricing.terms import PricedTier, PriceTerms, to_text

TOKENS = PriceTerms(
    price_id="price_0",
    model="per_unit",
    currency="usd",
    unit_amount=Decimal("0.00005"),
    meter="llm_input_tokens",
    unit="tokens",
    interval="month",
    interval_count=1,
    billing_timing="arrears",
    lookup_key="pro:usd:month:llm_input_tokens",
)
SEAT = replace(
    TOKENS,
    model="flat",
    unit_amount=Decimal(2000),
    meter=None,
    unit=None,
    billing_timing="advance",
    lookup_key="pro:usd:month",
)

amounts = st.decimals(min_value=0, max_value=Decimal("1e20"), places=12)
quantities = st.decimals(min_value=0, max_value=Decimal("1e20"), places=12)


class TestPerUnit:
    @pytest.mark.parametrize(
        ("unit_amount", "quantity", "exact", "minor"),
        [
            # 0.50 usd per million tokens = 0.00005 cents each
            ("0.00005", "22361870", "1118.0935", 1118),
            # 1.50 usd per million tokens = 0.00015 cents each
            ("0.00015", "4088665", "613.29975", 613),
            # half a cent rounds up, once, on the line
            ("0.5", "1", "0.5", 1),
            ("3", "0", "0", 0),
        ],
    )
    def test_multiplies_without_rounding(self, unit_amount: str, quantity: str, exact: str, minor: int) -> None:
        priced = price_quantity(replace(TOKENS, unit_amount=Decimal(unit_amount)), Decimal(quantity))
        assert priced.amount_decimal == Decimal(exact)
        assert round_to_minor(priced.amount_decimal) == minor

    def test_keeps_every_digit_of_the_widest_numbers(self) -> None:
        widest = Decimal("9" * 26 + "." + "9" * 12)
        priced = price_quantity(replace(TOKENS, unit_amount=widest), widest)
        # 38 nines squared: (10^38 - 1)^2 = 10^76 - 2*10^38 + 1, 24 decimals
        assert priced.amount_decimal.scaleb(24, EXACT) == Decimal(10**76 - 2 * 10**38 + 1)

    @given(quantity=quantities, unit_amount=amounts)
    def test_the_breakdown_sums_to_the_amount(self, quantity: Decimal, unit_amount: Decimal) -> None:
        priced = price_quantity(replace(TOKENS, unit_amount=unit_amount), quantity)
        with localcontext(EXACT):
            assert sum((tier.amount for tier in priced.tiers), Decimal(0)) == priced.amount_decimal
            assert sum((tier.quantity for tier in priced.tiers), Decimal(0)) == quantity

    @given(one=quantities, other=quantities)
    def test_more_usage_never_costs_less(self, one: Decimal, other: Decimal) -> None:
        low, high = sorted((one, other))
        assert price_quantity(TOKENS, low).amount_decimal <= price_quantity(TOKENS, high).amount_decimal


class TestFlat:
    def test_owes_the_fee_per_subscribed_quantity(self) -> None:
        assert price_quantity(SEAT, Decimal(14)).amount_decimal == Decimal(28000)  # 14 seats x 20.00

    def test_owes_it_once_on_a_meter(self) -> None:
        assert price_quantity(replace(SEAT, meter="api"), Decimal(14)).amount_decimal == Decimal(2000)


class TestRefusals:
    def test_knows_the_models_of_the_catalog(self) -> None:
        assert set(MODELS) == set(PriceModel.values)

    def test_refuses_an_unknown_model(self) -> None:
        with pytest.raises(UnknownPriceModel):
            price_quantity(replace(TOKENS, model="guess"), Decimal(1))

    @pytest.mark.parametrize("quantity", [1, 1.5, "1"])
    def test_refuses_what_is_not_a_decimal(self, quantity: object) -> None:
        with pytest.raises(TypeError):
            price_quantity(TOKENS, quantity)  # type: ignore[arg-type]

    @pytest.mark.parametrize("text", ["NaN", "Infinity"])
    def test_refuses_what_is_not_finite(self, text: str) -> None:
        with pytest.raises(ValueError, match="not a quantity"):
            price_quantity(TOKENS, Decimal(text))

    def test_terms_refuse_a_float(self) -> None:
        with pytest.raises(TypeError):
            replace(TOKENS, unit_amount=0.5)  # type: ignore[arg-type]


class TestTraces:
    @given(unit_amount=amounts, count=st.integers(min_value=1, max_value=99))
    def test_terms_read_back_as_written(self, unit_amount: Decimal, count: int) -> None:
        terms = replace(TOKENS, unit_amount=unit_amount, interval_count=count)
        stored = terms.as_dict()
        assert all(value is None or isinstance(value, str) for value in stored.values())
        assert PriceTerms.from_dict(stored) == terms

    @given(quantity=quantities, up_to=st.none() | quantities)
    def test_tiers_read_back_as_written(self, quantity: Decimal, up_to: Decimal | None) -> None:
        tier = PricedTier(quantity=quantity, unit_amount=Decimal("0.5"), amount=quantity, up_to=up_to)
        assert PricedTier.from_dict(tier.as_dict()) == tier

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("0E-12", "0"),
            ("-0", "0"),
            ("1E+3", "1000"),
            ("0.000050000000", "0.00005"),
            ("100", "100"),
            ("10.50", "10.5"),
        ],
    )
    def test_text_is_plain(self, value: str, text: str) -> None:
        assert to_text(Decimal(value)) == text
