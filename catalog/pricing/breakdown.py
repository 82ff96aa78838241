"""What pricing gives: an exact amount, and the steps that sum to it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

ZERO: Final = Decimal(0)


def to_text(value: Decimal) -> str:
    """Return a Decimal as plain text: no exponent, no trailing zeros (`0.00005`, `1200`, `0`)."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


class PricedTier(NamedTuple):
    """
    One step of a breakdown: `quantity` at `unit_amount` plus `flat_amount` makes `amount`, exact minor units.

    `up_to` is the inclusive cumulative bound of the tier, None for the last (or only) one. `kind` says what the step
    is: a tier, free units, packages, a percentage, a part per event, what a bound per event changed, or the maximum.
    `variant` names the dimensions of a dimensional price.
    """

    quantity: Decimal
    unit_amount: Decimal
    amount: Decimal
    flat_amount: Decimal = ZERO
    up_to: Decimal | None = None
    kind: str = "tier"
    variant: str = ""

    def as_dict(self) -> dict[str, str | None]:
        """Return the step as text, as traces store it."""
        shown = {
            "up_to": None if self.up_to is None else to_text(self.up_to),
            "quantity": to_text(self.quantity),
            "unit_amount": to_text(self.unit_amount),
            "flat_amount": to_text(self.flat_amount),
            "amount": to_text(self.amount),
        }
        if self.kind != "tier":
            shown["kind"] = self.kind
        if self.variant:
            shown["variant"] = self.variant
        return shown

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> PricedTier:
        """Return the step that `as_dict` wrote. :raises KeyError: if a member is missing."""
        up_to = stored["up_to"]
        return cls(
            quantity=Decimal(str(stored["quantity"])),
            unit_amount=Decimal(str(stored["unit_amount"])),
            amount=Decimal(str(stored["amount"])),
            flat_amount=Decimal(str(stored["flat_amount"])),
            up_to=None if up_to is None else Decimal(up_to),
            kind=str(stored.get("kind") or "tier"),
            variant=str(stored.get("variant") or ""),
        )


class PricedQuantity(NamedTuple):
    """
    The exact, unrounded amount in minor units and how it came about. The tiers sum to `amount_decimal`.

    `true_up` is what a minimum adds on top, as a charge of its own; it is not part of `amount_decimal`.
    """

    amount_decimal: Decimal
    tiers: tuple[PricedTier, ...] = ()
    true_up: Decimal = ZERO
