"""
Splitting an amount by cost center: by quantity share, largest remainder, to the cent.

Plain Python: no Django, no I/O, no clock. Source: contract chapter Cost centers; policies, rule 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing_site.kernel.money import allocate
from invoicing.calculation.texts import format_exact


@dataclass(frozen=True, slots=True)
class CenterFacts:
    """What one center used of a meter: its public id, code and name as they were, all empty for usage without one."""

    id: str
    code: str
    name: str
    quantity: Decimal

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"id": self.id, "code": self.code, "name": self.name, "quantity": format_exact(self.quantity)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CenterFacts:
        """Rebuild from the stored form."""
        return cls(data["id"], data["code"], data["name"], Decimal(data["quantity"]))


@dataclass(frozen=True, slots=True)
class CenterShare:
    """The part of an amount, in minor units, that a center pays for."""

    center: CenterFacts
    amount: int


WITHOUT_CENTER = CenterFacts("", "", "", Decimal(0))


def split_amount(amount: int, centers: Sequence[CenterFacts]) -> tuple[CenterShare, ...]:
    """
    Return the share of each center in `amount`, in the same order; the shares sum to it.

    Nothing when no center is named. What nobody used (a flat price of usage that is all zero) is without a center.
    """
    if not any(center.id for center in centers):
        return ()
    used = [center for center in centers if center.quantity] or [WITHOUT_CENTER]
    parts = allocate(amount, [center.quantity for center in used])
    return tuple(CenterShare(center, part) for center, part in zip(used, parts, strict=True))
