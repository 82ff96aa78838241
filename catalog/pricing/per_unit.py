"""Model `per_unit`: every unit costs the same."""

from __future__ import annotations

from decimal import Decimal

from catalog.pricing.terms import PricedQuantity, PricedTier, PriceTerms


def price_per_unit(price: PriceTerms, quantity: Decimal) -> PricedQuantity:
    """Return quantity times unit price. Source: contract chapter Pricing."""
    amount = quantity * price.unit_amount
    return PricedQuantity(amount, (PricedTier(quantity=quantity, unit_amount=price.unit_amount, amount=amount),))
