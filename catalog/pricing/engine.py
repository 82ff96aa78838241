"""The one door to the price models: each is a module of its own, registered here."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Final

from billing_site.kernel.money import EXACT
from catalog.pricing.flat import price_flat
from catalog.pricing.per_unit import price_per_unit
from catalog.pricing.terms import PricedQuantity, PricedTier, PriceTerms

__all__ = ["MODELS", "PriceTerms", "PricedQuantity", "PricedTier", "UnknownPriceModel", "price_quantity"]

Pricer = Callable[[PriceTerms, Decimal], PricedQuantity]

MODELS: Final[dict[str, Pricer]] = {"flat": price_flat, "per_unit": price_per_unit}


class UnknownPriceModel(ValueError):
    """No module prices this model."""


def price_quantity(price: PriceTerms, quantity: Decimal) -> PricedQuantity:
    """
    Return what `quantity` costs at `price`: exact minor units, never rounded, with the breakdown.

    The unit price is not rounded before multiplying; rounding is the invoice line's, once.
    :raises UnknownPriceModel: if the price's model is not among `MODELS`.
    :raises TypeError: if the quantity is not a Decimal.
    :raises ValueError: if it is not finite.
    Source: policies, Rounding and money (rule 2) and Usage pricing (rule 14).
    """
    if not isinstance(quantity, Decimal):
        raise TypeError(f"a quantity is a Decimal, not {type(quantity).__name__}")
    if not quantity.is_finite():
        raise ValueError(f"{quantity} is not a quantity")
    pricer = MODELS.get(price.model)
    if pricer is None:
        raise UnknownPriceModel(price.model)
    with localcontext(EXACT):
        return pricer(price, quantity)
