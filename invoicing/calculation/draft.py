"""
From facts to a draft: the one function behind run, preview, estimate, realtime cost, rehearsal and verification.

Plain Python: no Django, no I/O, no clock. Money is whole minor units; each line is rounded once, the total is the sum
of rounded lines, less what discounts take off them, and tax. Source: policies.md 1, 2, 5, 14, 16, 20 and 21.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from billing_site.kernel.money import EXACT, allocate, average_unit_amount, round_to_minor
from billing_site.kernel.periods import Period, local_date
from catalog.pricing.breakdown import PricedQuantity, PricedTier
from invoicing.calculation.billed import BilledFacts, split_rest, take_own_discounts
from invoicing.calculation.centers import CenterShare, split_amount
from invoicing.calculation.charge_prices import compute_unit_amount, describe_charge, measure_maximum, price_charge
from invoicing.calculation.discounts import LineBase, Reduction, apply_discounts
from invoicing.calculation.explain import (
    ROUNDING_NAMES,
    explain_billed,
    explain_centers,
    explain_charge,
    explain_discounts,
    explain_true_up,
    explain_true_up_before,
    has_parts,
)
from invoicing.calculation.explain_taxes import explain_taxes
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts
from invoicing.calculation.given import GivenFacts, compute_given_unit, explain_given, price_given
from invoicing.calculation.taxes import LineTax, TaxBase, TaxLine, TaxResult, compute_taxes, extract_tax
from invoicing.calculation.wording import MINIMUM, join_words

LineKind = Literal["subscription", "usage", "one_off", "proration"]
# A minimum is owed whatever discounts there are, and a proration is net of the discounts of what it gives back. What
# somebody entered is reduced, whatever its type.
DISCOUNTED_TYPES: Final = ("subscription", "usage")


class CurrencyMixed(ValueError):
    """A price or a discount in another currency than the invoice reached it."""


@dataclass(frozen=True, slots=True)
class DraftLine:
    """
    One line: `amount` in minor units, `exact_amount` before its only rounding, and how it came about.

    `unit_amount` is minor units per unit; where a price has no single one, what a unit came to on average. `gross` is
    the amount without the maximum of the price. `discount` is what `reductions` take off; `amount` is before them.
    Of a price that includes tax, both are without it: `included` and `discount_included` are the tax inside them.
    `taxes` are the line's shares in the tax lines of the draft, in their order.
    `splits` share the amount out to cost centers, where the account asks for it and the usage names some.
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
    gross: int = 0
    reductions: tuple[Reduction, ...] = ()
    splits: tuple[CenterShare, ...] = ()
    taxes: tuple[int, ...] = ()
    included: int = 0
    discount_included: int = 0

    @property
    def period(self) -> Period:
        return self.charge.period

    @property
    def discount(self) -> int:
        """What the discounts take off, zero or more minor units."""
        return sum(reduction.amount for reduction in self.reductions) - self.discount_included

    @property
    def net(self) -> int:
        """What is left of the amount after discounts, without tax."""
        return self.amount - self.discount

    @property
    def tax(self) -> int:
        """The tax on what is left."""
        return sum(self.taxes)

    @property
    def trace(self) -> dict[str, Any]:
        """What is stored with the line: its facts, the readable steps, and the parts of a price that has several."""
        return self.make_trace()

    def make_trace(self, show_charge: Callable[[ChargeFacts], Any] = ChargeFacts.as_dict) -> dict[str, Any]:
        """Return the trace; `show_charge` gives the stored form of the charge, for those who have it already."""
        tiers = {"tiers": [tier.as_dict() for tier in self.tiers]} if has_parts(self.tiers) else {}
        taken = [{"id": each.discount.id, "amount": str(each.amount)} for each in self.reductions]
        discounts = {"discounts": taken} if taken else {}
        included = {"tax_included": str(self.included)} if self.included else {}
        return {"charge": show_charge(self.charge), "steps": list(self.steps), **tiers, **discounts, **included}


@dataclass(frozen=True, slots=True)
class Draft:
    """
    An invoice that is not written yet. `total = subtotal - discount + tax`, all minor units; `taxes` is tax by rate.
    """

    facts: InvoiceFacts
    lines: tuple[DraftLine, ...]
    subtotal: int
    discount: int
    tax: int
    total: int
    taxes: tuple[TaxLine, ...] = ()

    @property
    def amount_due(self) -> int:
        """What is left to pay; a negative total leaves nothing."""
        return max(0, self.total)

    @property
    def discount_name(self) -> str:
        """The names of the discounts that took something off, in the order in which they did."""
        taken = [each for line in self.lines for each in line.reductions if each.total]
        named = {each.discount.id: each.discount for each in taken}
        ranked = sorted(named.values(), key=lambda each: each.rank)
        return " + ".join(dict.fromkeys(each.name for each in ranked if each.name))

    @property
    def period(self) -> Period:
        """
        The stretch that the lines cover together; without lines, the one that the facts name.

        That of late usage counts only where there is nothing else.
        """
        if not self.lines and self.facts.period is not None:
            return self.facts.period
        periods = [line.period for line in self.lines if not line.charge.is_late]
        periods = periods or [line.period for line in self.lines]
        return Period(min(period.start for period in periods), max(period.end for period in periods))


