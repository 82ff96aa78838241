"""
What accounts cost: lines that were billed and lines that will be, in one form, and how each grew step by step.

Amounts are minor units after discounts, before tax and stored money: what the account is asked for. Every number comes
from an issued line or from the draft of the engine that bills. Source: contract chapter Realtime cost, preview,
estimate; policies, rules 2 and 3; ADR 0033.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, cast

from django.db.models import F, Q

from accounts.models import Account
from billing_site.kernel.money import EXACT, RoundingMode, round_to_minor
from billing_site.kernel.periods import Period
from catalog.models import Meter
from catalog.pricing.terms import PriceTerms
from invoicing.calculation.texts import parse_instant
from invoicing.models import InvoiceLine, InvoiceStatus, LineType
from invoicing.queries.members import owns_line
from invoicing.queries.running import OpenLine, OpenSubscription, list_open
from metering.queries.measuring import MeasureRequest
from metering.queries.stepping import RatedStep, SteppedRequest, rate_steps

ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Cost:
    """
    One line, billed or not: `net` is what it asks for, `amount` that before discounts.

    Usage has a meter and the price it is rated at; anything else (fees, prorations, what makes up for a minimum) has
    none and is fixed. `gap_of` is the meter whose usage has not reached its minimum, as long as that is not billed.
    """

    account_id: uuid.UUID
    subscription_id: uuid.UUID | None
    currency: str
    period: Period
    amount: int
    net: int
    rounding: RoundingMode = "half_up"
    meter: Meter | None = None
    price: PriceTerms | None = None
    quantity: Decimal = ZERO
    last_recorded_at: datetime | None = None
    gap_of: Meter | None = None

    @property
    def is_usage(self) -> bool:
        return self.meter is not None


@dataclass(frozen=True, slots=True)
class CostStep:
    """What a line asks for up to the end of a step, minor units, and the events of the step."""

    net: int
    event_count: int


@dataclass(slots=True)
class SubscriptionCosts:
    """A running subscription and its costs: those of its running period, and those of the period before it."""

    open: OpenSubscription
    running: list[Cost] = field(default_factory=list)
    previous: list[Cost] = field(default_factory=list)


@dataclass(slots=True)
class AccountCosts:
    """
    The costs of one account at a moment of its own clock.

    `others` are billed costs of no running subscription: of those that ended, and of none at all. `all` is everything
    that was loaded, each line once.
    """

    account: Account
    at: datetime
    subscriptions: list[SubscriptionCosts] = field(default_factory=list)
    others: list[Cost] = field(default_factory=list)
    all: list[Cost] = field(default_factory=list)


def load_costs(
    *,
    accounts: Collection[Account],
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[uuid.UUID, AccountCosts]:
    """
    Return the costs of accounts that have not ended before their running and previous periods began, by account.

    With `since` also what had not ended then; with `until` as if it were that late already and nothing more had
    happened. A fixed number of queries, whatever there are of accounts, subscriptions and usage; three more for each
    period that should have been billed before.
    """
    opened = list_open(accounts=accounts, at=at, until=until)
    costs = {each.pk: AccountCosts(each, each.clock_time or at) for each in accounts}
    mine: dict[uuid.UUID, SubscriptionCosts] = {}
    for each in opened:
        found = mine[each.subscription_id] = SubscriptionCosts(each)
        costs[each.account.pk].subscriptions.append(found)
        for line in each.lines:
            _place(found, read_open_line(each, line), costs[each.account.pk])
    starts = [period.start for each in opened for period in (each.previous, each.period) if period is not None]
    if since is not None or starts:
        earliest = min([*starts, *([] if since is None else [since])])
        for cost in list_billed(account_ids=costs, since=earliest):
            owner = costs[cost.account_id]
            running = mine.get(cost.subscription_id) if cost.subscription_id is not None else None
            if running is not None:
                _place(running, cost, owner)
            else:
                owner.others.append(cost)
                owner.all.append(cost)
    return costs


def _place(found: SubscriptionCosts, cost: Cost, owner: AccountCosts) -> None:
    """
    Put a cost where its period begins. What is billed when the running period closes is of that one, however early.

    Usage before a period that was opened ahead of its time is billed with it.
    """
    owner.all.append(cost)
    period, previous = found.open.period, found.open.previous
    if period.start <= cost.period.start < period.end:
        found.running.append(cost)
    elif previous is not None and previous.start <= cost.period.start < previous.end:
        (found.running if cost.is_usage and cost.period.end > period.start else found.previous).append(cost)


def read_open_line(opened: OpenSubscription, each: OpenLine) -> Cost:
    """Return the cost of a line that is not billed yet."""
    line, charge = each.line, each.line.charge
    is_usage = line.type == "usage" and each.meter is not None
    return Cost(
        account_id=opened.account.pk,
        subscription_id=opened.subscription_id,
        currency=each.currency,
        period=line.period,
        amount=line.amount,
        net=line.net,
        rounding=each.rounding,
        meter=each.meter if is_usage else None,
        price=charge.price if is_usage else None,
        quantity=line.quantity if is_usage else ZERO,
        last_recorded_at=charge.source.last_recorded_at if is_usage else None,
        gap_of=each.meter if line.type == "one_off" else None,
    )


def list_billed(*, account_ids: Collection[uuid.UUID], since: datetime) -> Iterator[Cost]:
    """
    Yield the costs of lines whose period ends or begins at `since` or later, by line. One query.

    Lines of void invoices and of reversed ones are no costs. Only the facts of usage are read from the traces.
    """
    lines = (
        InvoiceLine.objects.filter(
            Q(period_end__gte=since) | Q(period_start__gte=since), invoice__account__in=account_ids, is_reversed=False
        )
        .exclude(invoice__status=InvoiceStatus.VOID)
        .select_related("meter")
        .defer("trace")
        .annotate(
            account_id=F("invoice__account_id"),
            owner_id=owns_line(),
            terms=F("trace__charge__price"),
            recorded=F("trace__charge__source__last_recorded_at"),
            rounding=F("invoice__trace__rounding"),
        )
        .order_by("id")
    )
    for line in cast(Iterable[Any], lines):
        is_usage = line.type == LineType.USAGE and line.meter is not None and line.terms is not None
        yield Cost(
            account_id=line.account_id,
            subscription_id=line.owner_id,
            currency=line.currency,
            period=line.period,
            amount=line.amount,
            net=line.amount - line.discount,
            rounding=line.rounding or "half_up",
            meter=line.meter if is_usage else None,
            price=PriceTerms.from_dict(line.terms) if is_usage else None,
            quantity=line.quantity if is_usage else ZERO,
            last_recorded_at=parse_instant(line.recorded) if is_usage and line.recorded else None,
        )


def grow_costs(asked: Sequence[tuple[Cost, Sequence[datetime]]]) -> list[list[CostStep]]:
    """
    Return what each usage cost comes to at each of its instants: usage before the instant, at its own price.

    The instants ascend. One that is not before the end of the period gives the line's own amount, so that the steps of
    a line sum to it; one that is not after the start gives zero. A discount takes the same share of every step. At most
    three statements.
    """
    requests = []
    for cost, instants in asked:
        if cost.meter is None or cost.price is None:
            raise ValueError("only usage grows with time")
        cuts = (*(instant for instant in instants if instant < cost.period.end), cost.period.end)
        measure = MeasureRequest(cost.account_id, cost.meter.pk, cost.period, cost.price)
        requests.append(SteppedRequest(measure, cost.meter.aggregation, cuts))
    grown = []
    for (cost, instants), steps in zip(asked, rate_steps(requests), strict=True):
        rounded = _round(cost, steps)
        # Instants past the end repeat it.
        found = [*rounded, *([CostStep(cost.net, 0)] * (len(instants) - len(rounded)))][: len(instants)]
        started = [step if at > cost.period.start else CostStep(0, 0) for at, step in zip(instants, found, strict=True)]
        grown.append(started)
    return grown


def _round(cost: Cost, steps: Sequence[RatedStep]) -> list[CostStep]:
    """Return each exact cumulative amount rounded, the last one the line's own."""
    whole = steps[-1].amount
    is_plain = round_to_minor(whole, mode=cost.rounding) == cost.net
    found = []
    for step in steps[:-1]:
        amount = step.amount
        if not is_plain:
            # Discounted, or usage came in after it was billed.
            amount = EXACT.divide(EXACT.multiply(amount, Decimal(cost.net)), whole) if whole else ZERO
        found.append(CostStep(round_to_minor(amount, mode=cost.rounding), step.event_count))
    return [*found, CostStep(cost.net, steps[-1].event_count)]


def sum_by_meter(costs: Iterable[Cost]) -> Mapping[uuid.UUID, int]:
    """Return what usage asks for by meter."""
    found: dict[uuid.UUID, int] = defaultdict(int)
    for cost in costs:
        if cost.meter is not None:
            found[cost.meter.pk] += cost.net
    return found
