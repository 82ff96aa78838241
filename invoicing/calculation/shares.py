"""
A share of a whole period, as facts keep it: a fraction, and how it reads.

Plain Python: no Django, no I/O, no clock. Source: policies, rules 2 and 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from billing_site.kernel.money import EXACT


@dataclass(frozen=True, slots=True)
class ShareFacts:
    """The share of a whole period that is charged: `numerator / denominator`, and how it reads (`15/31 days`)."""

    numerator: int
    denominator: int
    text: str

    def of(self, amount: Decimal) -> Decimal:
        """Return this share of `amount`, multiplied before it is divided, to 96 digits."""
        with localcontext(EXACT):
            return amount * self.numerator / self.denominator

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"numerator": str(self.numerator), "denominator": str(self.denominator), "text": self.text}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ShareFacts:
        """Rebuild from the stored form."""
        return cls(int(data["numerator"]), int(data["denominator"]), data["text"])
