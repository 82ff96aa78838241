"""
What a credit note is computed from: the invoice as it was issued, what earlier notes credited, and what is asked for.

Facts have a dictionary form of strings, whole numbers and lists, which is stored as the trace of the note; `from_dict`
of it gives equal facts. Amounts are whole minor units. Plain Python: no Django, no I/O, no clock.
Source: policies, rules 12, 25 and 26; contract chapter Refunds and credit notes; ADR 0041.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from billing_site.kernel.money import RoundingMode
from invoicing.calculation.texts import format_exact
from invoicing.calculation.unused import UnusedFacts

CREDIT_TRACE_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class InvoicedLine:
    """
    A line of the invoice: `net` is its amount after discounts and without tax, `credited` what notes took of that.

    Both are below zero on a line that gave something back. `rates` are the ids of the tax rates that it bears.
    """

    id: str
    description: str
    net: int
    credited: int = 0
    rates: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        """What notes have not credited yet."""
        return self.net - self.credited

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "id": self.id,
            "description": self.description,
            "net": self.net,
            "credited": self.credited,
            **({"rates": list(self.rates)} if self.rates else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> InvoicedLine:
        """Rebuild from the stored form."""
        return cls(
            data["id"], data["description"], int(data["net"]), int(data["credited"]), tuple(data.get("rates") or ())
        )


@dataclass(frozen=True, slots=True)
class InvoicedRate:
    """
    One tax rate of the invoice: `base` is the net amount that bears it, `amount` the tax that was invoiced.

    `rate` is a fraction of the net amount (0.2 for 20 %), whether prices include the tax or not. `credited_base` and
    `credited` are what earlier notes took of the two.
    """

    id: str
    name: str
    rate: Decimal
    base: int
    amount: int
    credited_base: int = 0
    credited: int = 0

    @property
    def base_left(self) -> int:
        return self.base - self.credited_base

    @property
    def left(self) -> int:
        """The tax that notes have not credited yet."""
        return self.amount - self.credited

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "id": self.id,
            "name": self.name,
            "rate": format_exact(self.rate),
            "base": self.base,
            "amount": self.amount,
            "credited_base": self.credited_base,
            "credited": self.credited,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> InvoicedRate:
        """Rebuild from the stored form."""
        return cls(
            id=data["id"],
            name=data["name"],
            rate=Decimal(data["rate"]),
            base=int(data["base"]),
            amount=int(data["amount"]),
            credited_base=int(data["credited_base"]),
            credited=int(data["credited"]),
        )


@dataclass(frozen=True, slots=True)
class WantedLine:
    """
    A net amount to credit: of one line of the invoice (`line`, its id), or spread over all of them without one.

    Without an amount it is everything that is left of the line. `description`, `quantity` and `unit_amount` are what
    the note prints; empty, it prints the invoice's description. `unused` time of a line is worth what its facts say,
    `amount` where a part of it was given back before; no more is taken than there is room for.
    """

    line: str = ""
    amount: int | None = None
    description: str = ""
    quantity: Decimal | None = None
    unit_amount: Decimal | None = None
    unused: UnusedFacts | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form; what is not said is left out."""
        shown: dict[str, Any] = {"line": self.line, "amount": self.amount, "description": self.description}
        if self.quantity is not None:
            shown["quantity"] = format_exact(self.quantity)
        if self.unit_amount is not None:
            shown["unit_amount"] = format_exact(self.unit_amount)
        if self.unused is not None:
            shown["unused"] = self.unused.as_dict()
        return {key: value for key, value in shown.items() if value not in (None, "")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WantedLine:
        """Rebuild from the stored form."""
        amount, quantity, unit = data.get("amount"), data.get("quantity"), data.get("unit_amount")
        return cls(
            line=data.get("line", ""),
            amount=None if amount is None else int(amount),
            description=data.get("description", ""),
            quantity=None if quantity is None else Decimal(quantity),
            unit_amount=None if unit is None else Decimal(unit),
            unused=UnusedFacts.from_dict(data["unused"]) if data.get("unused") else None,
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """
    What to credit: single lines (net), an amount with its tax spread over what is left beside them, or everything left.
    """

    lines: tuple[WantedLine, ...] = ()
    amount: int = 0
    everything: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "lines": [line.as_dict() for line in self.lines],
            "amount": self.amount,
            "everything": self.everything,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Wish:
        """Rebuild from the stored form."""
        lines = tuple(WantedLine.from_dict(line) for line in data["lines"])
        return cls(lines, int(data["amount"]), bool(data["everything"]))


@dataclass(frozen=True, slots=True)
class CreditFacts:
    """All facts of one credit note."""

    currency: str
    lines: tuple[InvoicedLine, ...]
    rates: tuple[InvoicedRate, ...]
    wish: Wish
    rounding: RoundingMode = "half_up"

    @property
    def total(self) -> int:
        """What was invoiced, tax included."""
        return sum(line.net for line in self.lines) + sum(rate.amount for rate in self.rates)

    @property
    def left(self) -> int:
        """What notes have not credited yet, tax included."""
        return sum(line.left for line in self.lines) + sum(rate.left for rate in self.rates)

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "version": CREDIT_TRACE_VERSION,
            "currency": self.currency,
            "rounding": self.rounding,
            "lines": [line.as_dict() for line in self.lines],
            "rates": [rate.as_dict() for rate in self.rates],
            "wish": self.wish.as_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CreditFacts:
        """
        Rebuild from the stored form.

        :raises ValueError: for a trace of another version.
        """
        if data.get("version") != CREDIT_TRACE_VERSION:
            raise ValueError(f"trace of version {data.get('version')!r}, this engine reads {CREDIT_TRACE_VERSION}")
        return cls(
            currency=data["currency"],
            lines=tuple(InvoicedLine.from_dict(line) for line in data["lines"]),
            rates=tuple(InvoicedRate.from_dict(rate) for rate in data["rates"]),
            wish=Wish.from_dict(data["wish"]),
            rounding=data["rounding"],
        )
