"""What a run would issue, computed by the same engine, written nowhere."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from accounts.models import BILLABLE_STATUSES, Account, Subscription
from accounts.queries.schedules import UpcomingStep, list_upcoming_steps
from accounts.services.stored_money import StoredMoney, read_stored_money
from accounts.terms.settling import Settlement
from billing_site.kernel.actors import SYSTEM
from billing_site.kernel.periods import Period
from invoicing.calculation.charges import list_charges
from invoicing.calculation.draft import Draft, DraftLine, draft_invoice
from invoicing.queries.billables import load_billables
from invoicing.queries.facts import gather_facts, get_due_boundary, settle_boundary
from invoicing.queries.grouping import DraftedDocument, draft_documents, pick_first_due, wants_one_invoice
from invoicing.queries.plan_credit import pass_plan_credit
from invoicing.queries.running import OpenLine, list_open, load_subscriptions
from invoicing.queries.schedule_phases import get_boundary_with_phases, group_steps
from invoicing.queries.sellers import get_sellers


@dataclass(frozen=True, slots=True)
class PreviewedInvoice:
    """
    A draft that would be issued, and what stored money would pay of it; without `settlement` nothing.

    `meters` are the public ids of the meters of its items, by the items' public ids. `subscriptions` are those that it
    bills, the first of which it is listed with.
    """

    draft: Draft
    settlement: Settlement | None
    meters: Mapping[str, str] = field(default_factory=dict)
    subscriptions: Sequence[Subscription] = ()

    def get_subscription_id(self, line: DraftLine) -> str | None:
        """Return the public id of the subscription that a line is for; None for the account's on a shared draft."""
        if self.draft.facts.members:
            return line.charge.subscription or None
        return self.subscriptions[0].public_id if self.subscriptions else None

    @property
    def credit_applied(self) -> int:
        """What stored money would pay, minor units."""
        return 0 if self.settlement is None else self.settlement.applied

    @property
    def amount_due(self) -> int:
        """What would be left to pay, minor units."""
        return self.draft.amount_due - self.credit_applied


@dataclass(frozen=True, slots=True)
class PreviewedSubscription:
    """
    What would be issued for one subscription, oldest first; drafts without lines are left out.

    What several would share is listed with the first of them, and named by the others as `shared`.
    """

    subscription: Subscription
    invoices: list[PreviewedInvoice]
    shared: list[PreviewedInvoice] = field(default_factory=list)

    @property
    def drafts(self) -> list[Draft]:
        return [each.draft for each in self.invoices]


def preview_subscriptions(*, subscription_ids: Iterable[uuid.UUID], as_of: datetime) -> list[PreviewedSubscription]:
    """
    Return what billing would issue as of `as_of`, in the order of ids, and what stored money would pay of it.

    Reads only, takes no lock. Phases of schedules take over as they will, without what they prorate in the middle of a
    period. What subscriptions that are not asked for would use first is not known.
    """
    subscriptions = list(load_subscriptions().filter(id__in=list(subscription_ids)))
    previews = {each.id: PreviewedSubscription(each, []) for each in subscriptions}
    sellers = get_sellers([each.account for each in subscriptions])
    billables = load_billables(subscriptions, sellers=sellers)
    times = {each.account_id: each.account.clock_time or as_of for each in subscriptions}
    money = read_stored_money(accounts=[each.account for each in subscriptions], at=as_of)
    phases = _load_steps(times)
    while due := pick_first_due(
        [
            boundary
            for each in subscriptions
            if each.status in BILLABLE_STATUSES
            and each.next_billing_at is not None
            and get_due_boundary(each, now=times[each.account_id]) is not None
            and (boundary := get_boundary_with_phases(each, phases.get(each.id, []), billables, each.next_billing_at))
            is not None
        ],
        sellers,
    ):
        gathered = gather_facts(due, billables=billables)
        for document in draft_documents(gathered, billables=billables, may_wait=True):
            made = _pay(document.draft, document.list_subscriptions(), money, times)
            first, *others = made.subscriptions
            previews[first.id].invoices.append(made)
            for other in others:
                previews[other.id].shared.append(made)
            for each in made.subscriptions:
                billables.discounts.use_month(each.id, at=times[each.account_id])
        for part in gathered:
            billables.pass_boundary(part.boundary)
            settle_boundary(part.boundary)
        pass_plan_credit(due, money=money, times=times, actor=SYSTEM)
    return list(previews.values())


