"""
What usage costs under a price: the pricing engine, named for usage.

Plain Python: no Django, no I/O, no clock. Source: contract chapter Pricing; policies, rules 1, 2 and 16.
"""

from __future__ import annotations

from dataclasses import dataclass

from billing_site.kernel.money import RoundingMode, round_to_minor
from catalog.pricing.breakdown import PricedQuantity
from catalog.pricing.engine import price_usage
from catalog.pricing.terms import PriceTerms
from catalog.pricing.usage import Usage


@dataclass(frozen=True, slots=True)
class RatedUsage:
    """
    Priced usage: `priced` is exact and explains itself; `amount` and `true_up` are minor units, each rounded once.

    `true_up` is what a minimum adds on top of `amount`.
    """

    usage: Usage
    priced: PricedQuantity
    amount: int
    true_up: int


def rate_usage(*, price: PriceTerms, usage: Usage, rounding: RoundingMode = "half_up") -> RatedUsage:
    """Return the cost of the usage of the price's meter, in the price's currency."""
    priced = price_usage(price, usage)
    return RatedUsage(
        usage,
        priced,
        round_to_minor(priced.amount_decimal, mode=rounding),
        round_to_minor(priced.true_up, mode=rounding),
    )
