"""
Charges that somebody entered: a line of a one-off invoice, or an item that waited for the next one.

They have no subscription item behind them. What they cost is `quantity × unit price`, or an amount; rounded once like
every line. Plain Python: no Django, no I/O, no clock. Source: policies, rule 2; contract chapter Invoices; ADR 0039.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from billing_site.kernel.money import EXACT, average_unit_amount, format_decimal
from billing_site.kernel.periods import local_date
from catalog.pricing.terms import PriceTerms
from invoicing.calculation.texts import format_exact, format_instant

if TYPE_CHECKING:
    from invoicing.calculation.facts import ChargeFacts


@dataclass(frozen=True, slots=True)
class GivenFacts:
    """
    What somebody entered: `id` tells it from any other, `description` is what the line says.

    `meter_id` is the public id of the meter that makes it a usage line.
    """

    id: str
    description: str
    meter_id: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form; what it does not have is left out."""
        shown = {"id": self.id, "description": self.description}
        return shown | {"meter_id": self.meter_id} if self.meter_id else shown

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GivenFacts:
        """Rebuild from the stored form."""
        return cls(data["id"], data["description"], data.get("meter_id", ""))


def make_given_price(
    *, currency: str, amount: int | None, unit_amount: Decimal | None, meter: str | None = None, unit: str | None = None
) -> PriceTerms:
    """
    Return the terms of a given charge: `amount` for all of it, or `unit_amount` for each unit, minor units.

    :raises ValueError: for both or none.
    """
    if (amount is None) == (unit_amount is None):
        raise ValueError("a given charge has an amount or a unit price, one of them")
    return PriceTerms(
        price_id="",
        model="flat" if unit_amount is None else "per_unit",
        currency=currency,
        unit_amount=Decimal(amount or 0) if unit_amount is None else unit_amount,
        meter=meter,
        unit=unit,
        interval="",
        interval_count=1,
        billing_timing="advance",
        lookup_key="",
    )


def price_given(price: PriceTerms, quantity: Decimal) -> Decimal:
    """Return the exact amount of a given charge in minor units; below zero where its price is."""
    return price.unit_amount if price.model == "flat" else EXACT.multiply(price.unit_amount, quantity)


def compute_given_unit(price: PriceTerms, quantity: Decimal) -> Decimal:
    """Return the price of a unit: the one given, else the average to 12 decimals, for display only."""
    return price.unit_amount if price.model == "per_unit" else average_unit_amount(price.unit_amount, quantity)


def explain_given(
    charge: ChargeFacts, *, exact: Decimal, amount: int, rounding: str, timezone: str
) -> tuple[dict[str, str], ...]:
    """Return the steps from what was entered to the amount of the line, in order; `rounding` names the rule."""
    price, zone, currency = charge.price, ZoneInfo(timezone), charge.price.currency
    start, end = local_date(charge.period.start, zone), local_date(charge.period.end, zone)
    by_unit = price.model == "per_unit"
    formula = f"{format_exact(charge.quantity)} × {format_exact(price.unit_amount)}" if by_unit else "the amount"
    stretch = f"{format_instant(charge.period.start)} up to, not including, {format_instant(charge.period.end)}"
    return tuple(
        {"title": title, "formula": text, "value": value}
        for title, text, value in (
            (
                "Entered",
                "quantity and unit price" if by_unit else "an amount",
                f"{format_exact(price.unit_amount)} minor units of {currency.upper()}{' per unit' if by_unit else ''}",
            ),
            ("Period", stretch, f"{start} to {end} in {timezone}"),
            ("Exact amount", formula, f"{format_exact(exact)} minor units"),
            (
                "Rounded once",
                f"to whole minor units, {rounding}",
                f"{amount} = {format_decimal(amount, currency)} {currency.upper()}",
            ),
        )
    )
