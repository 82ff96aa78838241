"""
Unused time that was billed in advance: what it is worth, on a credit note of the invoice or on a line below zero.

Plain Python: no Django, no I/O, no clock. Nothing is rounded but a note's net amount, once.
Source: policies, rules 2, 11 and 12; ADR 0048.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from billing_site.kernel.money import EXACT, RoundingMode, round_to_minor
from billing_site.kernel.periods import Period
from invoicing.calculation.shares import ShareFacts
from invoicing.calculation.texts import format_exact, format_instant, parse_instant


@dataclass(frozen=True, slots=True)
class UnusedFacts:
    """
    Unused time: `share` of `fee` for `period`, half-open; `fee` is what a whole period cost, net of its own discount.

    `fee` is exact minor units as they were agreed, which may include tax. Of what was agreed for the line it was billed
    with, `gross`, the amount without tax is `net`; the credit is without tax in the same proportion. `given`, net minor
    units, was credited before, on the line that billed it last.
    """

    fee: Decimal
    share: ShareFacts
    period: Period
    net: int
    gross: int
    given: int = 0

    @property
    def fee_without_tax(self) -> Decimal:
        """What a whole period cost without tax, exact minor units."""
        if self.net == self.gross:
            return self.fee
        with localcontext(EXACT):
            return self.fee * self.net / self.gross

    @property
    def exact_amount(self) -> Decimal:
        """What the unused time is worth without tax, exact minor units, zero or more."""
        return self.share.of(self.fee_without_tax)

    def measure(self, *, rounding: RoundingMode) -> int:
        """Return what the unused time is worth without tax, in whole minor units: rounded once."""
        return round_to_minor(self.exact_amount, mode=rounding)

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "fee": format_exact(self.fee),
            "share": self.share.as_dict(),
            "period": [format_instant(self.period.start), format_instant(self.period.end)],
            "net": self.net,
            "gross": self.gross,
            **({"given": self.given} if self.given else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> UnusedFacts:
        """Rebuild from the stored form."""
        start, end = data["period"]
        return cls(
            fee=Decimal(data["fee"]),
            share=ShareFacts.from_dict(data["share"]),
            period=Period(parse_instant(start), parse_instant(end)),
            net=int(data["net"]),
            gross=int(data["gross"]),
            given=int(data.get("given", 0)),
        )


@dataclass(frozen=True, slots=True)
class CreditedFacts:
    """
    What a line below zero gives back of: the public id of the `line` that billed it.

    Exact minor units as they were agreed: `given` was credited by notes, and of the line no more than `left` is left to
    credit; without it nothing bounds it.
    """

    line: str
    left: Decimal | None = None
    given: Decimal = Decimal(0)

    def bound(self, amount: Decimal) -> Decimal:
        """Return how much of `amount`, zero or more, the line gives back."""
        with localcontext(EXACT):
            rest = max(Decimal(0), amount - self.given)
        return rest if self.left is None else min(rest, self.left)

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form; what there is not is left out."""
        return {
            "line": self.line,
            **({"left": format_exact(self.left)} if self.left is not None else {}),
            **({"given": format_exact(self.given)} if self.given else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CreditedFacts:
        """Rebuild from the stored form."""
        left = data.get("left")
        return cls(data["line"], None if left is None else Decimal(left), Decimal(data.get("given", "0")))
