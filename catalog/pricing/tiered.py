"""Models `graduated`, `volume`, `stairstep` and `graduated_percentage`. Source: policies, rules 14 and 15."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from catalog.pricing.breakdown import PricedQuantity, PricedTier
from catalog.pricing.terms import Part, Tier

ZERO: Final = Decimal(0)
HUNDRED: Final = Decimal(100)
NOTHING: Final = PricedQuantity(ZERO)


def price_graduated(part: Part) -> PricedQuantity:
    """Return each tier's part of the quantity at that tier's price, plus the flat amount of every tier entered."""
    quantity, options = part.quantity, part.options
    total, below = ZERO, ZERO
    steps: list[PricedTier] = []
    for tier in options.tiers:
        up_to, price, flat, _ = tier
        inside = (quantity if up_to is None or quantity < up_to else up_to) - below
        if inside <= 0 and (steps or not options.bill_zero_usage):
            break
        amount = inside * price + flat if flat else inside * price
        steps.append(PricedTier(inside, price, amount, flat, up_to))
        total += amount
        if up_to is None or quantity <= up_to:
            break
        below = up_to
    return PricedQuantity(total, tuple(steps))


def price_volume(part: Part) -> PricedQuantity:
    """Return the whole quantity at the price of the tier that contains it, plus that tier's flat amount."""
    quantity = part.quantity
    if quantity <= 0 and not part.options.bill_zero_usage:
        return NOTHING
    tier = find_tier(part.options.tiers, quantity)
    amount = quantity * tier.unit_amount + tier.flat_amount
    return PricedQuantity(amount, (PricedTier(quantity, tier.unit_amount, amount, tier.flat_amount, tier.up_to),))


def price_stairstep(part: Part) -> PricedQuantity:
    """Return the flat amount of the tier that contains the quantity, whatever part of it is used."""
    quantity = part.quantity
    if quantity <= 0 and not part.options.bill_zero_usage:
        return NOTHING
    tier = find_tier(part.options.tiers, quantity)
    return PricedQuantity(
        tier.flat_amount, (PricedTier(quantity, ZERO, tier.flat_amount, tier.flat_amount, tier.up_to),)
    )


def price_graduated_percentage(part: Part) -> PricedQuantity:
    """Return each tier's percentage of the money inside its bounds, plus the flat amount of every tier entered."""
    quantity, options = part.quantity, part.options
    total, below = ZERO, ZERO
    steps: list[PricedTier] = []
    for tier in options.tiers:
        inside = (quantity if tier.up_to is None or quantity < tier.up_to else tier.up_to) - below
        if inside <= 0 and (steps or not options.bill_zero_usage):
            break
        rate = tier.percent / HUNDRED
        amount = inside * rate + tier.flat_amount
        steps.append(PricedTier(inside, rate, amount, tier.flat_amount, tier.up_to, "percentage"))
        total += amount
        if tier.up_to is None or quantity <= tier.up_to:
            break
        below = tier.up_to
    return PricedQuantity(total, tuple(steps))


def find_tier(tiers: Sequence[Tier], quantity: Decimal) -> Tier:
    """
    Return the tier that contains the quantity; between two bounds it is the upper one.

    :raises ValueError: if the last tier has a bound and the quantity lies above it.
    """
    for tier in tiers:
        if tier.up_to is None or quantity <= tier.up_to:
            return tier
    raise ValueError(f"no tier reaches {quantity}")
