"""What a fee comes to by the month, for plan lists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Final

from billing_site.kernel.money import EXACT, round_to_minor

_MONTHS: Final = {"month": 1, "year": 12}


@dataclass(frozen=True, slots=True)
class Fee:
    """A fee for `interval_count` times `interval`; `unit_amount` is minor units for the whole of it."""

    unit_amount: Decimal
    interval: str
    interval_count: int = 1


@dataclass(frozen=True, slots=True)
class MonthlyPrice:
    """Minor units per month: billed by the shortest interval on offer, and billed yearly. None when not on offer."""

    price: int | None
    price_annual: int | None
    interval: str | None
    interval_count: int


def compute_monthly_price(fees: Iterable[Fee]) -> MonthlyPrice:
    """
    Return what a plan's fees in one currency come to by the month, each rounded once, half up.

    A year of 29000 is 2417 a month. Fees by the day or week have no monthly figure.
    Source: contract chapter Default catalog.
    """
    by_length = sorted(
        ((_MONTHS[fee.interval] * fee.interval_count, fee) for fee in fees if fee.interval in _MONTHS),
        key=lambda entry: entry[0],
    )
    if not by_length:
        return MonthlyPrice(None, None, None, 1)
    months, shortest = by_length[0]
    yearly = next((fee for length, fee in by_length if length == 12), None)
    return MonthlyPrice(
        price=_per_month(shortest.unit_amount, months),
        price_annual=None if yearly is None else _per_month(yearly.unit_amount, 12),
        interval=shortest.interval,
        interval_count=shortest.interval_count,
    )


def _per_month(amount: Decimal, months: int) -> int:
    with localcontext(EXACT):
        return round_to_minor(amount / months)
