"""
The check before issue: is a total so far from what the account is used to that a person should look at it first?

Plain Python: no Django, no I/O, no clock. Amounts are minor units of one currency. Source: ADR 0043.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Final, Literal

from billing_site.kernel.money import EXACT

Reason = Literal["negative", "above_amount", "far_from_history"]
# How many of the newest issued totals count, and of how many there must be before they say anything.
HISTORY_LENGTH: Final = 6
HISTORY_LEAST: Final = 3


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """
    What a seller wants looked at: totals above `factor` times the median (None: never), below zero, above a limit.

    `limits` are minor units by currency; a currency without one has none.
    """

    factor: Decimal | None = Decimal(5)
    negative: bool = True
    limits: Mapping[str, int] = field(default_factory=dict)

    @property
    def needs_history(self) -> bool:
        return self.factor is not None


@dataclass(frozen=True, slots=True)
class ReviewFinding:
    """Why a total is looked at, with what it was compared to."""

    reason: Reason
    history: tuple[int, ...] = ()
    median: Decimal | None = None
    factor: Decimal | None = None
    limit: int | None = None


def check_total(total: int, *, currency: str, history: Sequence[int], rules: ReviewRules) -> ReviewFinding | None:
    """
    Return why an invoice over `total` is looked at before it is issued, or None when it may go out.

    `history` holds the account's issued totals in this currency, newest first; the newest six count, fewer than three
    say nothing. A median below zero counts as zero: after nothing but credits any amount owed is looked at.
    Source: ADR 0043.
    """
    compared = tuple(history[:HISTORY_LENGTH])
    median = compute_median(compared) if compared else None
    limit = rules.limits.get(currency)
    if total < 0 and rules.negative:
        return ReviewFinding("negative", compared, median)
    if limit is not None and total > limit:
        return ReviewFinding("above_amount", compared, median, limit=limit)
    if rules.factor is None or median is None or len(compared) < HISTORY_LEAST:
        return None
    with localcontext(EXACT):
        is_far = total > rules.factor * max(median, Decimal(0))
    return ReviewFinding("far_from_history", compared, median, factor=rules.factor) if is_far else None


def compute_median(totals: Sequence[int]) -> Decimal:
    """Return the median, exact: of an even number of totals the mean of the two in the middle."""
    ordered, middle = sorted(totals), len(totals) // 2
    if len(ordered) % 2:
        return Decimal(ordered[middle])
    with localcontext(EXACT):
        return Decimal(ordered[middle - 1] + ordered[middle]) / 2
