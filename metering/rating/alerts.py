"""
Whether a cost is one to tell about: plain numbers in, a judgement out.

All amounts are minor units of one currency. Source: contract chapter Alerts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final

from billing_site.kernel.money import EXACT, round_to_minor
from catalog.pricing.breakdown import to_text

ANOMALY_DAYS: Final = 7
MIN_DAYS_OF_DATA: Final = 3


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    A cost beside what it is held against, and the numbers behind that.

    `threshold` is the smallest whole amount that is told about; None where there is nothing to compare with.
    """

    value: int
    threshold: int | None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_reached(self) -> bool:
        """Whether it is to be told."""
        return self.threshold is not None and self.value >= self.threshold


def judge_amount(cost: int, *, threshold: int) -> Judgement:
    """Hold a cost against an amount: reached from the amount on."""
    return Judgement(cost, threshold)


def judge_budget(cost: int, *, percent: Decimal, budget: int | None, months: int) -> Judgement:
    """
    Hold the cost of a period of `months` months against a share of a monthly budget: reached from that share on.

    Without a budget (None) there is nothing to compare with; one of zero is reached by any cost.
    """
    if budget is None:
        return Judgement(cost, None)
    whole = budget * months
    share = ceil(whole * Fraction(percent) / 100)
    return Judgement(cost, max(1, share), {"budget": whole, "percent": to_text(percent)})


def judge_anomaly(today: int, *, before: Sequence[int], percent: Decimal) -> Judgement:
    """
    Hold the cost of a day against the mean of the seven days before: told above `percent` of it.

    `before` are those of the seven on which something was used, for nothing or not: only they have data and count in
    the mean. With fewer than three there is nothing to compare with, so that neither a new account nor one that is used
    once a week is called unusual.
    :raises ValueError: when more than seven days are given.
    """
    days = len(before)
    if days > ANOMALY_DAYS:
        raise ValueError(f"the mean is of {ANOMALY_DAYS} days, not of {days}")
    if days < MIN_DAYS_OF_DATA:
        return Judgement(today, None, {"days_of_data": days})
    # A day on which a cheaper tier was reached may have cost less than nothing.
    total = max(0, sum(before))
    # Above the limit, in whole minor units: from the next one on.
    threshold = floor(total * Fraction(percent) / (100 * days)) + 1
    with localcontext(EXACT):
        mean = round_to_minor(Decimal(total) / days)
    return Judgement(today, threshold, {"mean": mean, "days_of_data": days, "percent": to_text(percent)})
