"""
What many accounts cost so far: this period, today, the week before, this month. For alerts, and for anyone who watches.

Source: contract chapters Realtime cost, preview, estimate, and Alerts; ADR 0033.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from accounts.models import Account
from billing_site.kernel.money import round_to_minor
from billing_site.kernel.periods import Period, add_months
from catalog.models import Meter
from invoicing.queries.costs import AccountCosts, Cost, CostStep, grow_costs, load_costs
from invoicing.queries.realtime import RunningCosts, choose_running
from metering.queries.meters import CHARGED_METER
from metering.stores import sum_charged

DAYS_BEFORE: Final = 7


@dataclass(frozen=True, slots=True)
class DayCost:
    """
    The cost of one UTC day, minor units: usage by event time, and the fees of periods that begin on it.

    `has_usage` tells whether anything that is priced was used at all, even if it cost nothing.
    """

    day: date
    usage: int = 0
    fixed: int = 0
    has_usage: bool = False

    @property
    def total(self) -> int:
        return self.usage + self.fixed


@dataclass(frozen=True, slots=True)
class CostSoFar:
    """
    What an account costs in one currency, minor units after discounts, before tax.

    `period` is from the first day of its running billing periods to the last, the calendar month where the account
    lives without one; `fixed` and `usage` are what `current` answers. `days_before` are the seven UTC days before
    `today`, the oldest first. `month_spend` is the UTC calendar month: usage by event time, charged at once or rated
    (billed or not), and the fees of periods that began in it.
    """

    currency: str
    period: Period
    fixed: int
    usage: int
    today: DayCost
    days_before: tuple[DayCost, ...]
    month_spend: int

    @property
    def total(self) -> int:
        """The cost of the running period: `total_cost` of `current`."""
        return self.fixed + self.usage


def cost_so_far(*, accounts: Collection[Account], at: datetime) -> dict[uuid.UUID, dict[str, CostSoFar]]:
    """
    Return what each account costs at `at`, by account and currency; its own currency is always there.

    `at` is the same instant for all of them; accounts on a test clock are asked at their own. Usage after `at` counts
    for today. Reads only; a fixed number of queries however many accounts, subscriptions and events there are, three
    more for each period that should have been billed before.
    """
    windows = {each.pk: _Window.around(each.clock_time or at) for each in accounts}
    if not windows:
        return {}
    since = min(window.start for window in windows.values())
    costs = load_costs(accounts=accounts, at=at, since=since)
    grown = _grow(costs, windows)
    charged = _load_charged(costs, windows)
    answers: dict[uuid.UUID, dict[str, CostSoFar]] = {}
    for account_id, found in costs.items():
        currencies = [found.account.currency, *(cost.currency for cost in found.all)]
        currencies += [each.open.currency for each in found.subscriptions]
        currencies += [currency for owner, currency in list(charged) if owner == account_id]
        answers[account_id] = {
            currency: _sum_up(
                choose_running(found, currency=currency),
                [(cost, steps) for cost, steps in grown[account_id] if cost.currency == currency],
                [cost for cost in found.all if cost.currency == currency and not cost.is_usage],
                windows[account_id],
                charged=charged[account_id, currency],
            )
            for currency in dict.fromkeys(currencies)
        }
    return answers


@dataclass(frozen=True, slots=True)
class _Window:
    """The UTC days and the UTC month to look at. `cuts` are where days or the month begin, ascending."""

    days: Sequence[date]
    month: Period

    @classmethod
    def around(cls, at: datetime) -> _Window:
        today = at.astimezone(UTC).date()
        first = today.replace(day=1)
        return cls(
            days=[today - timedelta(days=back) for back in range(DAYS_BEFORE, -1, -1)],
            month=Period(_midnight(first), _midnight(add_months(first, 1))),
        )

    @property
    def start(self) -> datetime:
        return self.cuts[0]

    @property
    def cuts(self) -> list[datetime]:
        return sorted({self.month.start, *(_midnight(day) for day in self.days)})


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _grow(
    costs: Mapping[uuid.UUID, AccountCosts], windows: Mapping[uuid.UUID, _Window]
) -> dict[uuid.UUID, list[tuple[Cost, list[CostStep]]]]:
    """Return the usage that had not ended when its window begins, with what it came to at each cut and in the end."""
    asked: list[tuple[Cost, Sequence[datetime]]] = []
    for account_id, found in costs.items():
        cuts = windows[account_id].cuts
        asked += [
            (cost, [*cuts, max(cuts[-1], cost.period.end)])
            for cost in found.all
            if cost.is_usage and cost.period.end > cuts[0]
        ]
    grown: dict[uuid.UUID, list[tuple[Cost, list[CostStep]]]] = {account_id: [] for account_id in costs}
    for (cost, _), steps in zip(asked, grow_costs(asked), strict=True):
        grown[cost.account_id].append((cost, steps))
    return grown


def _load_charged(
    costs: Mapping[uuid.UUID, AccountCosts], windows: Mapping[uuid.UUID, _Window]
) -> dict[tuple[uuid.UUID, str], int]:
    """Return what was charged at once in each account's month, minor units. One query, two where anything can be."""
    meters = list(Meter.objects.filter(event_name=CHARGED_METER).values_list("pk", flat=True))
    charged: dict[tuple[uuid.UUID, str], int] = defaultdict(int)
    months: dict[Period, list[uuid.UUID]] = defaultdict(list)
    for account_id in costs if meters else ():
        months[windows[account_id].month].append(account_id)
    for month, account_ids in months.items():
        for found in sum_charged(account_ids=account_ids, meter_ids=meters, period=month):
            currency = found.currency or costs[found.account_id].account.currency
            charged[found.account_id, currency] += round_to_minor(found.amount)
    return charged


def _sum_up(
    running: RunningCosts,
    grown: Sequence[tuple[Cost, list[CostStep]]],
    fixed: Sequence[Cost],
    window: _Window,
    *,
    charged: int,
) -> CostSoFar:
    days = [_sum_day(day, grown, fixed, window) for day in window.days]
    begin = window.cuts.index(window.month.start)
    return CostSoFar(
        currency=running.currency,
        period=running.period,
        fixed=running.fixed,
        usage=running.usage,
        today=days[-1],
        days_before=tuple(days[:-1]),
        month_spend=charged
        + sum(steps[-1].net - steps[begin].net for _, steps in grown)
        + sum(cost.net for cost in fixed if cost.period.start in window.month),
    )


def _sum_day(
    day: date, grown: Sequence[tuple[Cost, list[CostStep]]], fixed: Sequence[Cost], window: _Window
) -> DayCost:
    place = window.cuts.index(_midnight(day))
    whole = Period(_midnight(day), _midnight(day + timedelta(days=1)))
    return DayCost(
        day=day,
        usage=sum(steps[place + 1].net - steps[place].net for _, steps in grown),
        fixed=sum(cost.net for cost in fixed if cost.period.start in whole),
        has_usage=any(steps[place + 1].event_count for _, steps in grown),
    )