def draft_invoice(facts: InvoiceFacts) -> Draft:
    """
    Return the draft that `facts` lead to; equal facts give an identical draft.

    A fee of amount zero and usage that costs nothing because there was none make no line. A minimum that is not reached
    is a line of its own, after that of its usage. Discounts reduce fees and usage, never a minimum; tax is on what they
    leave of each line. A draft may have no lines: nothing to bill.
    :raises CurrencyMixed: if a price or a discount is not in the invoice's currency.
    """
    lines = [line for charge in facts.charges for line in _draft_lines(facts, charge)]
    if facts.discounts:
        lines = _discount(facts, lines)
    taxes: tuple[TaxLine, ...] = ()
    if facts.tax is not None:
        lines, taxes = _tax(facts, lines)
    subtotal, discount = sum(line.amount for line in lines), sum(line.discount for line in lines)
    tax = sum(each.amount for each in taxes)
    return Draft(
        facts=facts,
        lines=tuple(lines),
        subtotal=subtotal,
        discount=discount,
        tax=tax,
        total=subtotal - discount + tax,
        taxes=taxes,
    )


def _discount(facts: InvoiceFacts, lines: Sequence[DraftLine]) -> list[DraftLine]:
    for discount in facts.discounts:
        if discount.amount_off is not None and discount.currency != facts.currency:
            raise CurrencyMixed(f"discount {discount.id} is in {discount.currency}, not {facts.currency}")
    bases = [
        LineBase(
            amount=line.amount,
            gross=line.gross,
            plan=line.charge.plan_id,
            meter=line.charge.price.meter,
            is_open=(line.type in DISCOUNTED_TYPES and not line.charge.is_rest) or line.charge.given is not None,
            subscription=line.charge.subscription,
        )
        for line in lines
    ]
    taken = apply_discounts(bases, facts.discounts, rounding=facts.rounding)
    return [
        replace(
            line,
            reductions=tuple(reductions),
            steps=(*line.steps, *explain_discounts(reductions, currency=facts.currency)),
        )
        if reductions
        else line
        for line, reductions in zip(lines, taken, strict=True)
    ]


def _tax(facts: InvoiceFacts, lines: Sequence[DraftLine]) -> tuple[list[DraftLine], tuple[TaxLine, ...]]:
    """Tax the lines; amounts of prices that include tax are without it from here on."""
    if facts.tax is None:
        raise ValueError("nothing says how the invoice is taxed")
    zone = ZoneInfo(facts.timezone)
    bases = [TaxBase(line.net, facts.tax.find_rates(find_tax_day(line.period, zone))) for line in lines]
    result = compute_taxes(bases, mode=facts.tax.mode, note=facts.tax.note, rounding=facts.rounding)
    found = [
        _tax_line(facts, line, base, result, taxed)
        for line, base, taxed in zip(lines, bases, result.lines, strict=True)
    ]
    return found, result.taxes


def _tax_line(facts: InvoiceFacts, line: DraftLine, base: TaxBase, result: TaxResult, taxed: LineTax) -> DraftLine:
    inside = extract_tax(line.discount, base.rates, rounding=facts.rounding)
    amount = taxed.net + line.discount - inside
    included = line.amount - amount
    steps = explain_taxes(facts, base, result.taxes, taxed)
    splits = line.splits
    if included and splits:
        if line.charge.is_rest:
            parts = allocate(included, [abs(split.amount) for split in splits])
            splits = tuple(
                replace(split, amount=split.amount - part) for split, part in zip(splits, parts, strict=True)
            )
        else:
            splits = split_amount(amount, line.charge.centers)
        steps = (*steps, *explain_centers(splits, currency=facts.currency))
    return replace(
        line,
        amount=amount,
        taxes=taxed.shares,
        included=included,
        discount_included=inside,
        splits=splits,
        steps=(*line.steps, *steps),
    )


def find_tax_day(period: Period, zone: ZoneInfo) -> date:
    """Return the last day of a period, on which what it pays for is complete; of an empty one its day."""
    return local_date(max(period.start, period.end - timedelta(microseconds=1)), zone)


