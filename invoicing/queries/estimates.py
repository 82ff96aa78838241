"""
What the calendar month will come to: its fees, and its usage so far drawn out to its end.

Source: contract chapter Realtime cost, preview, estimate; ADR 0033.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

from accounts.models import Account
from billing_site.kernel.money import EXACT, round_to_minor
from billing_site.kernel.periods import Period
from invoicing.queries.costs import Cost, grow_costs, load_costs
from invoicing.queries.realtime import choose_currency, compute_percent
from metering.queries.periods import get_calendar_month

LEAST_ELAPSED: Final = timedelta(hours=1)
UNCERTAIN: Final = timedelta(days=3)
_MOMENT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class BillingEstimate:
    """
    The calendar month of an account in one currency, minor units after discounts, before tax.

    `fixed` are fees of periods that begin in the month, billed or still to come; `elapsed_percent` has two decimals.
    """

    account: Account
    month: Period
    currency: str
    fixed: int
    usage_to_date: int
    projected_usage: int
    elapsed_percent: Decimal
    confidence: Literal["low", "normal"]

    @property
    def projected_total(self) -> int:
        return self.fixed + self.projected_usage


def estimate_month(*, account: Account, at: datetime, currency: str | None = None) -> BillingEstimate:
    """
    Return what the calendar month around `at` will come to, where the account lives.

    Usage goes on as it was: what was used so far times the length of the month by what of it has passed, at least an
    hour. Fees count in the month in which their period begins; what is still missing to a minimum is lowered by what is
    projected of its meter. A fixed number of queries, three more for each period that begins in the month or should
    have been billed before it.
    """
    month = get_calendar_month(at, account.zone)
    costs = load_costs(accounts=[account], at=at, since=month.start, until=month.end - _MOMENT)[account.pk]
    currency = currency or choose_currency(costs)
    mine = [cost for cost in costs.all if cost.currency == currency]
    elapsed = max(at - month.start, LEAST_ELAPSED)
    scale = Fraction(month.duration // _MOMENT, elapsed // _MOMENT)
    used = _sum_usage([cost for cost in mine if cost.is_usage and cost.period.overlaps(month)], month.start, at)
    usage = sum(used.values())
    projected = _scale(usage, scale)
    return BillingEstimate(
        account=account,
        month=month,
        currency=currency,
        fixed=_sum_fixed([cost for cost in mine if not cost.is_usage and cost.period.start in month], used, scale),
        usage_to_date=usage,
        projected_usage=projected,
        elapsed_percent=compute_percent(elapsed // _MOMENT, month.duration // _MOMENT),
        confidence="low" if at - month.start < UNCERTAIN else "normal",
    )


def _sum_usage(costs: Sequence[Cost], start: datetime, at: datetime) -> Mapping[uuid.UUID, int]:
    """Return what usage from `start` to `at` asks for, by meter."""
    found: dict[uuid.UUID, int] = defaultdict(int)
    for cost, (before, after) in zip(costs, grow_costs([(cost, [start, at]) for cost in costs]), strict=True):
        if cost.meter is not None:
            found[cost.meter.pk] += after.net - before.net
    return found


def _sum_fixed(costs: Iterable[Cost], used: Mapping[uuid.UUID, int], scale: Fraction) -> int:
    total, gaps = 0, defaultdict(int)  # type: int, dict[uuid.UUID, int]
    for cost in costs:
        if cost.gap_of is None:
            total += cost.net
        else:
            gaps[cost.gap_of.pk] += cost.net
    for meter_id, gap in gaps.items():
        now = used.get(meter_id, 0)
        total += max(0, gap - (_scale(now, scale) - now))
    return total


def _scale(amount: int, scale: Fraction) -> int:
    scaled = amount * scale
    return round_to_minor(EXACT.divide(Decimal(scaled.numerator), Decimal(scaled.denominator)))
