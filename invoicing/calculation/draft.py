"""
From facts to a draft: the one function behind run, preview, estimate, realtime cost, rehearsal and verification.

Plain Python: no Django, no I/O, no clock. Money is whole minor units; each line is rounded once, the total is the sum
of rounded lines. Source: policies.md 1, 2, 5 and 14.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from billing_site.kernel.money import EXACT, round_to_minor
from billing_site.kernel.periods import Period
from catalog.pricing.engine import price_quantity
from invoicing.calculation.explain import explain_charge
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts
from metering.rating import rate_usage


class CurrencyMixed(ValueError):
    """A price in another currency than the invoice reached it."""


@dataclass(frozen=True, slots=True)
class DraftLine:
    """One line: `amount` in minor units, `exact_amount` before its only rounding, and how it came about."""

    charge: ChargeFacts
    description: str
    quantity: Decimal
    unit_amount: Decimal
    exact_amount: Decimal
    amount: int
    steps: tuple[dict[str, str], ...]

    @property
    def period(self) -> Period:
        return self.charge.period

    @property
    def trace(self) -> dict[str, Any]:
        """What is stored with the line: its facts and the readable steps."""
        return {"charge": self.charge.as_dict(), "steps": list(self.steps)}


@dataclass(frozen=True, slots=True)
class Draft:
    """An invoice that is not written yet. `total = subtotal - discount + tax`, all minor units."""

    facts: InvoiceFacts
    lines: tuple[DraftLine, ...]
    subtotal: int
    discount: int
    tax: int
    total: int

    @property
    def amount_due(self) -> int:
        """What is left to pay; a negative total leaves nothing."""
        return max(0, self.total)

    @property
    def period(self) -> Period:
        """The stretch that the lines cover together."""
        return Period(min(line.period.start for line in self.lines), max(line.period.end for line in self.lines))


def draft_invoice(facts: InvoiceFacts) -> Draft:
    """
    Return the draft that `facts` lead to; equal facts give an identical draft.

    A fee of amount zero and usage of quantity zero make no line. A draft may have no lines: nothing to bill.
    :raises CurrencyMixed: if a price is not in the invoice's currency.
    """
    lines = tuple(line for charge in facts.charges if (line := _draft_line(facts, charge)) is not None)
    subtotal = sum(line.amount for line in lines)
    return Draft(facts=facts, lines=lines, subtotal=subtotal, discount=0, tax=0, total=subtotal)


def _draft_line(facts: InvoiceFacts, charge: ChargeFacts) -> DraftLine | None:
    if charge.price.currency != facts.currency:
        raise CurrencyMixed(f"price {charge.price.lookup_key} is in {charge.price.currency}, not {facts.currency}")
    if charge.type == "usage":
        if charge.quantity == 0:
            return None
        exact = rate_usage(price=charge.price, quantity=charge.quantity).priced.amount_decimal
    else:
        if charge.price.unit_amount == 0:
            return None
        # A flat price is owed once per unit of the item: seats times fee.
        with localcontext(EXACT):
            exact = price_quantity(charge.price, Decimal(1)).amount_decimal * charge.quantity
    amount = round_to_minor(exact, mode=facts.rounding)
    return DraftLine(
        charge=charge,
        description=_describe(charge),
        quantity=charge.quantity,
        unit_amount=charge.price.unit_amount,
        exact_amount=exact,
        amount=amount,
        steps=explain_charge(charge, exact=exact, amount=amount, rounding=facts.rounding, timezone=facts.timezone),
    )


def _describe(charge: ChargeFacts) -> str:
    if charge.type == "usage":
        return f"{charge.plan_name} · {charge.meter_name}"
    return charge.plan_name
