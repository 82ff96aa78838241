"""
What a plan costs for a whole period, and the parts of it that a change credits or charges.

Plain Python: no Django, no I/O, no clock. Source: policies, rules 2 and 9 to 12; ADR 0020.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal

from accounts.terms.cycles import Cycle
from accounts.terms.proration import ProrationTerms, Share, measure_share
from billing_site.kernel.periods import Interval, Period
from catalog.pricing.breakdown import to_text

PartKind = Literal["credit", "charge"]
Settlement = Literal["negative_line", "credit_note", "refund"]

_ZERO: Final = Decimal(0)
_BY_DAY: Final = ProrationTerms()
_MONTHS_A_UNIT: Final = {
    "day": Fraction(12, 365),
    "week": Fraction(7 * 12, 365),
    "month": Fraction(1),
    "year": Fraction(12),
}


@dataclass(frozen=True, slots=True)
class PeriodFee:
    """
    What a plan costs for one whole period of its interval, and how that is divided.

    `amount` is price times quantity in exact minor units, before discounts; `discount` is how much of it the fee's own
    discount takes off. `proration` are the plan's terms.
    :raises ValueError: for a negative amount, or a discount below zero or above the amount.
    """

    amount: Decimal
    interval: Interval
    discount: Decimal = _ZERO
    proration: ProrationTerms = _BY_DAY

    def __post_init__(self) -> None:
        if not _ZERO <= self.discount <= self.amount:
            raise ValueError(f"a fee of {self.amount} cannot carry a discount of {self.discount}")

    @property
    def net(self) -> Decimal:
        """What is really paid for a whole period."""
        return self.amount - self.discount

    @property
    def per_month(self) -> Fraction:
        """The list price per month, exact: a year is twelve months, a month 365/12 days."""
        return Fraction(self.amount) / (_MONTHS_A_UNIT[self.interval.unit] * self.interval.count)


@dataclass(frozen=True, slots=True)
class ProratedPart:
    """
    One side of a proration: `share` of a fee for `period`, half-open.

    `amount` and `discount` are exact minor units for the share; a credit has both with the other sign. `settlement`
    says what carries a credit: a negative line, a credit note at the original tax rate, or that with a refund.
    """

    kind: PartKind
    period: Period
    share: Share
    amount: Decimal
    discount: Decimal = _ZERO
    settlement: Settlement = "negative_line"

    @property
    def net(self) -> Decimal:
        """What the line comes to after its own discount, before its only rounding; negative for a credit."""
        return self.amount - self.discount

    def as_dict(self) -> dict[str, Any]:
        """Return the part as text, as traces store it; the period is the line's own."""
        return {
            "kind": self.kind,
            "share": self.share.as_dict(),
            "amount": to_text(self.amount),
            "discount": to_text(self.discount),
            "settlement": self.settlement,
        }


def prorate_fee(
    kind: PartKind,
    *,
    fee: PeriodFee,
    part: Period,
    billed: Period,
    cycle: Cycle,
    terms: ProrationTerms | None = None,
    settlement: Settlement = "negative_line",
) -> ProratedPart | None:
    """
    Return the credit or charge for `part` of the billed stretch `billed`, or None when it is nothing.

    Nothing is an empty part as well as a fee of zero. `terms` replace the fee's own.
    Source: policies, rules 9 to 11 (both sides are net of their own discount).
    """
    share = measure_share(part=part, billed=billed, cycle=cycle, terms=terms or fee.proration)
    if not share or not fee.amount:
        return None
    sign = -1 if kind == "credit" else 1
    return ProratedPart(kind, part, share, sign * share.of(fee.amount), sign * share.of(fee.discount), settlement)


def prorate_unused(
    *, fee: PeriodFee, part: Period, billed: Period, cycle: Cycle, settlement: Settlement = "negative_line"
) -> ProratedPart | None:
    """
    Return the credit for unused time `part` of `billed`; None when it is nothing.

    A fee that is not divided (unit none) has no unused time: a period that has begun is owed in full.
    """
    if fee.proration.unit == "none":
        return None
    return prorate_fee("credit", fee=fee, part=part, billed=billed, cycle=cycle, settlement=settlement)
