"""The one door to the price models: each is a function in a module of its family, registered here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Final

from billing_site.kernel.money import EXACT
from catalog.pricing.breakdown import PricedQuantity, PricedTier
from catalog.pricing.per_unit import price_once, price_package, price_per_unit
from catalog.pricing.percentage import EventsNeeded, price_dynamic, price_percentage
from catalog.pricing.terms import Part, PriceOptions, PriceTerms, Variant, divide_quantity
from catalog.pricing.tiered import price_graduated, price_graduated_percentage, price_stairstep, price_volume
from catalog.pricing.usage import EventGroup, Usage, merge_events

__all__ = [
    "FEE_MODELS",
    "MODELS",
    "EventsNeeded",
    "PriceTerms",
    "PricedQuantity",
    "PricedTier",
    "UnknownPriceModel",
    "find_variant",
    "price_quantity",
    "price_usage",
]

Pricer = Callable[[Part], PricedQuantity]

ZERO: Final = Decimal(0)
MODELS: Final[dict[str, Pricer]] = {
    "flat": price_per_unit,  # a fee: once per subscribed unit; on a meter see below
    "per_unit": price_per_unit,
    "graduated": price_graduated,
    "volume": price_volume,
    "package": price_package,
    "percentage": price_percentage,
    "graduated_percentage": price_graduated_percentage,
    "stairstep": price_stairstep,
    "dynamic": price_dynamic,
}
FEE_MODELS: Final = ("flat", "per_unit", "graduated", "volume", "package", "stairstep")


class UnknownPriceModel(ValueError):
    """No module prices this model."""


def price_quantity(price: PriceTerms, quantity: Decimal) -> PricedQuantity:
    """
    Return what `quantity` costs at `price`: exact minor units, never rounded, with the breakdown.

    :raises UnknownPriceModel: if the price's model is not among `MODELS`.
    :raises EventsNeeded: if the price counts event by event.
    :raises TypeError: if the quantity is not a Decimal; :raises ValueError: if it is negative or not finite.
    """
    return price_usage(price, Usage(quantity))


def price_usage(price: PriceTerms, usage: Usage) -> PricedQuantity:
    """
    Return what `usage` costs at `price`: exact minor units, never rounded, with the breakdown.

    Order: unit conversion of the cumulative quantity, free units, model, maximum, then the true-up to the minimum. The
    unit price is not rounded before multiplying; rounding is the invoice line's, once. A price with variants divides
    the usage by its groups; without groups everything takes the default.
    :raises: as `price_quantity`.
    Source: policies, Rounding and money (rule 2) and Usage pricing (rules 14 to 18).
    """
    quantity = usage.quantity
    if not isinstance(quantity, Decimal):
        raise TypeError(f"a quantity is a Decimal, not {type(quantity).__name__}")
    if not quantity.is_finite() or quantity < 0:
        raise ValueError(f"{quantity} is not a quantity")
    pricer = MODELS.get(price.model)
    if pricer is None:
        raise UnknownPriceModel(price.model)
    if price.model == "flat" and price.is_metered:
        pricer = price_once
    options = price.options
    with localcontext(EXACT):
        if options.variants and usage.groups:
            priced = _price_variants(pricer, price, usage)
        else:
            priced = _price_part(pricer, price.unit_amount, options, quantity, usage.events)
        if options.minimum_amount is None and options.maximum_amount is None:
            return priced
        return _keep_within(priced, options)


def _price_part(
    pricer: Pricer, unit_amount: Decimal, options: PriceOptions, quantity: Decimal, events: Sequence[EventGroup]
) -> PricedQuantity:
    if options.divide_by is not None:
        quantity = divide_quantity(quantity, options)
    free = options.free_quantity
    if free is None or not free:
        return pricer(Part(quantity, unit_amount, options, events))
    taken = min(free, quantity)
    priced = pricer(Part(quantity - taken, unit_amount, options, events))
    return PricedQuantity(priced.amount_decimal, (PricedTier(taken, ZERO, ZERO, kind="free"), *priced.tiers))


def _keep_within(priced: PricedQuantity, options: PriceOptions) -> PricedQuantity:
    """Cap at the maximum, and say what is missing to the minimum. Source: policies, rule 16."""
    amount, tiers = priced.amount_decimal, priced.tiers
    if options.maximum_amount is not None and amount > options.maximum_amount:
        over = options.maximum_amount - amount
        amount, tiers = options.maximum_amount, (*tiers, PricedTier(ZERO, ZERO, over, kind="maximum"))
    missing = ZERO if options.minimum_amount is None else max(ZERO, options.minimum_amount - amount)
    return PricedQuantity(amount, tiers, missing)


def _price_variants(pricer: Pricer, price: PriceTerms, usage: Usage) -> PricedQuantity:
    """Price each variant's share of the usage; the price itself takes what no variant names, if there is any."""
    quantities: dict[Variant | None, Decimal] = defaultdict(lambda: ZERO)
    events: dict[Variant | None, list[EventGroup]] = defaultdict(list)
    for group in usage.groups:
        variant = find_variant(price, dict(group.dimensions))
        quantities[variant] += group.quantity
        events[variant] += group.events
    total = ZERO
    tiers: list[PricedTier] = []
    for variant in (None, *price.options.variants):
        if variant not in quantities:
            continue
        unit_amount, options, label = _read_variant(price, variant)
        part = _price_part(pricer, unit_amount, options, quantities[variant], merge_events(events[variant]))
        total += part.amount_decimal
        tiers += [tier._replace(variant=label) for tier in part.tiers]
    return PricedQuantity(total, tuple(tiers))


def _read_variant(price: PriceTerms, variant: Variant | None) -> tuple[Decimal, PriceOptions, str]:
    if variant is None:
        return price.unit_amount, price.options, "other"
    return variant.unit_amount or ZERO, variant.options, variant.label


def find_variant(price: PriceTerms, dimensions: Mapping[str, str]) -> Variant | None:
    """
    Return the variant whose dimensions all match, or None for the price's own terms.

    The one that names most dimensions wins; among equals the first.
    """
    best: Variant | None = None
    named = 0
    for variant in price.options.variants:
        when = variant.when
        if len(when) > named:
            for key, value in when:
                if dimensions.get(key) != value:
                    break
            else:
                best, named = variant, len(when)
    return best
