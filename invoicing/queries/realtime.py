"""
What an account costs while its periods run: now, by meter, and step by step.

`total_cost` is what the invoices that close the running periods will ask for if nothing more is used, with the fees in
advance of the running periods, already billed, in place of those of the next. Source: contract chapter Realtime cost,
preview, estimate; ADR 0033.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from accounts.models import Account
from billing_site.kernel.errors import PeriodNotValid
from billing_site.kernel.periods import Period, local_date, local_midnight
from catalog.models import Meter
from invoicing.queries.costs import AccountCosts, Cost, SubscriptionCosts, grow_costs, load_costs, sum_by_meter
from metering.queries.meters import list_meters
from metering.queries.periods import get_calendar_month
from metering.stores import QuantityRequest, sum_quantities

Granularity = Literal["hour", "day"]
MAX_POINTS: Final = 750
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class RunningCosts:
    """
    The costs of an account in one currency.

    `period` reaches from the first start of its running periods to the last end; without a running subscription it is
    the calendar month where the account lives.
    """

    account: Account
    at: datetime
    currency: str
    period: Period
    subscriptions: Sequence[SubscriptionCosts]
    costs: Sequence[Cost]

    @property
    def fixed(self) -> int:
        return sum(cost.net for cost in self.costs if not cost.is_usage)

    @property
    def usage(self) -> int:
        return sum(cost.net for cost in self.costs if cost.is_usage)

    @property
    def total(self) -> int:
        return self.fixed + self.usage


@dataclass(frozen=True, slots=True)
class RealtimeCost:
    """The cost of the running periods so far; `previous_total` is that of those before, up to the same share."""

    running: RunningCosts
    previous_total: int


@dataclass(frozen=True, slots=True)
class ResourceCost:
    """
    One meter: what it costs so far, what it had cost at the same share of the period before, and the quantity.

    Without a meter: everything that is fixed. `threshold` is the quantity that the price leaves free, None where it
    leaves nothing. `share_percent` is of the total of all rows, to two decimals.
    """

    meter: Meter | None
    cost: int
    previous_cost: int
    quantity: Decimal
    threshold: Decimal | None
    share_percent: Decimal
    last_recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class RealtimeResources:
    """The cost so far by meter, the dearest first; together they are the total of `running`."""

    running: RunningCosts
    items: Sequence[ResourceCost]


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """One step: what was added in it, and what the period came to when it ended."""

    at: datetime
    cost: int
    cumulative: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """The steps of the running periods up to now, the oldest first."""

    running: RunningCosts
    granularity: Granularity
    points: Sequence[TimelinePoint]


def get_realtime_cost(*, account: Account, at: datetime, currency: str | None = None) -> RealtimeCost:
    """
    Return the cost so far in `currency`, else in the account's own if it buys anything in it, else in the oldest one's.

    A fixed number of queries; three more for each period that should have been billed before.
    """
    return compare_with_previous(load_running(account=account, at=at, currency=currency))


def compare_with_previous(running: RunningCosts) -> RealtimeCost:
    """Return running costs with those of the periods before. At most three queries."""
    return RealtimeCost(running, sum(amount for _, amount in _list_previous(running)))


def load_running(*, account: Account, at: datetime, currency: str | None = None) -> RunningCosts:
    """Return the costs of the running periods of one account. As many queries as loading costs takes."""
    return choose_running(load_costs(accounts=[account], at=at)[account.pk], currency=currency)


def choose_running(costs: AccountCosts, *, currency: str | None = None) -> RunningCosts:
    """Return the running costs in one currency. No query."""
    account, at = costs.account, costs.at
    currency = currency or choose_currency(costs)
    mine = [each for each in costs.subscriptions if each.open.currency == currency]
    period = get_calendar_month(at, account.zone)
    if mine:
        period = Period(min(each.open.period.start for each in mine), max(each.open.period.end for each in mine))
    others = [cost for cost in costs.others if cost.currency == currency and cost.period.start in period]
    return RunningCosts(
        account=account,
        at=at,
        currency=currency,
        period=period,
        subscriptions=mine,
        costs=[*(cost for each in mine for cost in each.running), *others],
    )


def choose_currency(costs: AccountCosts) -> str:
    """Return the account's currency if it buys anything in it, or nothing at all, else its oldest subscription's."""
    offered = [each.open.currency for each in costs.subscriptions]
    own = costs.account.currency
    return own if own in offered or not offered else offered[0]


def get_realtime_resources(*, account: Account, at: datetime, currency: str | None = None) -> RealtimeResources:
    """
    Return the cost so far by meter, in the currency that `get_realtime_cost` chooses.

    Every meter that is priced or was used has a row; what is fixed is one row of its own. Two queries more than the
    cost.
    """
    running = load_running(account=account, at=at, currency=currency)
    previous: dict[uuid.UUID | None, int] = defaultdict(int)
    meters: dict[uuid.UUID, Meter] = {}
    for cost, amount in _list_previous(running):
        previous[None if cost.meter is None else cost.meter.pk] += amount
        if cost.meter is not None:
            meters[cost.meter.pk] = cost.meter
    meters |= {cost.meter.pk: cost.meter for cost in running.costs if cost.meter is not None}
    used = _sum_unpriced(running, known=meters)
    meters |= {meter.pk: meter for meter, _ in used}
    quantities = {meter.pk: quantity for meter, quantity in used}
    now = sum_by_meter(running.costs)
    total = running.total
    items = [
        _describe_meter(
            meter,
            [cost for cost in running.costs if cost.meter is not None and cost.meter.pk == meter.pk],
            cost=now.get(meter.pk, 0),
            previous=previous[meter.pk],
            unpriced=quantities.get(meter.pk, ZERO),
            total=total,
        )
        for meter in meters.values()
    ]
    items.sort(key=lambda item: (-item.cost, "" if item.meter is None else item.meter.event_name))
    if running.fixed or previous[None]:
        share = compute_percent(running.fixed, total)
        items.insert(0, ResourceCost(None, running.fixed, previous[None], ZERO, None, share, None))
    return RealtimeResources(running, items)


def compute_percent(part: int, whole: int) -> Decimal:
    """Return `part` in percent of `whole`, to two decimals; zero of nothing."""
    return (Decimal(part) * 100 / whole).quantize(Decimal("0.01")) if whole else Decimal("0.00")


def get_timeline(
    *,
    account: Account,
    at: datetime,
    granularity: Granularity = "day",
    start: datetime | None = None,
    end: datetime | None = None,
    currency: str | None = None,
) -> Timeline:
    """
    Return the cost of the running periods step by step, in the currency that `get_realtime_cost` chooses.

    :raises: as `draw_timeline`. As many queries as the cost takes.
    """
    if start is not None and end is not None and end < start:
        raise PeriodNotValid("The period ends before it starts.")
    running = load_running(account=account, at=at, currency=currency)
    return draw_timeline(running, granularity=granularity, start=start, end=end)


def draw_timeline(
    running: RunningCosts,
    *,
    granularity: Granularity = "day",
    start: datetime | None = None,
    end: datetime | None = None,
) -> Timeline:
    """
    Return running costs step by step, only steps that overlap `[start, end)` where given. At most three queries.

    Days are those of the account's zone, hours those of its clock; the first step begins with the period, the last is
    the one that runs. Usage counts in the step in which it happened, at the price of all usage so far; what is fixed
    in the first step of its subscription's period. Every step is there, and the last comes to the total cost.
    :raises PeriodNotValid: for more than 750 steps.
    """
    steps = _list_steps(running, granularity, start=start, end=end)
    if not steps:
        return Timeline(running, granularity, ())
    # The cost before the first step that is shown, then that at the end of each.
    instants = [steps[0].start, *(step.end for step in steps)]
    sums = _sum_at(running, instants)
    if running.at in steps[-1] or steps[-1].end >= running.period.end:
        sums[-1] = running.total
    points = [
        TimelinePoint(step.start, after - before, after)
        for step, before, after in zip(steps, sums[:-1], sums[1:], strict=True)
    ]
    return Timeline(running, granularity, points)


def _list_steps(
    running: RunningCosts, granularity: Granularity, *, start: datetime | None, end: datetime | None
) -> list[Period]:
    """Return the steps that have begun and overlap the stretch asked for."""
    found: list[Period] = []
    step_start, limit = running.period.start, running.period.end
    while step_start <= running.at and step_start < limit and (end is None or step_start < end):
        step_end = min(_find_step_end(running, granularity, step_start), limit)
        if start is None or step_end > start:
            found.append(Period(step_start, step_end))
            if len(found) > MAX_POINTS:
                raise PeriodNotValid(f"A timeline has at most {MAX_POINTS} points; ask for days, or for less time.")
        step_start = step_end
    return found


def _find_step_end(running: RunningCosts, granularity: Granularity, start: datetime) -> datetime:
    """Return the next full hour or midnight where the account lives."""
    zone = running.account.zone
    if granularity == "hour":
        local = start.astimezone(zone)
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return start - past + timedelta(hours=1)
    day = local_date(start, zone)
    while True:
        day += timedelta(days=1)
        midnight = local_midnight(day, zone)
        # A day that the zone skipped ends where it begins.
        if midnight > start:
            return midnight


def _sum_at(running: RunningCosts, instants: Sequence[datetime]) -> list[int]:
    """Return what the running periods came to before each instant; what was used before them is in their first step."""
    begins = {each.open.subscription_id: each.open.period.start for each in running.subscriptions}
    sums = [0] * len(instants)
    usage = [cost for cost in running.costs if cost.is_usage]
    for grown in grow_costs([(cost, instants) for cost in usage]):
        for number, step in enumerate(grown):
            sums[number] += step.net if instants[number] > running.period.start else 0
    for cost in running.costs:
        if not cost.is_usage:
            moment = begins.get(cost.subscription_id, cost.period.start) if cost.subscription_id else cost.period.start
            for number, instant in enumerate(instants):
                sums[number] += cost.net if moment < instant else 0
    return sums


def _list_previous(running: RunningCosts) -> list[tuple[Cost, int]]:
    """
    Return what the previous periods had cost at the share of them that has passed of the running ones.

    Usage up to there at the prices it was billed at; fees whole, for they are owed from the first day.
    """
    found: list[tuple[Cost, int]] = []
    asked: list[tuple[Cost, Sequence[datetime]]] = []
    for each in running.subscriptions:
        if each.open.previous is None:
            continue
        cut = _find_same_share(each.open.period, each.open.previous, running.at)
        for cost in each.previous:
            if cost.is_usage:
                asked.append((cost, [cut]))
            else:
                found.append((cost, cost.net))
    found += [(cost, step.net) for (cost, _), (step,) in zip(asked, grow_costs(asked), strict=True)]
    return found


def _find_same_share(period: Period, previous: Period, at: datetime) -> datetime:
    """Return the moment of `previous` at which as much of it had passed as of `period` at `at`."""
    passed = min(max(at - period.start, timedelta(0)), period.duration)
    return previous.start + previous.duration * (passed / period.duration)


def _describe_meter(
    meter: Meter, costs: Sequence[Cost], *, cost: int, previous: int, unpriced: Decimal, total: int
) -> ResourceCost:
    free = [each.price.options.free_quantity for each in costs if each.price is not None]
    recorded = [each.last_recorded_at for each in costs if each.last_recorded_at is not None]
    return ResourceCost(
        meter=meter,
        cost=cost,
        previous_cost=previous,
        quantity=sum((each.quantity for each in costs), ZERO) if costs else unpriced,
        threshold=next((quantity for quantity in free if quantity is not None), None),
        share_percent=compute_percent(cost, total),
        last_recorded_at=max(recorded, default=None),
    )


def _sum_unpriced(running: RunningCosts, *, known: Mapping[uuid.UUID, Meter]) -> list[tuple[Meter, Decimal]]:
    """Return the meters that were used in the running periods and cost nothing, and how much. Two queries."""
    meters = {meter.pk: meter for meter in list_meters(org_id=running.account.org_id) if meter.pk not in known}
    found = sum_quantities([QuantityRequest(running.account.pk, pk, running.period, to_bill=True) for pk in meters])
    return [(meters[request.meter_id], each.quantity) for request, each in found.items() if each.event_count]
