"""
Whether a usage event is on an invoice, on which line, or when it will be, or why on none.

A line says which usage it holds by its meter, its period, and the last moment one of its events was recorded: what was
recorded later came after it. Usage that is not billed yet is asked of what will bill it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast
from uuid import UUID

from django.db.models import F

from accounts.models import BILLABLE_STATUSES, Subscription, SubscriptionStatus
from accounts.models.subscription import RUNNING_STATUSES
from billing_site.kernel.periods import Period
from invoicing.calculation.texts import parse_instant
from invoicing.models import InvoiceLine, InvoiceStatus, LineType
from invoicing.queries.billables import Billables, load_billables
from invoicing.queries.billed_usage import list_silent_periods, reaches_back
from invoicing.queries.facts import get_boundary
from invoicing.queries.sellers import get_sellers
from metering.models import UsageEvent
from metering.queries.inspecting import EventFacts, inspect_event

BillingState = Literal[
    "charged",
    "invoiced",
    "drafted",
    "after_invoice",
    "next_invoice",
    "later_invoice",
    "trial",
    "billed_elsewhere",
    "not_priced",
    "no_subscription",
    "closed",
]


@dataclass(frozen=True, slots=True)
class EventBilling:
    """
    How an event is billed. `line` is the line that holds its time, with its invoice, if there is one.

    `invoiced` names the line that holds it: that of its period, or one that billed late usage after it.
    `after_invoice`: the lines were made before the event was recorded; with `due_at` the next invoice of the
    subscription bills it, without none does. `next_invoice` and `later_invoice` name the subscription, and `due_at` is
    when its next invoice is due. `closed`: its time was billed without its meter.
    """

    state: BillingState
    line: InvoiceLine | None = None
    subscription: Subscription | None = None
    due_at: datetime | None = None

    @property
    def is_billed(self) -> bool:
        """Tell whether money was asked for it already."""
        return self.state in ("charged", "invoiced")


@dataclass(frozen=True, slots=True)
class UsageInspection:
    """Everything there is to say about one event. `voiding` is how the row that took it back is billed."""

    facts: EventFacts
    billing: EventBilling
    voiding: EventBilling | None

    @property
    def event(self) -> UsageEvent:
        return self.facts.event


def inspect_usage(event: UsageEvent, *, at: datetime) -> UsageInspection:
    """Return what became of an event, and how it is billed. A fixed number of queries."""
    facts = inspect_event(event, at=at)
    lines = _list_lines(event)
    billing = _explain(event, event.recorded_at, lines)
    voiding = None
    if facts.voided_by is not None:
        recorded_at = facts.voided_by.corrected_at
        # Until its time is invoiced both go the same way.
        voiding = _explain_by_lines(recorded_at, lines) or billing
    return UsageInspection(facts, billing, voiding)


def explain_billing(event: UsageEvent) -> EventBilling:
    """Return how an event, which comes with account and meter, is billed. A fixed number of queries."""
    return _explain(event, event.recorded_at, _list_lines(event))


def _explain(event: UsageEvent, recorded_at: datetime, lines: Sequence[_Line]) -> EventBilling:
    if event.charged:
        return EventBilling("charged")
    return _explain_by_lines(recorded_at, lines) or _explain_by_subscriptions(event)


# ---- what was billed ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Line:
    """A usage line over the time of the event, and until when what was recorded is on it."""

    line: InvoiceLine
    recorded_until: datetime | None

    def holds(self, recorded_at: datetime) -> bool:
        return self.recorded_until is not None and recorded_at <= self.recorded_until


def _list_lines(event: UsageEvent) -> list[_Line]:
    rows = (
        InvoiceLine.objects.filter(
            invoice__account_id=event.account_id,
            meter_id=event.meter_id,
            type=LineType.USAGE,
            period_start__lte=event.timestamp,
            period_end__gt=event.timestamp,
            is_reversed=False,
        )
        .exclude(invoice__status=InvoiceStatus.VOID)
        .select_related("invoice__subscription__account", "subscription__account", "invoice__seller")
        .defer("trace", "invoice__trace", "invoice__account_snapshot", "invoice__seller_snapshot")
        .annotate(recorded=F("trace__charge__source__last_recorded_at"))
        .order_by("id")
    )
    return [
        _Line(cast(InvoiceLine, row), parse_instant(row.recorded) if row.recorded else None)
        for row in cast("Iterator[Any]", rows)
    ]


def _explain_by_lines(recorded_at: datetime, lines: Sequence[_Line]) -> EventBilling | None:
    """Return how what was recorded then is billed by these lines, None when there is none."""
    if not lines:
        return None
    chosen = next((each for each in lines if each.holds(recorded_at)), lines[0])
    is_draft = chosen.line.invoice.status == InvoiceStatus.DRAFT
    if chosen.holds(recorded_at):
        return EventBilling("drafted" if is_draft else "invoiced", chosen.line, chosen.line.owner)
    subscription = chosen.line.owner
    if is_draft and chosen.line.invoice.finalize_at is not None:
        # Measured again before it is issued.
        return EventBilling("drafted", chosen.line, subscription)
    if subscription is not None and subscription.status in BILLABLE_STATUSES:
        boundary = get_boundary(subscription)
        if boundary.closing is not None and chosen.line.period_end > boundary.closing.start:
            # An interim invoice has what came before it; the period is not over.
            return EventBilling("next_invoice", None, subscription, subscription.next_billing_at)
    return EventBilling("after_invoice", chosen.line, subscription, _find_late_due(chosen.line))


def _find_late_due(line: InvoiceLine) -> datetime | None:
    """Return when the invoice is due that bills what came late for a line; None if none does."""
    invoice, subscription = line.invoice, line.owner
    if subscription is None or subscription.status not in BILLABLE_STATUSES:
        return None
    within = reaches_back(get_boundary(subscription), line.period, invoice.seller)
    return subscription.next_billing_at if within else None


# ---- what will be billed --------------------------------------------------------------------------------------------
_FIRST: Final = {"next_invoice": 0, "later_invoice": 1, "trial": 2, "billed_elsewhere": 3, "closed": 4, "not_priced": 5}


def _explain_by_subscriptions(event: UsageEvent) -> EventBilling:
    """Return which of the running subscriptions bills it, or why none does."""
    running = list(
        Subscription.objects.filter(account_id=event.account_id, status__in=RUNNING_STATUSES)
        .select_related("account__test_clock", "plan_version__plan", "pending_plan_version__plan")
        .order_by("id")
    )
    if not running:
        return EventBilling("no_subscription")
    billables = load_billables(running, sellers=get_sellers([each.account for each in running]))
    silent = set(list_silent_periods([get_boundary(each) for each in running], billables))
    found = [_explain_by_subscription(event, each, billables, silent) for each in running]
    return min(found, key=lambda each: _FIRST[each.state])


def _explain_by_subscription(
    event: UsageEvent, subscription: Subscription, billables: Billables, silent: Collection[tuple[UUID, Period]]
) -> EventBilling:
    def say(state: BillingState) -> EventBilling:
        due_at = subscription.next_billing_at if state in ("next_invoice", "later_invoice") else None
        return EventBilling(state, None, subscription, due_at)

    if not subscription.is_billed_here:
        return say("billed_elsewhere")
    moment = event.timestamp
    if subscription.status == SubscriptionStatus.TRIALING and moment < subscription.current_period_end:
        return say("trial")
    boundary = get_boundary(subscription)
    billed = {each.item.meter_id: each for each in billables.list_for(boundary) if each.type == "usage"}
    if (billable := billed.get(event.meter_id)) is not None:
        late = any(item_id == billable.item.id and moment in period for item_id, period in silent)
        if moment in billable.period or late:
            return say("next_invoice")
        return say("later_invoice" if moment >= billable.period.end else "closed")
    # The first boundary bills no usage: what the running period uses is billed when it closes.
    items = billables.items.get(subscription.id, ())
    priced = {item.meter_id for item in items if item.price is not None and item.meter_id is not None}
    running = Period(subscription.current_period_start, subscription.current_period_end)
    outside = billables.meter_prices.list_for(subscription, running, besides=priced)
    if event.meter_id in priced or any(meter.id == event.meter_id for meter, _ in outside):
        return say("later_invoice" if moment >= running.start else "closed")
    return say("not_priced")
