"""
What a quantity costs under a price: the pricing engine, named for usage.

Plain Python: no Django, no I/O, no clock. Source: contract chapter Pricing; policies, rules 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from billing_site.kernel.money import round_to_minor
from catalog.pricing.engine import price_quantity
from catalog.pricing.terms import PricedQuantity, PriceTerms


@dataclass(frozen=True, slots=True)
class RatedUsage:
    """A priced quantity: `priced` is exact and explains itself, `amount` is minor units, rounded half up once."""

    quantity: Decimal
    priced: PricedQuantity
    amount: int


def rate_usage(*, price: PriceTerms, quantity: Decimal) -> RatedUsage:
    """Return the cost of `quantity` units of the price's meter, in the price's currency."""
    priced = price_quantity(price, quantity)
    return RatedUsage(quantity, priced, round_to_minor(priced.amount_decimal))
