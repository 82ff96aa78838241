"""
Facts with the prices of another catalog: what was used stays, what it costs is looked up anew.

Plain Python: no Django, no I/O, no clock. Source: design, One engine, many doors; ADR 0043.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from catalog.pricing.terms import PriceTerms
from catalog.pricing.usage import Usage
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts

# The prices of each plan, by its key.
PriceBook = Mapping[str, Sequence[PriceTerms]]


@dataclass(frozen=True, slots=True)
class Kept:
    """A charge that keeps its price, and why the other catalog has none for it."""

    charge: ChargeFacts
    reason: str


@dataclass(frozen=True, slots=True)
class Repriced:
    """Facts at other prices. `wanting` are the charges, by place, whose price must know more than was stored."""

    facts: InvoiceFacts
    kept: tuple[Kept, ...]
    wanting: tuple[int, ...]

    def with_usage(self, usage: Mapping[int, Usage]) -> InvoiceFacts:
        """Return the facts with the usage of charges, by place, as their prices need to know it."""
        charges = [
            charge if place not in usage else replace(charge, usage=usage[place])
            for place, charge in enumerate(self.facts.charges)
        ]
        return replace(self.facts, charges=tuple(charges))


def reprice(facts: InvoiceFacts, book: PriceBook) -> Repriced:
    """
    Return the facts with each price replaced by that of the same plan in `book`.

    A price is found by its lookup key, else by currency, meter and interval where only one fits. Negotiated prices,
    those of rules and what was entered by hand are no prices of a catalog; they, and what is not found, are kept.
    """
    charges, kept, wanting = [], [], []
    for place, charge in enumerate(facts.charges):
        found = _find(charge, book)
        if isinstance(found, str):
            charges.append(charge)
            kept.append(Kept(charge, found))
            continue
        charges.append(replace(charge, price=replace(found, price_id=charge.price.price_id)))
        if charge.type == "usage" and _needs_more(charge.price, found):
            wanting.append(place)
    return Repriced(replace(facts, charges=tuple(charges)), tuple(kept), tuple(wanting))


def _find(charge: ChargeFacts, book: PriceBook) -> PriceTerms | str:
    price = charge.price
    if charge.given is not None:
        return "entered by hand"
    if price.origin:
        return "negotiated, or priced by a rule"
    if charge.plan_id not in book:
        return f"no plan {charge.plan_id}"
    fits = [each for each in book[charge.plan_id] if (each.currency, each.meter) == (price.currency, price.meter)]
    named = [each for each in fits if each.lookup_key == price.lookup_key]
    same = [each for each in fits if (each.interval, each.interval_count) == (price.interval, price.interval_count)]
    found = named or same
    if len(found) != 1:
        what = f"for {price.meter}" if price.meter else "as its fee"
        number = "several prices" if found else "no price"
        return f"{number} {what} in {price.currency.upper()}, {price.interval_count} {price.interval}"
    return found[0]


def _needs_more(before: PriceTerms, after: PriceTerms) -> bool:
    """Tell whether usage as it was stored for one price is too little for another."""
    if after.needs_events or before.needs_events:
        return (after.needs_events, after.dimensions) != (before.needs_events, before.dimensions)
    return bool(after.dimensions) and after.dimensions != before.dimensions
