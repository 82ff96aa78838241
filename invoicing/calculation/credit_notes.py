"""
From an issued invoice to a credit note: net and tax at the original rates, never more than what is left of them.

Plain Python: no Django, no I/O, no clock. Money is whole minor units. The net amount of each line and the tax of each
rate are rounded on their own; when a note credits all that was left under a rate, it takes the rest of its tax, so that
the notes of an invoice sum to it to the cent. Source: policies, rules 3, 12 and 25; ADR 0041.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from billing_site.kernel.money import EXACT, allocate, format_decimal, round_to_minor
from invoicing.calculation.credit_facts import CreditFacts, InvoicedLine, InvoicedRate, WantedLine
from invoicing.calculation.explain import ROUNDING_NAMES
from invoicing.calculation.texts import format_exact
from invoicing.calculation.unused import UnusedFacts

Step = dict[str, str]


class NothingToCredit(ValueError):
    """What is asked for comes to nothing, or below it."""


class CreditExceeds(ValueError):
    """More is asked for than is left; `creditable` is what would be possible there, minor units."""

    def __init__(self, what: str, creditable: int) -> None:
        super().__init__(what)
        self.creditable = max(0, creditable)


class LineUnknown(ValueError):
    """The invoice has no such line."""


@dataclass(frozen=True, slots=True)
class CreditedLine:
    """The net amount that a note credits of one line, and how that came about; what is printed may be said."""

    line: InvoicedLine
    amount: int
    description: str
    steps: tuple[Step, ...]
    quantity: Decimal | None = None
    unit_amount: Decimal | None = None
    wanted: WantedLine | None = None

    @property
    def unused(self) -> UnusedFacts | None:
        """The unused time that the line gives back, if it is for that."""
        return None if self.wanted is None else self.wanted.unused

    @property
    def trace(self) -> dict[str, Any]:
        """What is stored with the line."""
        unused = {} if self.unused is None else {"unused": self.unused.as_dict()}
        return {"steps": list(self.steps), **unused}


@dataclass(frozen=True, slots=True)
class CreditedTax:
    """The tax of one rate that a note credits, on `base`."""

    rate: InvoicedRate
    base: int
    amount: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class CreditDraft:
    """A credit note that is not written yet: `total = subtotal + tax`, all minor units."""

    facts: CreditFacts
    lines: tuple[CreditedLine, ...]
    taxes: tuple[CreditedTax, ...]

    @property
    def subtotal(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def tax(self) -> int:
        return sum(tax.amount for tax in self.taxes)

    @property
    def total(self) -> int:
        return self.subtotal + self.tax


class _Part(NamedTuple):
    """A net amount taken of a line for a wish (None: the amount with tax), and out of what it was shared."""

    line: InvoicedLine
    amount: int
    wanted: WantedLine | None
    shared: int | None = None


class _Taken(NamedTuple):
    base: int
    amount: int
    step: Step


def draft_credit_note(facts: CreditFacts) -> CreditDraft:
    """
    Return the credit note that `facts` lead to; equal facts give an identical note.

    :raises LineUnknown: for a line that the invoice does not have.
    :raises CreditExceeds: for more than is left of a line, of a tax rate or of the invoice.
    :raises NothingToCredit: when it comes to zero or less.
    """
    return _Crediting(facts).draft()


class _Crediting:
    """What is left while one note takes of it: net by line, base and tax by rate."""

    def __init__(self, facts: CreditFacts) -> None:
        self.facts = facts
        self.lines = {line.id: line for line in facts.lines}
        self.left = {line.id: line.left for line in facts.lines}
        self.base_left = {rate.id: rate.base_left for rate in facts.rates}
        self.tax_left = {rate.id: rate.left for rate in facts.rates}
        self.parts: list[_Part] = []
        self.taken: dict[str, list[_Taken]] = defaultdict(list)

    def draft(self) -> CreditDraft:
        """Take what is wished for and return the note."""
        wish = self.facts.wish
        if wish.everything:
            self._take_everything()
        else:
            for wanted in wish.lines:
                self._take_wanted(wanted)
            self._tax_parts()
            if wish.amount:
                self._take_with_tax(wish.amount)
        found = CreditDraft(self.facts, tuple(self._list_lines()), tuple(self._list_taxes()))
        if found.total <= 0:
            raise NothingToCredit("nothing is left to credit" if wish.everything else "nothing to credit")
        if found.total > self.facts.left or found.tax > max(0, sum(rate.left for rate in self.facts.rates)):
            raise CreditExceeds("more than is left of the invoice", self.facts.left)
        return found

    # ---- net amounts ------------------------------------------------------------------------------------------------
    def _take_wanted(self, wanted: WantedLine) -> None:
        if not wanted.line:
            self._spread(wanted)
            return
        line = self.lines.get(wanted.line)
        if line is None:
            raise LineUnknown(wanted.line)
        if wanted.unused is not None:
            self._take_unused(line, wanted, wanted.unused)
            return
        left = self.left[line.id]
        amount = left if wanted.amount is None else wanted.amount
        # A line below zero is credited below zero; either is bounded by what is left of it.
        if amount * line.net < 0 or abs(amount) > abs(left):
            raise CreditExceeds(f"more than is left of {line.description}", left)
        self._take(line, amount, wanted)

    def _take_unused(self, line: InvoicedLine, wanted: WantedLine, unused: UnusedFacts) -> None:
        """Take what unused time is worth, as far as line, invoice and rates go; what is beyond is not this note's."""
        amount = unused.measure(rounding=self.facts.rounding) if wanted.amount is None else wanted.amount
        taken: dict[str, int] = defaultdict(int)
        for part in self.parts:
            for rate in part.line.rates:
                taken[rate] += part.amount
        under = [
            self.base_left[rate.id] - taken[rate.id]
            for rate in self.facts.rates
            if rate.id in line.rates and rate.base > 0
        ]
        room = min(self.left[line.id], sum(self.left.values()), *under)
        self._take(line, max(0, min(amount, room)), wanted)

    def _spread(self, wanted: WantedLine) -> None:
        """Take a net amount of all lines by what is left of each, largest remainder."""
        open_lines = self._list_open()
        whole = sum(self.left[line.id] for line in open_lines)
        amount = whole if wanted.amount is None else wanted.amount
        if not 0 <= amount <= whole:
            raise CreditExceeds("more than is left of the lines", whole)
        self._share(amount, wanted)

    def _share(self, amount: int, wanted: WantedLine | None) -> None:
        """Spread `amount` over the open lines; it is zero when there are none."""
        open_lines = self._list_open()
        if not open_lines:
            return
        shares = allocate(amount, [self.left[line.id] for line in open_lines])
        for line, share in zip(open_lines, shares, strict=True):
            self._take(line, share, wanted, shared=amount if len(open_lines) > 1 else None)

    def _list_open(self) -> list[InvoicedLine]:
        return [line for line in self.facts.lines if self.left[line.id] > 0]

    def _take(self, line: InvoicedLine, amount: int, wanted: WantedLine | None, *, shared: int | None = None) -> None:
        if amount:
            self.left[line.id] -= amount
            self.parts.append(_Part(line, amount, wanted, shared))

    # ---- tax --------------------------------------------------------------------------------------------------------
    def _tax_parts(self) -> None:
        """Take the tax on what was taken: by the rate, or the rest of it with the rest of what it was computed on."""
        for rate, base in self._sum_bases(self.parts):
            left, base_left = self.tax_left[rate.id], self.base_left[rate.id]
            if rate.base > 0 and base > base_left:
                raise CreditExceeds(f"more than is left under {rate.name}", base_left)
            if base == base_left:
                self._take_tax(rate, base, left, _rest_step(rate, left, self.facts.currency))
                continue
            exact = _multiply(rate.rate, base)
            rounded = round_to_minor(exact, mode=self.facts.rounding)
            amount = _limit(rounded, left)
            self._take_tax(rate, base, amount, self._rate_step(rate, base, exact, amount))

    def _take_tax(self, rate: InvoicedRate, base: int, amount: int, step: Step) -> None:
        self.base_left[rate.id] -= base
        self.tax_left[rate.id] -= amount
        if base or amount:
            self.taken[rate.id].append(_Taken(base, amount, step))

    def _sum_bases(self, parts: Iterable[_Part]) -> list[tuple[InvoicedRate, int]]:
        bases: dict[str, int] = defaultdict(int)
        for part in parts:
            for rate in part.line.rates:
                bases[rate] += part.amount
        return [(rate, bases[rate.id]) for rate in self.facts.rates if rate.id in bases]

    # ---- with tax ---------------------------------------------------------------------------------------------------
    def _take_everything(self) -> None:
        """Take what is left of every line, of those below zero too, and of every rate."""
        for line in self.facts.lines:
            self._take(line, self.left[line.id], None)
        for rate in self.facts.rates:
            left = self.tax_left[rate.id]
            self._take_tax(rate, self.base_left[rate.id], left, _rest_step(rate, left, self.facts.currency))

    def _take_with_tax(self, amount: int) -> None:
        """
        Take `amount` with its tax, of every line the same share of what is left of it.

        The net part is rounded once and shared by largest remainder; what remains is the tax, shared by what each rate
        makes of its part and never more than is left of it.
        """
        whole = sum(self.left.values()) + sum(self.tax_left.values())
        if amount > whole:
            raise CreditExceeds("more than is left of the invoice", whole)
        if amount == whole:
            self._take_everything()
            return
        open_lines = self._list_open()
        net_left = sum(self.left[line.id] for line in open_lines)
        tax_left = sum(max(0, left) for left in self.tax_left.values())
        rates = {rate.id: rate.rate for rate in self.facts.rates}
        with localcontext(EXACT):
            gross = sum(
                (
                    self.left[line.id] * (1 + sum((rates[rate] for rate in line.rates), Decimal(0)))
                    for line in open_lines
                ),
                Decimal(0),
            )
            exact = amount * net_left / gross if gross else Decimal(0)
        net = round_to_minor(exact, mode=self.facts.rounding)
        net = max(min(net, net_left, sum(self.left.values()), amount), amount - tax_left)
        first = len(self.parts)
        self._share(net, None)
        self._share_tax(amount - net, self.parts[first:])

    def _share_tax(self, amount: int, parts: Iterable[_Part]) -> None:
        bases = {rate.id: base for rate, base in self._sum_bases(parts)}
        room = {rate.id: max(0, self.tax_left[rate.id]) for rate in self.facts.rates}
        exact = [_multiply(rate.rate, bases.get(rate.id, 0)) for rate in self.facts.rates]
        if amount == 0 and not bases:
            return
        if not any(exact):
            exact = [Decimal(left) for left in room.values()]
        shares = allocate(amount, exact) if exact else []
        taken = {key: min(share, room[key]) for key, share in zip(room, shares, strict=True)}
        rest = amount - sum(taken.values())
        for key, most in room.items():
            more = min(rest, most - taken[key])
            taken[key], rest = taken[key] + more, rest - more
        for rate in self.facts.rates:
            base = bases.get(rate.id, 0)
            step = self._rate_step(rate, base, _multiply(rate.rate, base), taken[rate.id])
            self._take_tax(rate, base, taken[rate.id], step)

    # ---- what it came to --------------------------------------------------------------------------------------------
    def _list_lines(self) -> Iterable[CreditedLine]:
        for part in self.parts:
            wanted = part.wanted or WantedLine()
            name = wanted.description
            if name and not wanted.line and name != part.line.description:
                name = f"{name} · {part.line.description}"
            is_whole = wanted.line != ""
            yield CreditedLine(
                line=part.line,
                amount=part.amount,
                description=name or part.line.description,
                steps=(*self._unused_steps(wanted), self._line_step(part)),
                quantity=wanted.quantity if is_whole else None,
                unit_amount=wanted.unit_amount if is_whole else None,
                wanted=part.wanted,
            )

    def _list_taxes(self) -> Iterable[CreditedTax]:
        for rate in self.facts.rates:
            if taken := self.taken.get(rate.id):
                yield CreditedTax(
                    rate=rate,
                    base=sum(each.base for each in taken),
                    amount=sum(each.amount for each in taken),
                    steps=tuple(each.step for each in taken),
                )

    def _unused_steps(self, wanted: WantedLine) -> Iterable[Step]:
        unused = wanted.unused
        if unused is None:
            return
        currency = self.facts.currency
        formula = f"{format_exact(unused.fee)} × {unused.share.text}"
        if unused.net != unused.gross:
            formula += f" × {_show(unused.net, currency)} / {_show(unused.gross, currency)} without tax"
        amount = unused.measure(rounding=self.facts.rounding)
        formula += f" = {format_exact(unused.exact_amount)} minor units, {ROUNDING_NAMES[self.facts.rounding]}"
        yield _step("Unused time", formula, f"{amount} = {_show(amount, currency)} {currency.upper()}")
        if wanted.amount is not None:
            formula = f"{_show(unused.given, currency)} credited on a later line, and never more than was left of that"
            yield _step("The rest of it", formula, f"{wanted.amount} = {_show(wanted.amount, currency)}")

    def _line_step(self, part: _Part) -> Step:
        currency, line = self.facts.currency, part.line
        formula = f"of {_show(line.net, currency)} invoiced"
        if line.credited:
            formula += f", {_show(line.credited, currency)} credited before"
        if part.shared is not None:
            formula += f"; its share of {_show(part.shared, currency)}, by largest remainder"
        return _step("Credited", formula, f"{part.amount} = {_show(part.amount, currency)} {currency.upper()}")

    def _rate_step(self, rate: InvoicedRate, base: int, exact: Decimal, amount: int) -> Step:
        currency = self.facts.currency
        formula = (
            f"{format_exact(_multiply(rate.rate, 100))} % of {_show(base, currency)} = {format_exact(exact)} minor"
            f" units, {ROUNDING_NAMES[self.facts.rounding]}, at most {_show(rate.left, currency)}"
        )
        return _step(f"Tax {rate.name}".rstrip(), formula, f"{amount} = {_show(amount, currency)} {currency.upper()}")


def _rest_step(rate: InvoicedRate, amount: int, currency: str) -> Step:
    formula = f"the rest of {_show(rate.amount, currency)}: nothing is left of what it was computed on"
    return _step(f"Tax {rate.name}".rstrip(), formula, f"{amount} = {_show(amount, currency)} {currency.upper()}")


def _limit(amount: int, left: int) -> int:
    """Return `amount` brought between zero and `left`, which may be below zero."""
    return max(min(0, left), min(max(0, left), amount))


def _multiply(rate: Decimal, base: int) -> Decimal:
    with localcontext(EXACT):
        return rate * base


def _show(amount: int, currency: str) -> str:
    return format_decimal(amount, currency)


def _step(title: str, formula: str, value: str) -> Step:
    return {"title": title, "formula": formula, "value": value}
