"""The parts of a line whose price has several, for customers: `1,000 × 0.01`, `500 free`, `1.2% of 50.00`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from catalog.pricing.breakdown import PricedTier
from invoicing.documents.formats import Formats
from invoicing.documents.words import Words, marked

MAX_PARTS: Final = 8
_NAMES: Final = {
    "event_bounds": marked("bounds per event"),
    "other_prices": marked("other prices"),
    "maximum": marked("agreed maximum"),
}


def describe_parts(parts: Sequence[PricedTier], formats: Formats, words: Words) -> Iterator[str]:
    """Yield one text per part; of a long list the first ones and how many more there are."""
    shown = parts if len(parts) <= MAX_PARTS else parts[: MAX_PARTS - 1]
    for part in shown:
        variant = f"{part.variant}: " if part.variant else ""
        yield variant + _describe(part, formats, words)
    if len(parts) > len(shown):
        yield words("and {count} more", count=len(parts) - len(shown))


def _describe(part: PricedTier, formats: Formats, words: Words) -> str:
    quantity = formats.quantity(part.quantity)
    if part.kind in _NAMES:
        return f"{words(_NAMES[part.kind])} {formats.unit_price(part.amount)}"
    if part.kind == "free":
        return words("{quantity} free", quantity=quantity)
    if part.kind == "percentage":
        rate = formats.percent(part.unit_amount * Decimal(100))
        text = words("{rate} of {base}", rate=rate, base=formats.unit_price(part.quantity))
    elif part.kind == "per_event":
        text = words("{quantity} events × {price}", quantity=quantity, price=formats.unit_price(part.unit_amount))
    elif part.kind == "package":
        text = words("{quantity} packages × {price}", quantity=quantity, price=formats.unit_price(part.unit_amount))
    elif part.flat_amount and not part.unit_amount:
        return words("{quantity} for {price}", quantity=quantity, price=formats.unit_price(part.flat_amount))
    else:
        text = f"{quantity} × {formats.unit_price(part.unit_amount)}"
    return f"{text} + {formats.unit_price(part.flat_amount)}" if part.flat_amount else text
