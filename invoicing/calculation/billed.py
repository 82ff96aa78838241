"""
What was billed before of the usage that is billed again: late usage, and the rest after interim invoices.

The whole quantity of the period is rated again at the prices of the period, and what was billed is deducted; so the
lines together come to what one line would have, to the cent. Plain Python: no Django, no I/O, no clock. Amounts are
whole minor units. Source: policies, rules 17 and 19; ADR 0040.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, cast

from billing_site.kernel.money import RoundingMode
from invoicing.calculation.centers import WITHOUT_CENTER, CenterFacts, CenterShare, split_amount
from invoicing.calculation.discounts import DiscountFacts, LineBase, Reduction, apply_discounts
from invoicing.calculation.texts import format_exact

BilledKind = Literal["late", "interim", "rest"]


@dataclass(frozen=True, slots=True)
class BilledFacts:
    """
    What stands of a period's usage before this line: a late one, one of an interim invoice, or the rest after those.

    `line` is the public id of the first line of the usage and `invoice` the number of its document; both empty where
    nothing was billed. This line is number `sequence` after it. `amount` is what was asked for, after discounts, of
    `quantity`, and `true_up` for a minimum. `discounts` are those that the first line had, an amount off being what it
    took off that line; `centers` say who paid.
    """

    kind: BilledKind
    line: str = ""
    invoice: str = ""
    sequence: int = 0
    quantity: Decimal = Decimal(0)
    amount: int = 0
    true_up: int = 0
    discounts: tuple[DiscountFacts, ...] = ()
    centers: tuple[CenterShare, ...] = ()

    @property
    def is_late(self) -> bool:
        return self.kind == "late"

    @property
    def is_first(self) -> bool:
        """Tell whether nothing of the usage is on a line yet: this one is priced like any other."""
        return not self.line

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form; what there is not is left out."""
        centers = [{**each.center.as_dict(), "amount": str(each.amount)} for each in self.centers]
        return {
            "kind": self.kind,
            "line": self.line,
            "invoice": self.invoice,
            "sequence": self.sequence,
            "quantity": format_exact(self.quantity),
            "amount": str(self.amount),
            "true_up": str(self.true_up),
            **({"discounts": [each.as_dict() for each in self.discounts]} if self.discounts else {}),
            **({"centers": centers} if centers else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BilledFacts:
        """Rebuild from the stored form."""
        return cls(
            kind=cast(BilledKind, data["kind"]),
            line=data["line"],
            invoice=data["invoice"],
            sequence=int(data["sequence"]),
            quantity=Decimal(data["quantity"]),
            amount=int(data["amount"]),
            true_up=int(data["true_up"]),
            discounts=tuple(DiscountFacts.from_dict(each) for each in data.get("discounts") or ()),
            centers=tuple(
                CenterShare(CenterFacts.from_dict(each), int(each["amount"])) for each in data.get("centers") or ()
            ),
        )


def take_own_discounts(billed: BilledFacts, base: LineBase, *, rounding: RoundingMode) -> list[Reduction]:
    """
    Return what the discounts of the first line take off the whole amount, as if it were one line.

    An amount off takes no more than it took then: it is one per invoice.
    """
    (taken,) = apply_discounts([base], billed.discounts, rounding=rounding)
    return taken


def split_rest(amount: int, centers: Sequence[CenterFacts], billed: BilledFacts) -> tuple[CenterShare, ...]:
    """
    Return what each center pays more, or gets back: its share of the whole amount without what it paid before.

    `amount` is the whole. Those with neither units nor money to add are left out; the shares sum to the rest. Nothing
    when no center is named, now or before.
    """
    whole = split_amount(amount, centers)
    if not whole and not billed.centers:
        return ()
    before = billed.centers or (CenterShare(WITHOUT_CENTER, billed.amount),)
    found = {each.center.id: each for each in whole or (CenterShare(WITHOUT_CENTER, amount),)}
    for each in before:
        center, now = each.center, found.get(each.center.id)
        quantity = (now.center.quantity if now is not None else Decimal(0)) - center.quantity
        rest = CenterFacts(center.id, center.code, center.name, quantity)
        found[center.id] = CenterShare(rest, (now.amount if now is not None else 0) - each.amount)
    shares = [each for each in found.values() if each.amount or each.center.quantity]
    return tuple(sorted(shares, key=lambda each: (not each.center.id, each.center.code.lower())))