def _draft_lines(facts: InvoiceFacts, charge: ChargeFacts) -> Iterator[DraftLine]:
    if charge.price.currency != facts.currency:
        raise CurrencyMixed(f"price {charge.price.lookup_key} is in {charge.price.currency}, not {facts.currency}")
    if charge.given is not None:
        yield _draft_given(facts, charge, charge.given)
        return
    priced = price_charge(charge)
    if charge.billed is not None and charge.is_rest:
        yield from _draft_rest(facts, charge, charge.billed, priced)
        return
    exact, true_up = priced.amount_decimal, priced.true_up
    amount = round_to_minor(exact, mode=facts.rounding)
    if exact or (true_up and not charge.is_interim) or (charge.type == "usage" and charge.quantity):
        splits = split_amount(amount, charge.centers)
        steps = explain_charge(charge, priced, amount=amount, rounding=facts.rounding, timezone=facts.timezone)
        yield DraftLine(
            charge=charge,
            type=charge.type,
            description=describe_charge(charge),
            quantity=charge.quantity,
            unit_amount=compute_unit_amount(charge, exact),
            exact_amount=exact,
            amount=amount,
            steps=(*steps, *explain_centers(splits, currency=facts.currency)),
            tiers=priced.tiers,
            gross=round_to_minor(EXACT.subtract(exact, measure_maximum(charge, priced)), mode=facts.rounding),
            splits=splits,
        )
    yield from _draft_true_up(facts, charge, priced)


def _draft_true_up(facts: InvoiceFacts, charge: ChargeFacts, priced: PricedQuantity) -> Iterator[DraftLine]:
    """Yield the line of what makes up for a minimum, less what was asked for that before. Source: policies, rule 16."""
    if charge.billed is not None and charge.billed.kind == "interim":
        return  # owed when the period ends
    whole = round_to_minor(priced.true_up, mode=facts.rounding)
    before = charge.billed.true_up if charge.billed is not None else 0
    if not (priced.true_up if charge.billed is None else whole - before):
        return
    exact = EXACT.subtract(priced.true_up, Decimal(before))
    yield DraftLine(
        charge=charge,
        type="one_off",
        description=join_words(describe_charge(charge), MINIMUM),
        quantity=Decimal(1),
        unit_amount=average_unit_amount(exact),
        exact_amount=exact,
        amount=whole - before,
        steps=(
            *explain_true_up(charge, priced, amount=whole, rounding=facts.rounding),
            *explain_true_up_before(charge, whole),
        ),
    )


def _draft_rest(
    facts: InvoiceFacts, charge: ChargeFacts, billed: BilledFacts, priced: PricedQuantity
) -> Iterator[DraftLine]:
    """
    Yield what is left of usage that was billed before: the whole, net of its own discounts, without what was billed.

    Below zero when less was used than billed, or at a price that fell with the quantity. Source: policies, rules 17
    and 19.
    """
    whole = round_to_minor(priced.amount_decimal, mode=facts.rounding)
    gross = EXACT.subtract(priced.amount_decimal, measure_maximum(charge, priced))
    base = LineBase(whole, round_to_minor(gross, mode=facts.rounding), charge.plan_id, charge.price.meter)
    taken = take_own_discounts(billed, base, rounding=facts.rounding)
    net = taken[-1].left if taken else whole
    amount, quantity = net - billed.amount, EXACT.subtract(charge.quantity, billed.quantity)
    if amount or quantity:
        splits = split_rest(net, charge.centers, billed)
        yield DraftLine(
            charge=charge,
            type="usage",
            description=describe_charge(charge),
            quantity=quantity,
            unit_amount=average_unit_amount(Decimal(amount), quantity),
            exact_amount=Decimal(amount),
            amount=amount,
            steps=(
                *explain_charge(charge, priced, amount=whole, rounding=facts.rounding, timezone=facts.timezone),
                *explain_discounts(taken, currency=facts.currency),
                *explain_billed(charge, billed, net=net),
                *explain_centers(splits, currency=facts.currency),
            ),
            tiers=priced.tiers,
            gross=amount,
            splits=splits,
        )
    yield from _draft_true_up(facts, charge, priced)


def _draft_given(facts: InvoiceFacts, charge: ChargeFacts, given: GivenFacts) -> DraftLine:
    """Return the line of a given charge; one over nothing is a line too, for somebody wanted it there."""
    exact = price_given(charge.price, charge.quantity)
    amount = round_to_minor(exact, mode=facts.rounding)
    splits = split_amount(amount, charge.centers)
    steps = explain_given(
        charge, exact=exact, amount=amount, rounding=ROUNDING_NAMES[facts.rounding], timezone=facts.timezone
    )
    return DraftLine(
        charge=charge,
        type=charge.type,
        description=given.description,
        quantity=charge.quantity,
        unit_amount=compute_given_unit(charge.price, charge.quantity),
        exact_amount=exact,
        amount=amount,
        steps=(*steps, *explain_centers(splits, currency=facts.currency)),
        gross=amount,
        splits=splits,
    )
