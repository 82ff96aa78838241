"""
What will happen to an account, and when, if nobody does anything.

Renewals, changes and ends are computed with the functions that bill (`get_boundary`, `gather_facts`, `draft_invoice`,
`settle_boundary`), expiries and renewals of credit read from the columns by which the sweeps pick their rows. Nothing
is written and nothing is locked. Usage counts as far as it is known now; a phase that begins in the middle of a period
is told without what it prorates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, cast

from accounts.models import (
    BILLABLE_STATUSES,
    RUNNING_STATUSES,
    Account,
    CreditGrant,
    CreditLot,
    Hold,
    HoldStatus,
    Subscription,
    SubscriptionStatus,
)
from accounts.queries.schedules import UpcomingStep, list_upcoming_steps
from accounts.terms.alignment import open_period
from accounts.terms.boundaries import Alignment
from accounts.terms.pauses import plan_trial_resume
from accounts.terms.proration import take_effect
from billing_site.kernel.periods import Period, local_date
from invoicing.calculation.draft import draft_invoice
from invoicing.queries.billables import Billables, DueBoundary, load_billables
from invoicing.queries.dunning_calendar import list_planned
from invoicing.queries.facts import BoundaryFacts, gather_facts, settle_boundary, take_over
from invoicing.queries.policies import get_proration_terms
from invoicing.queries.schedule_phases import get_boundary_with_phases, group_steps
from invoicing.queries.sellers import get_sellers

AgendaKind = Literal[
    "credit_expires",
    "credit_renews",
    "deposit_expires",
    "discount_ends",
    "hold_expires",
    "invoice",
    "payment_attempt",
    "phase_starts",
    "plan_changes",
    "schedule_ends",
    "start_expires",
    "subscription_ends",
    "subscription_resumes",
    "trial_ends",
]
_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
# What happens first of what happens at one instant: money that ends is gone when the bill of that instant is made.
_ORDER: dict[str, int] = {
    "deposit_expires": 0,
    "credit_expires": 0,
    "credit_renews": 1,
    "hold_expires": 1,
    "subscription_resumes": 2,
    "start_expires": 2,
    "phase_starts": 3,
    "trial_ends": 4,
    "plan_changes": 5,
    "subscription_ends": 6,
    "schedule_ends": 7,
    "invoice": 8,
    "payment_attempt": 8,
    "discount_ends": 9,
}


@dataclass(frozen=True, slots=True)
class AgendaEntry:
    """
    One thing that happens at `at` to `subject` (its public id), in a sentence.

    `amount` is minor units of `currency`: the total of an invoice, or what is left of money that ends.
    """

    at: datetime
    kind: AgendaKind
    subject: str
    text: str
    amount: int | None = None
    currency: str = ""


def list_agenda(account: Account, *, at: datetime, until: datetime) -> list[AgendaEntry]:
    """
    Return what happens to the account in `[at, until)`, in order; what is overdue comes first, at its own instant.

    A fixed number of queries for each renewal that lies in between, the same for one subscription and for many.
    """
    subscriptions = list(
        Subscription.objects.select_related(
            "account__test_clock", "plan_version__plan", "pending_plan_version__plan"
        ).filter(account=account, status__in=RUNNING_STATUSES)
    )
    steps = list_upcoming_steps(Account.objects.filter(pk=account.pk), within=Period(_ALWAYS, until))
    found = [
        *_list_money(account, at=at, until=until),
        *_list_steps(steps),
        *_list_resumptions(subscriptions, until=until),
        *_list_unpaid_starts(subscriptions, until=until),
        *_list_attempts(account, until=until),
        *_list_renewals(account, subscriptions, steps, until=until),
    ]
    return sorted(found, key=lambda entry: (entry.at, _ORDER[entry.kind], entry.subject))


# ---- subscriptions --------------------------------------------------------------------------------------------------
def _list_renewals(
    account: Account, subscriptions: Sequence[Subscription], steps: Sequence[UpcomingStep], *, until: datetime
) -> Iterator[AgendaEntry]:
    billables = load_billables(subscriptions, sellers=get_sellers([account]))
    planned = group_steps(steps)
    for each in subscriptions:
        if each.resume_at is not None and each.resume_at < until:
            _resume(each, each.resume_at, billables)
    while due := [
        boundary
        for each in subscriptions
        if each.status in BILLABLE_STATUSES
        and each.next_billing_at is not None
        and (instant := each.next_billing_at) < until
        and (boundary := get_boundary_with_phases(each, planned.get(each.id, []), billables, instant)) is not None
    ]:
        for gathered in gather_facts(due, billables=billables):
            yield from _tell_boundary(gathered, billables)
            billables.pass_boundary(gathered.boundary)
            settle_boundary(gathered.boundary)


def _resume(subscription: Subscription, at: datetime, billables: Billables) -> None:
    """Let a pause end at `at`, in memory, as far as it moves boundaries; what it gives back is not told."""
    period, cycle = subscription.current_period, subscription.cycle
    paused_at = max(subscription.paused_at or at, period.start)
    if subscription.trial_end == period.end:
        begun = plan_trial_resume(
            paused_at=paused_at,
            at=at,
            trial=period,
            cycle=cycle,
            alignment=cast(Alignment, subscription.alignment),
            billing_cycle_anchor=subscription.billing_cycle_anchor,
        )
        subscription.status = SubscriptionStatus.TRIALING
        subscription.anchor_date = begun.cycle.anchor
        subscription.trial_end = subscription.current_period_end = begun.trial_end or period.end
    else:
        subscription.status = SubscriptionStatus.ACTIVE
        terms = get_proration_terms(subscription.plan_version, billables.sellers.of(subscription.account))
        resumed = take_effect(at, terms=terms, zone=cycle.zone)
        if resumed >= period.end:
            opened = subscription.next_cycle
            rest = Period(resumed, open_period(cycle=opened, day=local_date(resumed, cycle.zone)).first.end)
            billables.pass_boundary(DueBoundary(subscription, subscription.next_boundary, None, rest, opened))
            take_over(subscription, opened)
            subscription.current_period_start, subscription.current_period_end = rest.start, rest.end
    subscription.next_billing_at = subscription.current_period_end


def _tell_boundary(gathered: BoundaryFacts, billables: Billables) -> Iterator[AgendaEntry]:
    boundary = gathered.boundary
    subscription = boundary.subscription
    name, subject = subscription.plan_version.name, subscription.public_id
    instant = subscription.next_billing_at or subscription.current_period_end
    if subscription.status == SubscriptionStatus.TRIALING:
        yield AgendaEntry(instant, "trial_ends", subject, f"The trial of {name} ends.")
    if boundary.opening is None:
        yield AgendaEntry(instant, "subscription_ends", subject, f"{name} ends.")
    elif subscription.has_pending_change:
        yield AgendaEntry(instant, "plan_changes", subject, _describe_change(subscription))
    draft = draft_invoice(gathered.facts)
    if not draft.lines:
        return
    text = f"{name} is invoiced."
    yield AgendaEntry(instant, "invoice", subject, text, draft.total, subscription.currency)
    discount = billables.discounts.use_month(subscription.id, at=instant)
    if discount is not None and discount.ended_at is not None:
        yield AgendaEntry(instant, "discount_ends", subject, f"The discount {discount.name or name} was used up.")


def _describe_change(subscription: Subscription) -> str:
    version = subscription.pending_plan_version or subscription.plan_version
    parts = [f"{subscription.plan_version.name} becomes {version.name}"]
    if version.id == subscription.plan_version_id:
        parts = [version.name]
    if subscription.pending_quantity is not None:
        parts.append(f"{subscription.quantity} becomes {subscription.pending_quantity}")
    if subscription.pending_interval:
        parts.append(f"billed by the {subscription.pending_interval}")
    return ", ".join(parts) + "."


def _list_resumptions(subscriptions: Sequence[Subscription], *, until: datetime) -> Iterator[AgendaEntry]:
    for each in subscriptions:
        if each.resume_at is not None and each.resume_at < until:
            text = f"{each.plan_version.name} is resumed."
            yield AgendaEntry(each.resume_at, "subscription_resumes", each.public_id, text)


def _list_unpaid_starts(subscriptions: Sequence[Subscription], *, until: datetime) -> Iterator[AgendaEntry]:
    for each in subscriptions:
        moment = each.incomplete_until
        if moment is not None and moment < until:
            by = f"{moment.astimezone(each.zone):%d %b %Y, %H:%M}"
            text = f"{each.plan_version.name} is canceled if not paid by {by}."
            yield AgendaEntry(moment, "start_expires", each.public_id, text)


def _list_attempts(account: Account, *, until: datetime) -> Iterator[AgendaEntry]:
    """Yield when open invoices are collected by themselves."""
    for planned in list_planned(Period(_ALWAYS, until), account_id=account.pk):
        invoice = planned.invoice
        by = "from stored money" if planned.method is None else f"by {planned.method}"
        text = f"{invoice} is collected {by}, attempt {planned.step}."
        yield AgendaEntry(
            planned.at, "payment_attempt", invoice.public_id, text, invoice.amount_remaining, invoice.currency
        )


def _list_steps(steps: Sequence[UpcomingStep]) -> Iterator[AgendaEntry]:
    for step in steps:
        subject = step.schedule.public_id
        if step.kind == "enter":
            text = f"Phase {step.index + 1} begins: {step.plan_key}."
            yield AgendaEntry(step.at, "phase_starts", subject, text)
        else:
            ends = "the subscription ends with it" if step.kind == "cancel" else "the subscription goes on"
            yield AgendaEntry(step.at, "schedule_ends", subject, f"The schedule ends; {ends}.")


# ---- money ----------------------------------------------------------------------------------------------------------
def _list_money(account: Account, *, at: datetime, until: datetime) -> Iterator[AgendaEntry]:
    lots = CreditLot.objects.filter(account=account, remaining__gt=0, expires_at__lt=until)
    for lot in lots:
        yield _ending(lot, lot.expires_at, "deposit_expires", "What is left of a deposit expires.", lot.remaining)
    grants = CreditGrant.objects.filter(account=account, voided_at__isnull=True)
    for grant in grants.filter(remaining__gt=0, expires_at__lt=until):
        text = f"What is left of {grant.name or 'credit'} expires."
        yield _ending(grant, grant.expires_at, "credit_expires", text, grant.remaining)
    for grant in grants.filter(renews_at__gte=at, renews_at__lt=until):
        text = f"{grant.name or 'Credit'} is set back to its amount."
        yield _ending(grant, grant.renews_at, "credit_renews", text, grant.recurring_amount)
    for hold in Hold.objects.filter(account=account, status=HoldStatus.PENDING, expires_at__lt=until):
        yield _ending(hold, hold.expires_at, "hold_expires", "Held money is released.", hold.amount)


def _ending(
    row: CreditLot | CreditGrant | Hold, at: datetime | None, kind: AgendaKind, text: str, amount: int | None
) -> AgendaEntry:
    if at is None:
        raise ValueError("the query asks for rows with an end")
    return AgendaEntry(at, kind, row.public_id, text, amount, row.currency)