def preview_upcoming(*, subscription_id: uuid.UUID, at: datetime) -> PreviewedInvoice | None:
    """
    Return the next invoice of a subscription as it would be if nothing more happened until it is due.

    It closes the running period with what was used so far, has what else waits for it, and opens the next period; of an
    account that wants one invoice, so do the subscriptions that share it. When
    periods were missed it is that of the oldest. The draft may have no lines. Money that ends before then pays nothing.
    None when no invoice is to come: the subscription is paused, ends without one, or is billed elsewhere. Reads only; a
    fixed number of queries.
    """
    subscription = load_subscriptions().get(id=subscription_id)
    due_at = subscription.next_billing_at
    if subscription.status not in BILLABLE_STATUSES or due_at is None:
        return None
    account = subscription.account
    sellers = get_sellers([account])
    together = [subscription]
    if wants_one_invoice(account, sellers.of(account)):
        others = load_subscriptions().filter(account=account, status__in=BILLABLE_STATUSES, next_billing_at=due_at)
        together = [subscription if each.pk == subscription.pk else each for each in others]
    billables = load_billables(together, sellers=sellers)
    then = max(due_at, account.clock_time or at)
    times = {account.pk: then}
    steps = _load_steps(times)
    boundaries = [
        boundary
        for each in together
        if (boundary := get_boundary_with_phases(each, steps.get(each.id, []), billables, due_at)) is not None
    ]
    if not any(boundary.subscription is subscription for boundary in boundaries):
        return None
    gathered = gather_facts(boundaries, billables=billables)
    documents = draft_documents(gathered, billables=billables, may_wait=True)
    own = next(each for each in gathered if each.boundary.subscription is subscription)
    found = next((each for each in documents if own in each.parts), None)
    document = found or DraftedDocument(draft_invoice(own.facts), (own,))
    money = read_stored_money(accounts=[account], at=then)
    for each in documents:
        if each is document:
            break
        # What is made before it is paid before it.
        _pay(each.draft, each.list_subscriptions(), money, times)
    meters = {key: item.meter.public_id for key, item in document.items.items() if item.meter is not None}
    return replace(_pay(document.draft, document.list_subscriptions(), money, times), meters=meters)


def _load_steps(times: Mapping[uuid.UUID, datetime]) -> Mapping[uuid.UUID, list[UpcomingStep]]:
    """Return what schedules of the accounts do by then, by subscription. Two queries."""
    if not times:
        return {}
    accounts = Account.objects.filter(pk__in=list(times))
    within = Period(datetime.min.replace(tzinfo=UTC), max(times.values()) + timedelta(microseconds=1))
    return group_steps(list_upcoming_steps(accounts, within=within))


def _pay(
    draft: Draft, subscriptions: Sequence[Subscription], money: StoredMoney, times: Mapping[uuid.UUID, datetime]
) -> PreviewedInvoice:
    first = subscriptions[0]
    payment = money.pay_bill(
        account=first.account,
        charges=list_charges(draft, subscription=None if draft.facts.members else first.public_id),
        total=draft.total,
        currency=draft.facts.currency,
        at=times[first.account_id],
    )
    return PreviewedInvoice(draft, None if payment is None else payment.settlement, subscriptions=tuple(subscriptions))


def preview_running(*, account: Account, as_of: datetime) -> list[OpenLine]:
    """
    Return what an account owes by now and was not billed: missed periods, and running ones with what was used so far.

    Computed as if each running period ended as planned and nothing more happened in it; lines of periods that begin
    after `as_of` are left out. Reads only; the number of queries depends on the missed periods.
    """
    return [line for each in list_open(accounts=[account], at=as_of) for line in each.lines]
