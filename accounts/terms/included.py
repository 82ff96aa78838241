"""
Credit that comes with a plan: how much a period brings.

Plain Python. A plan says it in its limits, in minor units of the subscription's currency and by the month:
`included_cloud_credits`, for every seat when `cloud_credits_per_seat` is set.
Source: contract chapters Credits and Default catalog; ADR 0023.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext
from typing import Final

from billing_site.kernel.money import EXACT, round_to_minor
from billing_site.kernel.periods import Interval

INCLUDED_LIMIT: Final = "included_cloud_credits"
PER_SEAT_LIMIT: Final = "cloud_credits_per_seat"
_DAYS_PER_YEAR: Final = 365


def compute_included_credit(limits: Mapping[str, int], *, quantity: int, interval: Interval) -> int:
    """
    Return what a period of `interval` brings, zero or more minor units.

    A year brings twelve months. A period of days or weeks brings its share of a year of 365 days, rounded once.
    """
    amount = limits.get(INCLUDED_LIMIT) or 0
    if amount <= 0:
        return 0
    if (limits.get(PER_SEAT_LIMIT) or 0) > 0:
        amount *= quantity
    match interval.unit:
        case "month":
            return amount * interval.count
        case "year":
            return amount * 12 * interval.count
        case _:
            days = interval.count * (7 if interval.unit == "week" else 1)
            with localcontext(EXACT):
                return round_to_minor(Decimal(amount) * 12 * days / _DAYS_PER_YEAR)
