"""
What discounts take off the lines of one invoice: in which order, from what, and how it is shared.

Plain Python: no Django, no I/O, no clock. Amounts are whole minor units.
Source: policies, rules 3, 16 and 20; contract chapter Coupons and discounts; ADR 0022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Final, NamedTuple

from billing_site.kernel.money import EXACT, RoundingMode, allocate, round_to_minor
from catalog.pricing.breakdown import to_text
from invoicing.calculation.texts import format_instant, parse_instant

_WHOLE: Final = Decimal(100)


@dataclass(frozen=True, slots=True)
class DiscountFacts:
    """
    One discount: `percent_off` (above 0, at most 100) or `amount_off` in minor units of `currency` on each invoice.

    With `meters` (names of meters) it takes from the usage of those only, with `plans` (plan keys) from what those
    plans cost; without either from all. With `subscription` (its public id) only from the lines of that one, on an
    invoice for several. `months_left` is how many invoices it had left before this one, None for any number.
    """

    id: str
    name: str
    attached_at: datetime
    percent_off: Decimal | None = None
    amount_off: int | None = None
    currency: str = ""
    meters: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    months_left: int | None = None
    subscription: str = ""

    def __post_init__(self) -> None:
        if (self.percent_off is None) == (self.amount_off is None):
            raise ValueError("a discount is a percentage or an amount, one of them")
        if self.percent_off is not None and not 0 < self.percent_off <= _WHOLE:
            raise ValueError(f"{self.percent_off} % is not a discount")
        if self.amount_off is not None and (self.amount_off <= 0 or not self.currency):
            raise ValueError("an amount off is above zero and has a currency")

    @property
    def rank(self) -> tuple[int, datetime, str]:
        """Where it comes in the order: limited to meters, limited to plans, unlimited; the oldest first."""
        return (0 if self.meters else 1 if self.plans else 2), self.attached_at, self.id

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form; what a discount does not have is left out."""
        shown: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "attached_at": format_instant(self.attached_at),
            "months_left": self.months_left,
        }
        if self.percent_off is not None:
            shown["percent_off"] = to_text(self.percent_off)
        else:
            shown |= {"amount_off": self.amount_off, "currency": self.currency}
        if self.meters:
            shown["meters"] = list(self.meters)
        if self.plans:
            shown["plans"] = list(self.plans)
        if self.subscription:
            shown["subscription"] = self.subscription
        return shown

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DiscountFacts:
        """Rebuild from the stored form."""
        percent, amount = data.get("percent_off"), data.get("amount_off")
        return cls(
            id=data["id"],
            name=data["name"],
            attached_at=parse_instant(data["attached_at"]),
            percent_off=None if percent is None else Decimal(percent),
            amount_off=None if amount is None else int(amount),
            currency=data.get("currency", ""),
            meters=tuple(data.get("meters") or ()),
            plans=tuple(data.get("plans") or ()),
            months_left=data["months_left"],
            subscription=data.get("subscription", ""),
        )


class LineBase(NamedTuple):
    """
    What a discount may take from: a line's amount, and what it would be without the maximum of its price.

    `is_open` is False for lines that no discount reduces. `subscription` is named on an invoice for several.
    """

    amount: int
    gross: int
    plan: str
    meter: str | None
    is_open: bool = True
    subscription: str = ""


class Reduction(NamedTuple):
    """
    What one discount took off one line.

    `total` is what it took off the invoice, of `applied_to`; `before` and `left` are the line's amount around it.
    `gross_left` is what the percentage left of the line without its maximum, None where the maximum did not matter.
    """

    discount: DiscountFacts
    total: int
    applied_to: int
    lines: int
    before: int
    left: int
    gross_left: int | None = None

    @property
    def amount(self) -> int:
        return self.before - self.left


def apply_discounts(
    lines: Sequence[LineBase], discounts: Sequence[DiscountFacts], *, rounding: RoundingMode = "half_up"
) -> list[list[Reduction]]:
    """
    Return for each line what the discounts take off it, in the order in which they do.

    A percentage works on what earlier discounts left, is rounded once for all its lines together and shared by largest
    remainder, ties by line order; an amount is at most what it applies to, and what is not used is not kept. The
    maximum of a price holds after percentages: they work on the line without it. Lines that are closed, zero or below
    take no part, so no line goes below zero.
    """
    found: list[list[Reduction]] = [[] for _ in lines]
    left = [line.amount for line in lines]
    gross = [line.gross for line in lines]
    for discount in sorted(discounts, key=lambda each: each.rank):
        chosen = [index for index, line in enumerate(lines) if left[index] > 0 and _reaches(discount, line)]
        if not chosen:
            continue
        weights = [gross[index] if discount.amount_off is None else left[index] for index in chosen]
        base = sum(weights)
        after = dict(zip(chosen, _take(discount, weights, rounding), strict=True))
        remains = {index: min(left[index], after[index]) for index in chosen}
        total = sum(left[index] - remains[index] for index in chosen)
        for index in chosen:
            is_bounded = discount.amount_off is None and gross[index] > left[index]
            found[index].append(
                Reduction(
                    discount,
                    total=total,
                    applied_to=base,
                    lines=len(chosen),
                    before=left[index],
                    left=remains[index],
                    gross_left=after[index] if is_bounded else None,
                )
            )
            # An amount takes from what the maximum left; the maximum has done its work on this line then.
            gross[index] = after[index]
            left[index] = remains[index]
    return found


def _reaches(discount: DiscountFacts, line: LineBase) -> bool:
    return (
        line.is_open
        and (not discount.subscription or line.subscription == discount.subscription)
        and (not discount.meters or line.meter in discount.meters)
        and (not discount.plans or line.plan in discount.plans)
    )


def _take(discount: DiscountFacts, weights: Sequence[int], rounding: RoundingMode) -> list[int]:
    """Return what is left of each weight; the parts taken sum to the discount."""
    base = sum(weights)
    if discount.percent_off is None:
        off = min(discount.amount_off or 0, base)
    else:
        with localcontext(EXACT):
            off = round_to_minor(base * discount.percent_off / _WHOLE, mode=rounding)
    return [weight - part for weight, part in zip(weights, allocate(off, weights), strict=True)]
