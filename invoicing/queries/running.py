"""
The periods that are not billed yet, of many accounts at once: what billing would put on their invoices by now.

Each running period is taken as if it ended as planned and nothing more happened in it. Reads only. Source: contract
chapter Realtime cost, preview, estimate; ADR 0033.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from accounts.models import BILLABLE_STATUSES, Account, Subscription, SubscriptionStatus
from accounts.models.subscription import RUNNING_STATUSES
from accounts.terms.cycles import Cycle
from billing_site.kernel.money import RoundingMode
from billing_site.kernel.periods import Period, local_date, local_midnight
from catalog.models import Meter
from invoicing.calculation.draft import Draft, DraftLine, draft_invoice
from invoicing.queries.billables import Billables, DueBoundary, load_billables
from invoicing.queries.facts import (
    BoundaryFacts,
    cut_boundary,
    gather_facts,
    get_boundary,
    get_due_boundary,
    settle_boundary,
)
from invoicing.queries.sellers import get_sellers


@dataclass(frozen=True, slots=True)
class OpenLine:
    """A line that is not billed yet and the meter of its item. Only what has begun is a line at all."""

    line: DraftLine
    meter: Meter | None
    currency: str
    rounding: RoundingMode


@dataclass(slots=True)
class OpenSubscription:
    """
    A subscription that runs, the period that runs now, and its lines that are not billed yet, the oldest first.

    `period` holds the moment asked for, unless nothing is billed any more since an earlier one; it is the one before
    where the next was opened ahead of its time. `previous` is the period before.
    """

    subscription_id: uuid.UUID
    account: Account
    currency: str
    zone: ZoneInfo
    period: Period
    previous: Period | None
    lines: list[OpenLine]


def list_open(*, accounts: Collection[Account], at: datetime, until: datetime | None = None) -> list[OpenSubscription]:
    """
    Return the running subscriptions of the accounts by their own clocks, the oldest first, with what is not billed yet.

    With `until` as if it were that late already and nothing more had happened. The number of queries is fixed for all
    accounts together; three more for each period that should have been billed before.
    """
    found = list(load_subscriptions().filter(account__in=accounts, status__in=RUNNING_STATUSES))
    times = {each.account_id: until or each.account.clock_time or at for each in found}
    sellers = get_sellers([each.account for each in found])
    billables = load_billables(found, sellers=sellers)
    lines: dict[uuid.UUID, list[OpenLine]] = {each.id: [] for each in found}
    going = [each for each in found if each.status in BILLABLE_STATUSES]
    for each, draft in _pass_boundaries(going, billables, times):
        subscription = each.boundary.subscription
        lines[subscription.id] += _list_begun(each, draft, times[subscription.account_id])
    paused = [boundary for each in found if (boundary := _cut_pause(each, times[each.account_id])) is not None]
    for each in gather_facts(paused, billables=billables) if paused else ():
        subscription = each.boundary.subscription
        lines[subscription.id] += _list_begun(each, draft_invoice(each.facts), times[subscription.account_id])
    return [_describe(each, times[each.account_id], lines[each.id]) for each in found]


def load_subscriptions() -> QuerySet[Subscription]:
    """Return subscriptions with everything that billing them needs, in the order of ids."""
    rows = Subscription.objects.select_related(
        "account__test_clock", "plan_version__plan", "pending_plan_version__plan"
    )
    return rows.order_by("id")


def _pass_boundaries(
    going: Sequence[Subscription], billables: Billables, times: Mapping[uuid.UUID, datetime]
) -> Iterator[tuple[BoundaryFacts, Draft]]:
    """Yield what each boundary bills, up to the one that closes the running period; settles the others in memory."""
    while going := [each for each in going if each.status in BILLABLE_STATUSES and each.next_billing_at is not None]:
        gathered = gather_facts([get_boundary(each) for each in going], billables=billables)
        for each in gathered:
            draft = draft_invoice(each.facts)
            if draft.lines:
                subscription = each.boundary.subscription
                billables.discounts.use_month(subscription.id, at=times[subscription.account_id])
            yield each, draft
        due = [
            each.boundary
            for each in gathered
            if get_due_boundary(each.boundary.subscription, now=times[each.boundary.subscription.account_id])
        ]
        for boundary in due:
            billables.pass_boundary(boundary)
            settle_boundary(boundary)
        going = [boundary.subscription for boundary in due]


def _list_begun(gathered: BoundaryFacts, draft: Draft, now: datetime) -> list[OpenLine]:
    facts = gathered.facts
    return [
        OpenLine(line, _find_meter(gathered, line), facts.currency, facts.rounding)
        for line in draft.lines
        if line.period.start <= now
    ]


def _find_meter(gathered: BoundaryFacts, line: DraftLine) -> Meter | None:
    item = gathered.items.get(line.charge.item_id)
    return None if item is None else item.meter


def _cut_pause(subscription: Subscription, now: datetime) -> DueBoundary | None:
    """
    Return the boundary at which a paused subscription would be billed if it ended with its pause, for the period of it.

    None when that period is over, or was a trial. Usage in the pause is billed when it is resumed.
    """
    paused_at = subscription.paused_at
    if subscription.status != SubscriptionStatus.PAUSED or paused_at is None or not subscription.is_billed_here:
        return None
    if now not in subscription.current_period or subscription.trial_end == subscription.current_period_end:
        return None
    return cut_boundary(subscription, at=min(max(paused_at, subscription.current_period_start), now))


def _describe(subscription: Subscription, now: datetime, lines: list[OpenLine]) -> OpenSubscription:
    period, cycle = subscription.current_period, subscription.cycle
    previous = _find_previous(subscription, cycle, period)
    if now < period.start and previous is not None:
        period, previous = previous, _find_previous(subscription, cycle, previous)
    return OpenSubscription(
        subscription_id=subscription.id,
        account=subscription.account,
        currency=subscription.currency,
        zone=subscription.zone,
        period=period,
        previous=previous,
        lines=lines,
    )


def _find_previous(subscription: Subscription, cycle: Cycle, period: Period) -> Period | None:
    """Return the period that ended where `period` begins, by the cycle; None for the first."""
    # The first period begins with the day on which the subscription started.
    first = local_midnight(local_date(subscription.started_at, cycle.zone), cycle.zone)
    start = max(cycle.period(cycle.index_at(period.start) - 1).start, first)
    return Period(start, period.start) if start < period.start else None
