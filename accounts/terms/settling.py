"""
What stored money pays of a bill, before any means of payment: invoice credit, then credit grants, then prepaid money.

Plain Python. Amounts are whole minor units of one currency; instants are aware UTC.
Source: policies, rules 3 and 22 and the order of discount, tax and credit; ADR 0023.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from accounts.terms.burning import Burn, BurnableGrant, Charge, burn
from billing_site.kernel.money import allocate

PaidBy = Literal["none", "credit", "balance"]


@dataclass(frozen=True, slots=True)
class Settlement:
    """What each source pays of a bill, and in `burn` which grant pays what."""

    invoice_credit: int
    burn: Burn
    prepaid: int

    @property
    def granted(self) -> int:
        """What credit grants pay."""
        return self.burn.paid

    @property
    def applied(self) -> int:
        """What all sources pay together."""
        return self.invoice_credit + self.granted + self.prepaid

    @property
    def method(self) -> PaidBy:
        """How the bill is paid when nothing stays open: `balance` as soon as a balance took part."""
        if self.invoice_credit or self.prepaid:
            return "balance"
        return "credit" if self.granted else "none"


def settle(
    charges: Sequence[Charge],
    *,
    invoice_credit: int,
    grants: Iterable[BurnableGrant],
    prepaid: int,
    at: datetime,
) -> Settlement:
    """
    Let stored money pay the charges as far as it goes, and return what each source pays.

    Invoice credit lowers all charges by their share (largest remainder); grants walk in burn order over what is left,
    in the order of the charges, so put tax last; prepaid money pays any of the rest. `invoice_credit` and `prepaid` are
    what is available; below zero counts as nothing.
    :raises ValueError: for a charge below zero, or two with one key.
    """
    open_amount = sum(charge.amount for charge in charges)
    credited = max(0, min(invoice_credit, open_amount))
    if credited:
        shares = allocate(credited, [charge.amount for charge in charges])
        charges = [replace(charge, amount=charge.amount - share) for charge, share in zip(charges, shares, strict=True)]
    burned = burn(grants, charges, at=at)
    return Settlement(credited, burned, max(0, min(prepaid, burned.open)))


def net_charges(charges: Sequence[Charge], *, total: int) -> list[Charge]:
    """
    Return what is to be paid of each charge so that together it is `total`, the total of the document.

    Charges below zero (credit for unused time) and what was taken off the document as a whole lower the others by
    their share, largest remainder. Nothing is left of a total of zero or less.
    :raises ValueError: when the charges are less than the total.
    """
    owed = [charge for charge in charges if charge.amount > 0]
    surplus = sum(charge.amount for charge in owed) - max(0, total)
    if surplus < 0:
        raise ValueError(f"the charges are {-surplus} less than the total {total}")
    if total <= 0 or not owed:
        return []
    shares = allocate(surplus, [charge.amount for charge in owed])
    netted = [replace(charge, amount=charge.amount - share) for charge, share in zip(owed, shares, strict=True)]
    return [charge for charge in netted if charge.amount]
