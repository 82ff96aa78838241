"""
What each cost center of an account costs in a period: its usage, as the engine that bills rated it.

Billed periods come from the lines of their invoices, periods that are not billed yet from the same draft that billing
would make. Costs are after discounts, before tax and credit: of the running period they sum to the cost so far.
Source: contract chapter Cost centers; policies, rule 3; ADR 0033.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Q

from accounts.models import Account, CostCenter
from accounts.queries.cost_centers import CostCenterNode, load_tree
from billing_site.kernel.errors import PeriodNotValid
from billing_site.kernel.money import allocate
from billing_site.kernel.periods import Period, add_months, local_date, local_midnight
from catalog.models import Meter
from invoicing.models import InvoiceLine, InvoiceStatus, LineType
from invoicing.queries.running import list_open
from metering.queries.periods import (
    choose_period,
    get_calendar_month,
    get_default_period,
    list_running_subscriptions,
)
from metering.stores import CenterQuantity, CenterRequest, sum_centers

ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class MetricCost:
    """What a center used of one meter, and the direct cost of that in minor units."""

    meter: Meter
    quantity: Decimal
    cost: int


@dataclass(frozen=True, slots=True)
class CenterCost:
    """
    One center. `direct` is the cost of its own usage, `rolled_up` with everything below it; minor units.

    `budget_used_percent` is whole percents, cut off, of the monthly budget times the months of the period; None without
    a budget, with one of zero, or with one in another currency.
    """

    center: CostCenter
    depth: int
    direct: int
    rolled_up: int
    by_metric: tuple[MetricCost, ...]
    budget_used_percent: int | None


@dataclass(frozen=True, slots=True)
class CostAllocation:
    """The cost of an account in a half-open period: `total` is the direct costs of all centers and `unallocated`."""

    account: Account
    period: Period
    currency: str
    items: tuple[CenterCost, ...]
    unallocated: int
    total: int


class _Part(NamedTuple):
    """What a line that is split gives to one center (None: to nobody)."""

    cost_center_id: UUID | None
    quantity: Decimal
    amount: int


@dataclass(frozen=True, slots=True)
class _Cost:
    """
    One billed or previewed cost, `amount` after discounts.

    Without a meter it is a fee: owed by nobody in particular, as its period begins.
    """

    amount: int
    period: Period
    meter: Meter | None = None
    splits: tuple[_Part, ...] = ()


@dataclass(slots=True)
class _Ledger:
    """Who pays what, while it is added up."""

    unallocated: int = 0
    costs: dict[UUID, dict[UUID, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    quantities: dict[UUID, dict[UUID, Decimal]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: ZERO))
    )
    meters: dict[UUID, Meter] = field(default_factory=dict)

    def add(self, center_id: UUID | None, meter: Meter, quantity: Decimal, amount: int) -> None:
        if center_id is None:
            self.unallocated += amount
            return
        self.meters[meter.id] = meter
        self.costs[center_id][meter.id] += amount
        self.quantities[center_id][meter.id] += quantity

    def list_metrics(self, center_id: UUID) -> tuple[MetricCost, ...]:
        """Return what a center pays for, by name of the meter."""
        costs, quantities = self.costs.get(center_id, {}), self.quantities.get(center_id, {})
        meters = sorted((self.meters[meter_id] for meter_id in costs), key=lambda meter: meter.event_name)
        return tuple(MetricCost(meter, quantities[meter.id], costs[meter.id]) for meter in meters)


def choose_allocation_period(account: Account, *, start: date | None, end: date | None, at: datetime) -> Period:
    """
    Return the days from `start` to `end`, both included, where the account lives.

    What is not given comes from the running billing period of its oldest subscription, else from the calendar month.
    :raises PeriodNotValid: when the last day lies before the first, or further away than usage questions may reach.
    """
    running = list_running_subscriptions(account) if start is None or end is None else []
    default = get_default_period(account, running[0] if running else None, at=at)
    first = None if start is None else local_midnight(start, account.zone)
    last = None if end is None else local_midnight(end + timedelta(days=1), account.zone)
    if first is not None and last is not None and last <= first:
        raise PeriodNotValid("The period ends before it starts.")
    return choose_period(first, last, default=default)


def allocate_costs(*, account: Account, period: Period, at: datetime) -> CostAllocation:
    """
    Return the cost of an account in a half-open period by cost center, in the order of its tree.

    Usage counts when it happened: of a line that reaches beyond the period the share of the quantity within it. A line
    that was split keeps its split. Fees, minimums and prorations are unallocated and count where their period begins;
    what has not begun at `at` is left out. A fixed number of queries for each period that is not billed yet.
    """
    nodes = load_tree(account.pk).nodes
    costs = [*_list_billed(account, period), *_list_unbilled(account, at)]
    found = _Ledger()
    codes = {node.center.pk: node.center.code.lower() for node in nodes}
    usage = [cost for cost in costs if cost.meter is not None and cost.period.overlaps(period)]
    requests = [request for cost in usage for request in _ask(account, cost, period)]
    groups = iter(sum_centers(requests))
    for cost in usage:
        _add_usage(found, cost, period, [next(groups) for _ in _ask(account, cost, period)], codes)
    found.unallocated += sum(cost.amount for cost in costs if cost.meter is None and cost.period.start in period)
    months = count_months(period, account.zone)
    direct = {center_id: sum(costs.values()) for center_id, costs in found.costs.items()}
    rolled_up = _roll_up(nodes, direct)
    items = tuple(
        CenterCost(
            center=node.center,
            depth=node.depth,
            direct=direct.get(node.center.pk, 0),
            rolled_up=rolled_up[node.center.pk],
            by_metric=found.list_metrics(node.center.pk),
            budget_used_percent=_compare(node.center, rolled_up[node.center.pk], account.currency, months),
        )
        for node in nodes
    )
    total = found.unallocated + sum(direct.values())
    return CostAllocation(account, period, account.currency, items, found.unallocated, total)


def allocate_running_month(account: Account, *, at: datetime) -> CostAllocation:
    """Return the costs of the calendar month around `at`, which budgets are for, where the account lives."""
    return allocate_costs(account=account, period=get_calendar_month(at, account.zone), at=at)


# ---- what there is to allocate --------------------------------------------------------------------------------------
def _list_billed(account: Account, period: Period) -> Iterator[_Cost]:
    """Yield the lines of invoices that are not void, of periods that overlap or begin in this one. Two queries."""
    lines = InvoiceLine.objects.filter(
        Q(period_end__gt=period.start) | Q(period_start__gte=period.start),
        invoice__account=account,
        period_start__lt=period.end,
        currency=account.currency,
        is_reversed=False,
    ).exclude(invoice__status=InvoiceStatus.VOID)
    for line in lines.select_related("meter").prefetch_related("splits").order_by("id"):
        is_usage = line.type == LineType.USAGE
        net = line.amount - line.discount
        parts = tuple(_Part(split.cost_center_id, split.quantity, split.amount) for split in line.splits.all())
        yield _Cost(net, line.period, line.meter if is_usage else None, parts)


def _list_unbilled(account: Account, at: datetime) -> Iterator[_Cost]:
    for subscription in list_open(accounts=[account], at=at):
        for found in subscription.lines:
            line = found.line
            # Of usage that comes late only the line knows who used what is not billed yet.
            shares = line.splits if line.charge.is_rest else ()
            parts = tuple(
                _Part(CostCenter.parse_id(share.center.id), share.center.quantity, share.amount) for share in shares
            )
            if found.currency == account.currency:
                yield _Cost(line.net, line.period, found.meter if line.type == "usage" else None, parts)


# ---- who pays -------------------------------------------------------------------------------------------------------
def _ask(account: Account, cost: _Cost, period: Period) -> list[CenterRequest]:
    """Return the stretches of a usage cost to look at: before the period, within it, after it."""
    if cost.meter is None or _is_split(cost, period):
        return []
    first, last = max(cost.period.start, period.start), min(cost.period.end, period.end)
    stretches = [(cost.period.start, first), (first, last), (last, cost.period.end)]
    return [CenterRequest(account.pk, cost.meter.pk, Period(*stretch)) for stretch in stretches]


def _is_split(cost: _Cost, period: Period) -> bool:
    """Tell whether the document says who pays, for the whole cost."""
    return bool(cost.splits) and period.start <= cost.period.start and cost.period.end <= period.end


def _add_usage(
    found: _Ledger,
    cost: _Cost,
    period: Period,
    stretches: Sequence[Sequence[CenterQuantity]],
    codes: Mapping[UUID, str],
) -> None:
    if cost.meter is None:
        return
    if not stretches:
        amounts = [split.amount for split in cost.splits]
        if sum(amounts) != cost.amount:
            # What is left of the line after its discount is shared out as all of it was.
            quantities = [split.quantity for split in cost.splits]
            amounts = allocate(cost.amount, quantities if any(quantities) else amounts)
        for split, amount in zip(cost.splits, amounts, strict=True):
            found.add(split.cost_center_id, cost.meter, split.quantity, amount)
        return
    weights = [sum((group.quantity for group in groups), ZERO) for groups in stretches]
    if not any(weights):
        # A flat price of usage that is all zero belongs to nobody, and to the beginning of its period.
        found.unallocated += cost.amount if cost.period.start in period else 0
        return
    within = allocate(cost.amount, weights)[1]
    groups = sorted(
        (group for group in stretches[1] if group.quantity),
        key=lambda group: (group.center_id is None, codes.get(group.center_id, "") if group.center_id else ""),
    )
    if groups:
        parts = allocate(within, [group.quantity for group in groups])
        for group, part in zip(groups, parts, strict=True):
            found.add(group.center_id, cost.meter, group.quantity, part)


def _roll_up(nodes: Sequence[CostCenterNode], direct: Mapping[UUID, int]) -> dict[UUID, int]:
    """Return each center's own cost with that of all below it; parents come before their children."""
    rolled_up = {node.center.pk: direct.get(node.center.pk, 0) for node in nodes}
    for node in reversed(nodes):
        parent_id = node.center.parent_id
        if parent_id is not None:
            rolled_up[parent_id] += rolled_up[node.center.pk]
    return rolled_up


def _compare(center: CostCenter, cost: int, currency: str, months: int) -> int | None:
    """Return how much of the budget is used, in whole percents, cut off."""
    if not center.budget or center.currency != currency:
        return None
    return max(0, cost) * 100 // (center.budget * months)


def count_months(period: Period, zone: ZoneInfo) -> int:
    """Return the whole months in a period, at least one."""
    first, last = local_date(period.start, zone), local_date(period.end, zone)
    months = (last.year - first.year) * 12 + last.month - first.month
    return max(1, months if add_months(first, months) <= last else months - 1)
