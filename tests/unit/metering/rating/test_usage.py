"""The price of usage."""

from __future__ import annotations

from decimal import Decimal

from catalog.pricing.terms import PriceTerms
from catalog.pricing.usage import Usage
from metering.rating import rate_usage


def make_price(unit_amount: str) -> PriceTerms:
    return PriceTerms(
        price_id="price_1",
        model="per_unit",
        currency="usd",
        unit_amount=Decimal(unit_amount),
        meter="tokens",
        unit="tokens",
        interval="month",
        interval_count=1,
        billing_timing="arrears",
        lookup_key="tokens",
    )


class TestRateUsage:
    def test_rounds_once_half_up(self) -> None:
        # 0.50 usd per million = 0.00005 cents each; 22,361,870 x 0.00005 = 1118.0935 cents
        rated = rate_usage(price=make_price("0.00005"), usage=Usage(Decimal(22_361_870)))
        assert (rated.priced.amount_decimal, rated.amount) == (Decimal("1118.0935"), 1118)

    def test_takes_a_tie_away_from_zero(self) -> None:
        assert rate_usage(price=make_price("0.5"), usage=Usage(Decimal(1))).amount == 1

    def test_keeps_twelve_decimals_of_quantity_and_price(self) -> None:
        rated = rate_usage(price=make_price("0.000000000001"), usage=Usage(Decimal("0.000000000001")))
        assert rated.priced.amount_decimal == Decimal("1E-24")
        assert rated.amount == 0
