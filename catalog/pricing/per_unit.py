"""Models `flat`, `per_unit` and `package`: one price for all units. Source: policies, rule 14."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Final

from billing_site.kernel.money import EXACT
from catalog.pricing.breakdown import PricedQuantity, PricedTier
from catalog.pricing.terms import Part

ONE: Final = Decimal(1)


def price_per_unit(part: Part) -> PricedQuantity:
    """Return quantity times unit price."""
    amount = part.quantity * part.unit_amount
    return PricedQuantity(amount, (PricedTier(part.quantity, part.unit_amount, amount),))


def price_once(part: Part) -> PricedQuantity:
    """Return the amount of a flat usage price: once for the interval, whatever was used."""
    amount = part.unit_amount
    return PricedQuantity(amount, (PricedTier(ONE, amount, amount),))


def price_package(part: Part) -> PricedQuantity:
    """Return the price of every package started; a started package is a whole one."""
    size = part.options.package_size
    if size is None:
        raise ValueError("a package price needs a package size")
    packages = (part.quantity / size).to_integral_value(rounding=ROUND_CEILING, context=EXACT)
    amount = packages * part.unit_amount
    return PricedQuantity(amount, (PricedTier(packages, part.unit_amount, amount, kind="package"),))
