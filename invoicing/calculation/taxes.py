"""
Tax on the lines of one invoice: which rates a line bears, what each comes to, and how it is shared back to the lines.

Plain Python: no Django, no I/O, no clock. Amounts are whole minor units, rates are fractions (0.19 is 19 %).
Source: policies, rules 1 to 3 and 21; contract chapter Tax; ADR 0038.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction
from math import floor
from typing import Any, Final, Literal, NamedTuple

from billing_site.kernel.money import EXACT, RoundingMode, allocate, round_to_minor
from invoicing.calculation.texts import format_exact

TaxMode = Literal["rate", "line", "keep_gross"]
TaxTreatment = Literal["taxed", "reverse_charge", "exempt"]

# What stands on the document when tax is zero for a reason.
NOTES: Final[Mapping[TaxTreatment, str]] = {
    "taxed": "",
    "reverse_charge": "Reverse charge: the recipient accounts for the tax.",
    "exempt": "The customer is exempt from tax.",
}
ZERO_NAMES: Final[Mapping[TaxTreatment, str]] = {"reverse_charge": "Reverse charge", "exempt": "Tax exempt"}


@dataclass(frozen=True, slots=True)
class TaxRateFacts:
    """One rate as it was: public id (empty for a zero rate that follows from the law), name, fraction, place."""

    id: str
    name: str
    rate: Decimal
    inclusive: bool
    jurisdiction: str

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "id": self.id,
            "name": self.name,
            "rate": format_exact(self.rate),
            "inclusive": self.inclusive,
            "jurisdiction": self.jurisdiction,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaxRateFacts:
        """Rebuild from the stored form."""
        return cls(data["id"], data["name"], Decimal(data["rate"]), bool(data["inclusive"]), data["jurisdiction"])


@dataclass(frozen=True, slots=True)
class TaxSpan:
    """The rates that add up from the day `start` on, None for always, until the next span begins."""

    start: date | None
    rates: tuple[TaxRateFacts, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        start = None if self.start is None else self.start.isoformat()
        return {"from": start, "rates": [rate.as_dict() for rate in self.rates]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaxSpan:
        """Rebuild from the stored form."""
        start = None if data["from"] is None else date.fromisoformat(data["from"])
        return cls(start, tuple(TaxRateFacts.from_dict(rate) for rate in data["rates"]))


@dataclass(frozen=True, slots=True)
class TaxFacts:
    """
    What an invoice is taxed by: the place, the rates that hold there by day, the seller's mode, and why it is zero.

    `on` is the day of the invoice where the account lives. `spans` are in order of their days and hold nothing but what
    the days of this invoice's lines ask for.
    """

    mode: TaxMode
    country: str
    state: str
    on: date
    treatment: TaxTreatment = "taxed"
    spans: tuple[TaxSpan, ...] = field(default=())

    def find_rates(self, day: date) -> tuple[TaxRateFacts, ...]:
        """Return the rates of a line whose service is complete on `day`, or still runs then."""
        found: tuple[TaxRateFacts, ...] = ()
        for position, span in enumerate(self.spans):
            if position == 0 or span.start is None or span.start <= min(day, self.on):
                found = span.rates
        return found

    @property
    def note(self) -> str:
        """Why the rate is zero, for the document; empty when tax is charged."""
        return NOTES[self.treatment]

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "mode": self.mode,
            "country": self.country,
            "state": self.state,
            "on": self.on.isoformat(),
            "treatment": self.treatment,
            "spans": [span.as_dict() for span in self.spans],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaxFacts:
        """Rebuild from the stored form."""
        return cls(
            mode=data["mode"],
            country=data["country"],
            state=data["state"],
            on=date.fromisoformat(data["on"]),
            treatment=data["treatment"],
            spans=tuple(TaxSpan.from_dict(span) for span in data["spans"]),
        )


def decide_treatment(
    *, country: str, seller_country: str, has_business_number: bool, is_exempt: bool, union: frozenset[str]
) -> TaxTreatment:
    """
    Return how an account is taxed: an exempt one not at all, a business in another country of the union by itself.

    Countries are ISO alpha-2 in upper case; `has_business_number` tells that its tax number shows a business.
    Source: contract chapter Tax.
    """
    if is_exempt:
        return "exempt"
    abroad = country != seller_country and country in union and seller_country in union
    return "reverse_charge" if abroad and has_business_number else "taxed"


def make_zero_rate(treatment: TaxTreatment, jurisdiction: str) -> TaxRateFacts:
    """Return the rate of zero that stands on a document in place of the rates of the place."""
    return TaxRateFacts("", ZERO_NAMES[treatment], Decimal(0), inclusive=False, jurisdiction=jurisdiction)


class TaxBase(NamedTuple):
    """What a line is taxed on: its amount as agreed, after discounts, and the rates it bears."""

    amount: int
    rates: tuple[TaxRateFacts, ...]


@dataclass(frozen=True, slots=True)
class TaxLine:
    """What one rate comes to on an invoice: `amount` on `base`, which is without any tax."""

    rate: TaxRateFacts
    base: int
    amount: int
    note: str = ""


class LineTax(NamedTuple):
    """What is left of a line without tax, and its share in each tax line, in their order; zero where it bears none."""

    net: int
    shares: tuple[int, ...]


class TaxResult(NamedTuple):
    """The tax lines of an invoice, and what became of each of its lines."""

    taxes: tuple[TaxLine, ...]
    lines: tuple[LineTax, ...]


def extract_tax(amount: int, rates: Sequence[TaxRateFacts], *, rounding: RoundingMode = "half_up") -> int:
    """Return the tax inside `amount`: base - base / (1 + rate), for the inclusive ones among `rates` together."""
    inside = _sum_inclusive(rates)
    if not inside or not amount:
        return 0
    with localcontext(EXACT):
        return round_to_minor(Decimal(amount) * inside / (1 + inside), mode=rounding)


def compute_taxes(
    bases: Sequence[TaxBase], *, mode: TaxMode, note: str = "", rounding: RoundingMode = "half_up"
) -> TaxResult:
    """
    Return the tax of an invoice by rate and by line; what is left of the lines and the tax lines sum to its total.

    `line` rounds the tax of each line. `rate` rounds, for each rate, its tax on the sum of what is left of the lines,
    each rounded, and shares it back to them. `keep_gross` rounds the tax inside the sum of prices that include it, so
    that they sum to what was agreed; rates on top are computed as with `rate`. Shares are by largest remainder, ties by
    line order. Lines below zero bear tax below zero.
    Source: policies, rules 3 and 21.
    """
    rates = list(dict.fromkeys(rate for base in bases for rate in base.rates))
    table = _Shares(bases, rates, rounding)
    if mode == "keep_gross":
        table.keep_gross()
    else:
        table.take_out()
    if mode == "line":
        table.tax_lines()
    else:
        table.tax_sums(besides_inclusive=mode == "keep_gross")
    taxes = tuple(
        TaxLine(
            rate,
            base=sum(net for net, base in zip(table.net, bases, strict=True) if rate in base.rates),
            amount=sum(table.shares[rate]),
            note=note,
        )
        for rate in rates
    )
    shares = zip(*(table.shares[rate] for rate in rates), strict=True) if rates else [()] * len(bases)
    return TaxResult(taxes, tuple(LineTax(net, share) for net, share in zip(table.net, shares, strict=True)))


class _Shares:
    """The work sheet of one invoice: what is left of each line, and each line's share in each rate."""

    def __init__(self, bases: Sequence[TaxBase], rates: Sequence[TaxRateFacts], rounding: RoundingMode) -> None:
        self.bases, self.rates, self.rounding = bases, rates, rounding
        self.net = [base.amount for base in bases]
        self.shares = {rate: [0] * len(bases) for rate in rates}

    def take_out(self) -> None:
        """Take the tax inside each line out of it, rounded by line."""
        for index, base in enumerate(self.bases):
            self.net[index] = base.amount - extract_tax(base.amount, base.rates, rounding=self.rounding)

    def keep_gross(self) -> None:
        """Take the tax inside all lines of the same inclusive rates out of their sum, and share it back to them."""
        groups: dict[tuple[TaxRateFacts, ...], list[int]] = {}
        for index, base in enumerate(self.bases):
            groups.setdefault(tuple(rate for rate in base.rates if rate.inclusive), []).append(index)
        for rates, members in groups.items():
            if not rates:
                continue
            amounts = [self.bases[index].amount for index in members]
            tax = extract_tax(sum(amounts), rates, rounding=self.rounding)
            whole = Fraction(1 + _sum_inclusive(rates))
            for rate, part in zip(rates, allocate(tax, [each.rate for each in rates]), strict=True):
                for index, share in zip(
                    members, share_tax(part, amounts, rate=Fraction(rate.rate) / whole), strict=True
                ):
                    self.shares[rate][index] = share
                    self.net[index] -= share

    def tax_lines(self) -> None:
        """Round the tax of each line by itself; what was inside is shared by the rates that it was inside of."""
        for index, base in enumerate(self.bases):
            inclusive = [rate for rate in base.rates if rate.inclusive]
            inside = base.amount - self.net[index]
            parts = allocate(inside, [rate.rate for rate in inclusive]) if inclusive else []
            for rate, part in zip(inclusive, parts, strict=True):
                self.shares[rate][index] = part
            for rate in base.rates:
                if not rate.inclusive:
                    self.shares[rate][index] = _round_tax(self.net[index], rate, self.rounding)

    def tax_sums(self, *, besides_inclusive: bool) -> None:
        """Round the tax of each rate on the sum of what is left of its lines, and share it back to them."""
        for rate in self.rates:
            if rate.inclusive and besides_inclusive:
                continue
            members = [index for index, base in enumerate(self.bases) if rate in base.rates]
            nets = [self.net[index] for index in members]
            tax = _round_tax(sum(nets), rate, self.rounding)
            for index, share in zip(members, share_tax(tax, nets, rate=Fraction(rate.rate)), strict=True):
                self.shares[rate][index] = share


def share_tax(tax: int, amounts: Sequence[int], *, rate: Fraction) -> list[int]:
    """
    Return the share of each amount in `tax`, which is `rate` of their sum, rounded; the shares sum to it.

    By largest remainder, ties by order. Where amounts above and below zero meet, each share is the amount's own tax
    rounded down, or one more for those that lost the most by it.
    """
    if not any(amount < 0 for amount in amounts) or not any(amount > 0 for amount in amounts):
        return allocate(tax, [abs(amount) for amount in amounts])
    exact = [amount * rate for amount in amounts]
    parts = [floor(share) for share in exact]
    each, more = divmod(tax - sum(parts), len(parts))
    by_remainder = sorted(range(len(parts)), key=lambda index: (parts[index] - exact[index], index))
    for rank, index in enumerate(by_remainder):
        parts[index] += each + (rank < more)
    return parts


def _sum_inclusive(rates: Sequence[TaxRateFacts]) -> Decimal:
    return sum((rate.rate for rate in rates if rate.inclusive), Decimal(0))


def _round_tax(base: int, rate: TaxRateFacts, rounding: RoundingMode) -> int:
    with localcontext(EXACT):
        return round_to_minor(base * rate.rate, mode=rounding)
