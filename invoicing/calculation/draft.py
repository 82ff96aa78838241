"""
From facts to a draft: the one function behind run, preview, estimate, realtime cost, rehearsal and verification.

Plain Python: no Django, no I/O, no clock. Money is whole minor units; each line is rounded once, the total is the sum
of rounded lines. Source: policies.md 1, 2, 5 and 14.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from typing import Any, Final, Literal

from billing_site.kernel.money import EXACT, round_to_minor
from billing_site.kernel.periods import Period
from catalog.pricing.breakdown import PricedQuantity, PricedTier
from catalog.pricing.engine import price_usage
from catalog.pricing.terms import PriceOptions
from invoicing.calculation.explain import explain_charge, explain_true_up, has_parts
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts

LineKind = Literal["subscription", "usage", "one_off"]
_PLACES: Final = Decimal("1e-12")
_PLAIN: Final = PriceOptions()


class CurrencyMixed(ValueError):
    """A price in another currency than the invoice reached it."""


@dataclass(frozen=True, slots=True)
class DraftLine:
    """
    One line: `amount` in minor units, `exact_amount` before its only rounding, and how it came about.

    `unit_amount` is minor units per unit; where a price has no single one, what a unit came to on average.
    """

    charge: ChargeFacts
    type: LineKind
    description: str
    quantity: Decimal
    unit_amount: Decimal
    exact_amount: Decimal
    amount: int
    steps: tuple[dict[str, str], ...]
    tiers: tuple[PricedTier, ...] = ()

    @property
    def period(self) -> Period:
        return self.charge.period

    @property
    def trace(self) -> dict[str, Any]:
        """What is stored with the line: its facts, the readable steps, and the parts of a price that has several."""
        tiers = {"tiers": [tier.as_dict() for tier in self.tiers]} if has_parts(self.tiers) else {}
        return {"charge": self.charge.as_dict(), "steps": list(self.steps), **tiers}


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

    A fee of amount zero and usage that costs nothing because there was none make no line. A minimum that is not reached
    is a line of its own, after that of its usage. A draft may have no lines: nothing to bill.
    :raises CurrencyMixed: if a price is not in the invoice's currency.
    """
    lines = tuple(line for charge in facts.charges for line in _draft_lines(facts, charge))
    subtotal = sum(line.amount for line in lines)
    return Draft(facts=facts, lines=lines, subtotal=subtotal, discount=0, tax=0, total=subtotal)


def _draft_lines(facts: InvoiceFacts, charge: ChargeFacts) -> Iterator[DraftLine]:
    if charge.price.currency != facts.currency:
        raise CurrencyMixed(f"price {charge.price.lookup_key} is in {charge.price.currency}, not {facts.currency}")
    priced = _price(charge)
    exact, true_up = priced.amount_decimal, priced.true_up
    amount = round_to_minor(exact, mode=facts.rounding)
    if exact or true_up or (charge.type == "usage" and charge.quantity):
        yield DraftLine(
            charge=charge,
            type=charge.type,
            description=_describe(charge),
            quantity=charge.quantity,
            unit_amount=_compute_unit_amount(charge, exact),
            exact_amount=exact,
            amount=amount,
            steps=explain_charge(charge, priced, amount=amount, rounding=facts.rounding, timezone=facts.timezone),
            tiers=priced.tiers,
        )
    if true_up:
        amount = round_to_minor(true_up, mode=facts.rounding)
        yield DraftLine(
            charge=charge,
            type="one_off",
            description=f"{_describe(charge)} · minimum",
            quantity=Decimal(1),
            unit_amount=true_up.quantize(_PLACES, context=EXACT),
            exact_amount=true_up,
            amount=amount,
            steps=explain_true_up(charge, priced, amount=amount, rounding=facts.rounding),
        )


def _price(charge: ChargeFacts) -> PricedQuantity:
    """Price the charge; of part of a period, a fee and a minimum by their share. Source: policies, rules 9 and 16."""
    price, share = charge.price, charge.share
    if share is None:
        return price_usage(price, charge.usage)
    if charge.type == "usage":
        minimum = price.options.minimum_amount
        if minimum is not None:
            price = replace(price, options=replace(price.options, minimum_amount=share.of(minimum)))
        return price_usage(price, charge.usage)
    priced = price_usage(price, charge.usage)
    return PricedQuantity(share.of(priced.amount_decimal), priced.tiers)


def _compute_unit_amount(charge: ChargeFacts, exact: Decimal) -> Decimal:
    """Return the price of a unit: the one there is, else the average, to 12 decimals and for display only."""
    price = charge.price
    is_single = price.model == "per_unit" or (price.model == "flat" and not price.is_metered)
    if charge.share is None and ((is_single and price.options == _PLAIN) or (price.model == "flat" and not is_single)):
        return price.unit_amount
    if not charge.quantity:
        return Decimal(0)
    with localcontext(EXACT):
        return (exact / charge.quantity).quantize(_PLACES)


def _describe(charge: ChargeFacts) -> str:
    if charge.type == "usage":
        return f"{charge.plan_name} · {charge.meter_name}"
    return charge.plan_name
