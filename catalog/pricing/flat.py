"""Model `flat`: one amount for the interval."""

from __future__ import annotations

from decimal import Decimal

from catalog.pricing.terms import PricedQuantity, PricedTier, PriceTerms


def price_flat(price: PriceTerms, quantity: Decimal) -> PricedQuantity:
    """
    Return the fee of the interval: once for every subscribed quantity; on a meter once, whatever was used.

    Source: contract chapter Pricing.
    """
    times = Decimal(1) if price.is_metered else quantity
    amount = times * price.unit_amount
    return PricedQuantity(amount, (PricedTier(quantity=times, unit_amount=price.unit_amount, amount=amount),))
