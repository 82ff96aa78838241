"""What a price says, and what pricing a quantity with it gives. Decimals travel as text in traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal


def to_text(value: Decimal) -> str:
    """Return a Decimal as plain text: no exponent, no trailing zeros (`0.00005`, `1200`, `0`)."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """
    One price as calculators see it.

    A fee has no `meter`: `unit_amount` is owed for the whole interval, per subscribed quantity. A usage price has one:
    `unit_amount` per `unit` of the meter. Amounts are exact minor units of `currency`; `price_id` is the public id.
    """

    price_id: str
    model: str
    currency: str
    unit_amount: Decimal
    meter: str | None
    unit: str | None
    interval: str
    interval_count: int
    billing_timing: str
    lookup_key: str

    def __post_init__(self) -> None:
        if not isinstance(self.unit_amount, Decimal):
            raise TypeError(f"unit_amount is a Decimal, not {type(self.unit_amount).__name__}")

    @property
    def is_metered(self) -> bool:
        return self.meter is not None

    def as_dict(self) -> dict[str, str | None]:
        """Return the terms as text, as traces store them."""
        return {
            "price_id": self.price_id,
            "model": self.model,
            "currency": self.currency,
            "unit_amount": to_text(self.unit_amount),
            "meter": self.meter,
            "unit": self.unit,
            "interval": self.interval,
            "interval_count": str(self.interval_count),
            "billing_timing": self.billing_timing,
            "lookup_key": self.lookup_key,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, str | None]) -> PriceTerms:
        """Return the terms that `as_dict` wrote. :raises KeyError: if one is missing."""
        return cls(
            price_id=str(stored["price_id"]),
            model=str(stored["model"]),
            currency=str(stored["currency"]),
            unit_amount=Decimal(str(stored["unit_amount"])),
            meter=stored["meter"],
            unit=stored["unit"],
            interval=str(stored["interval"]),
            interval_count=int(str(stored["interval_count"])),
            billing_timing=str(stored["billing_timing"]),
            lookup_key=str(stored["lookup_key"]),
        )


@dataclass(frozen=True, slots=True)
class PricedTier:
    """
    One step of a breakdown: `quantity` at `unit_amount` plus `flat_amount` makes `amount`, exact minor units.

    `up_to` is the inclusive cumulative bound of the tier, None for the last (or only) one.
    """

    quantity: Decimal
    unit_amount: Decimal
    amount: Decimal
    flat_amount: Decimal = Decimal(0)
    up_to: Decimal | None = None

    def as_dict(self) -> dict[str, str | None]:
        """Return the step as text, as traces store it."""
        return {
            "up_to": None if self.up_to is None else to_text(self.up_to),
            "quantity": to_text(self.quantity),
            "unit_amount": to_text(self.unit_amount),
            "flat_amount": to_text(self.flat_amount),
            "amount": to_text(self.amount),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, str | None]) -> PricedTier:
        """Return the step that `as_dict` wrote. :raises KeyError: if a member is missing."""
        up_to = stored["up_to"]
        return cls(
            quantity=Decimal(str(stored["quantity"])),
            unit_amount=Decimal(str(stored["unit_amount"])),
            amount=Decimal(str(stored["amount"])),
            flat_amount=Decimal(str(stored["flat_amount"])),
            up_to=None if up_to is None else Decimal(up_to),
        )


@dataclass(frozen=True, slots=True)
class PricedQuantity:
    """The exact, unrounded amount in minor units and how it came about. The tiers sum to `amount_decimal`."""

    amount_decimal: Decimal
    tiers: tuple[PricedTier, ...] = field(default=())
