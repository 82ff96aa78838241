"""
Billing subscriptions up to an instant: facts, draft, write, issue, move on. One engine for one and for thousands.

Source: contract chapter Renewal and cycle; policies.md 5 to 7.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from accounts.models import BILLABLE_STATUSES, Subscription, SubscriptionStatus
from accounts.queries.schedules import load_waits
from accounts.services.account_locks import lock_account
from accounts.services.schedules import cancel_schedules_of
from accounts.services.stored_money import StoredMoney, lock_stored_money
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.platform.models.bulk import attach, update_rows
from billing_site.platform.services import events
from catalog.models import PlanVersion
from invoicing.models import BillingRun, Invoice
from invoicing.queries.billables import DueBoundary, load_billables
from invoicing.queries.facts import (
    advance_boundary,
    cut_boundary,
    gather_facts,
    get_boundary,
    get_due_boundary,
)
from invoicing.queries.grace import find_finalize_at
from invoicing.queries.grouping import DraftedDocument, draft_documents, pick_first_due
from invoicing.queries.pending_charges import lock_waiting
from invoicing.queries.plan_credit import has_plan_credit, pass_plan_credit
from invoicing.services.activation import activate_without_invoice
from invoicing.services.drafting import DraftMember, DraftToWrite, store_drafts, take_up_charges, write_lines
from invoicing.services.issuing import issue_invoices, snapshot_invoice
from invoicing.services.items import store_items
from invoicing.services.passing import pass_on
from invoicing.services.plan_credit import store_plan_credit
from invoicing.services.review_holds import find_holds, hold_invoices
from invoicing.services.sellers import ensure_sellers

_SETTLED_COLUMNS: Final = {
    "status": "text",
    "product_id": "uuid",
    "plan_version_id": "uuid",
    "pending_plan_version_id": "uuid",
    "pending_quantity": "integer",
    "pending_interval": "text",
    "pending_interval_count": "smallint",
    "pending_anchor_date": "date",
    "quantity": "integer",
    "interval": "text",
    "interval_count": "smallint",
    "anchor_date": "date",
    "current_period_start": "timestamptz",
    "current_period_end": "timestamptz",
    "next_boundary": "integer",
    "next_billing_at": "timestamptz",
    "usage_from": "timestamptz",
    "ended_at": "timestamptz",
}


_USED_COLUMNS: Final = {"months_left": "smallint", "ended_at": "timestamptz", "end_reason": "text"}


@dataclass(slots=True)
class BilledSubscription:
    """
    What billing did: the invoices issued, oldest first, and how many boundaries were passed.

    `held` are drafts that a person is to look at before they are issued: only runs leave some. `is_waiting`: something
    is due, but a step of the subscription's schedule comes first.
    """

    subscription: Subscription
    invoices: list[Invoice] = field(default_factory=list)
    boundaries: int = 0
    is_waiting: bool = False
    held: list[Invoice] = field(default_factory=list)


def bill_subscriptions(
    *,
    subscription_ids: Iterable[uuid.UUID],
    as_of: datetime,
    actor: Actor,
    run: BillingRun | None = None,
    apart: Iterable[uuid.UUID] = (),
) -> list[BilledSubscription]:
    """
    Bill everything that is due as of `as_of`, missed periods one by one, and issue the invoices.

    Where the seller gives usage some time to come, invoices that close a period stay drafts until then. Subscriptions
    that are due at the same instant share an invoice where their account wants it, but for those in `apart`.
    Runs in the caller's transaction: all of it or nothing. Locks the accounts that have money stored or get credit with
    their plan, then the subscriptions, both in the order of their ids. The number of queries depends on the number of
    missed periods, not on the number of subscriptions. A boundary at or after the next step of a subscription's
    schedule waits for that step.
    :raises IntegrityError: if a period is billed already (`…_period_billed_once`).
    """
    with events.gathered():
        billing = _start(list(subscription_ids), as_of=as_of, actor=actor, run=run)
        billing.may_hold, billing.apart = True, frozenset(apart)
        billing.bill_due()
        return billing.finish()


def bill_start(*, subscription_id: uuid.UUID, as_of: datetime, actor: Actor) -> BilledSubscription:
    """
    Bill what a subscription that has just begun owes as of `as_of`; see `bill_subscriptions`.

    Of one that waits for its first payment only the first period is billed, unless stored money pays that at once.
    """
    billing = _start([subscription_id], as_of=as_of, actor=actor, run=None)
    (subscription,) = billing.subscriptions
    if subscription.status == SubscriptionStatus.INCOMPLETE:
        billing.bill([get_boundary(subscription)])
        if not billing.billed[subscription_id].invoices:
            at = _get_now(subscription, as_of)
            activate_without_invoice(subscription, at=at, actor=actor)
    billing.bill_due()
    return billing.finish()[0]


def bill_ahead(*, subscription_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> BilledSubscription:
    """
    Bill what is due by `at`; when nothing was, bill the next boundary now, ahead of its time.

    The next period opens as it would have, usage so far is billed, and what is used until then is billed with the next
    period. Runs in the caller's transaction; the subscription is running and goes on.
    :raises InvalidState: if a step of its schedule comes first.
    """
    billing = _start([subscription_id], as_of=at, actor=actor, run=None)
    billing.bill_due()
    (subscription,) = billing.subscriptions
    billed = billing.billed[subscription_id]
    if not billed.boundaries:
        waits_from = billing.waits.get(subscription_id)
        if billed.is_waiting or (waits_from is not None and subscription.current_period_end >= waits_from):
            raise InvalidState("A step of its schedule is due first.", current_status=subscription.status)
        billing.reason = reason
        billing.bill([advance_boundary(subscription, at=at)])
    return billing.finish()[0]


def bill_boundary(*, subscription_id: uuid.UUID, at: datetime, actor: Actor, issue: bool) -> BilledSubscription | None:
    """
    Bill the oldest boundary that is due by `at`, alone, and return what came of it; None when none is due.

    The invoice stays a draft unless `issue`. Runs in the caller's transaction; the subscription is running.
    :raises InvalidState: if a step of its schedule comes first.
    """
    billing = _start([subscription_id], as_of=at, actor=actor, run=None)
    billing.leaves_drafts, billing.apart = not issue, frozenset([subscription_id])
    due = billing.list_due()
    (subscription,) = billing.subscriptions
    if billing.billed[subscription_id].is_waiting:
        raise InvalidState("A step of its schedule is due first.", current_status=subscription.status)
    if not due:
        return None
    billing.bill(due)
    return billing.finish()[0]


def bill_until_end(
    *, subscription_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "", as_of: datetime | None = None
) -> BilledSubscription:
    """
    Bill what is due by `at`, end the subscription at that moment, and bill what its last stretch used.

    `as_of` is when that is really done, and the day of the invoices; nothing is billed then that begins at `at`. Left
    out, it is `at`, and a period that begins then has begun. A fee in arrears is owed for the days before the day of
    `at`, a minimum by the same share; a fee in advance was billed with its period. Runs in the caller's transaction;
    the subscription is running.
    Source: contract chapter Subscriptions (cancel at once); policies, rules 5, 9 and 12.
    """
    billing = _start([subscription_id], as_of=as_of or at, actor=actor, run=None)
    if as_of is not None:
        billing.waits[subscription_id] = at
    billing.bill_due()
    (subscription,) = billing.subscriptions
    if subscription.status in BILLABLE_STATUSES:
        billing.reason = reason
        billing.bill([cut_boundary(subscription, at=at)])
    return billing.finish()[0]


def _start(subscription_ids: Sequence[uuid.UUID], *, as_of: datetime, actor: Actor, run: BillingRun | None) -> _Billing:
    """Lock accounts with money, then subscriptions, and return a pass over them."""
    money = lock_stored_money(
        account_ids=Subscription.objects.filter(id__in=subscription_ids).values("account_id"),
        at=as_of,
        actor=actor,
        besides=has_plan_credit(subscription_ids),
    )
    return _Billing(lock_subscriptions(subscription_ids), money=money, as_of=as_of, actor=actor, run=run)


class _Billing:
    """One pass over locked subscriptions: boundary after boundary, then everything that changed is stored."""

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        *,
        money: StoredMoney,
        as_of: datetime,
        actor: Actor,
        run: BillingRun | None,
    ) -> None:
        self.subscriptions, self.as_of, self.actor, self.run = subscriptions, as_of, actor, run
        self.money = money
        self.billed = {each.id: BilledSubscription(each) for each in subscriptions}
        self.sellers = ensure_sellers([each.account for each in subscriptions])
        self.billables = load_billables(subscriptions, sellers=self.sellers)
        self.billables.waiting = lock_waiting(self.billables.waiting)
        self.waits = load_waits(self.billed)
        self.changes: list[events.NewEvent] = []
        self.reason = ""
        self.may_hold = False
        self.apart: frozenset[uuid.UUID] = frozenset()
        self.leaves_drafts = False

    def bill_due(self) -> None:
        """Bill every boundary that has come, those that were missed one after the other. Source: ADR 0047."""
        while due := self.list_due():
            self.bill(due)

    def list_due(self) -> list[DueBoundary]:
        found = []
        for subscription in self.subscriptions:
            if subscription.status not in BILLABLE_STATUSES or subscription.next_billing_at is None:
                continue
            boundary = get_due_boundary(subscription, now=_get_now(subscription, self.as_of))
            if boundary is None:
                continue
            waits_from = self.waits.get(subscription.id)
            if waits_from is not None and subscription.next_billing_at >= waits_from:
                self.billed[subscription.id].is_waiting = True
            else:
                found.append(boundary)
        return pick_first_due(found, self.sellers)

    def bill(self, boundaries: Sequence[DueBoundary]) -> None:
        """Draft, write and issue what the boundaries bill, and move their subscriptions on in memory."""
        gathered = gather_facts(boundaries, billables=self.billables)
        documents = draft_documents(gathered, billables=self.billables, may_wait=self.may_hold, apart=self.apart)
        pending: dict[datetime, list[DraftToWrite]] = defaultdict(list)
        for document in documents:
            at = document.account.clock_time or self.as_of
            pending[at].append(self._prepare(document, at))
        taken_over = {
            each.boundary.subscription.id: planned
            for each in gathered
            if (planned := self.billables.pass_boundary(each.boundary)) is not None
        }
        store_items(taken_over.values(), [draft for drafts in pending.values() for draft in drafts], self.billables)
        for at, found in sorted(pending.items()):
            self._write(found if self.run is None else find_holds(found), at)
        for boundary in boundaries:
            self.billed[boundary.subscription.id].boundaries += 1
            change = pass_on(boundary, _get_now(boundary.subscription, self.as_of), self.actor, self.reason)
            if change is not None:
                self.changes.append(change)
        self._pass_plan_credit(boundaries)

    def _prepare(self, document: DraftedDocument, at: datetime) -> DraftToWrite:
        """Return the draft with what it belongs to; each of its subscriptions uses a month of its discount."""
        seller = self.sellers.of(document.account)
        members = tuple(
            DraftMember(subscription, self.billables.discounts.use_month(subscription.id, at=at))
            for subscription in (each.boundary.subscription for each in document.parts)
        )
        held_until = find_finalize_at(document.parts[0].boundary, seller) if self.may_hold else None
        return DraftToWrite(
            document.draft,
            None if document.is_grouped else members[0].subscription,
            document.account,
            seller,
            document.items,
            document.waiting,
            None if document.is_grouped else members[0].discount,
            {"finalize_at": held_until} if held_until is not None and held_until > at else {},
            members=members if document.is_grouped else (),
        )

    def _write(self, drafts: Sequence[DraftToWrite], at: datetime) -> None:
        """Store the drafts, issue those that nothing holds back, and note whose they are."""
        written = write_lines(drafts, run=self.run)
        known = {invoice.id: each.draft for invoice, each in zip(written, drafts, strict=True)}
        owners = {invoice.id: each.list_subscriptions() for invoice, each in zip(written, drafts, strict=True)}
        self._hold(written, drafts, at=at)
        ready = [invoice for invoice in written if not invoice.in_review]
        waiting = [invoice for invoice in ready if self.leaves_drafts or invoice.finalize_at is not None]
        issued = [] if self.leaves_drafts else [invoice for invoice in ready if invoice.finalize_at is None]
        issue_invoices(issued, at=at, actor=self.actor, money=self.money, drafts=known)
        for invoice in written:
            for owner in owners[invoice.id]:
                billed = self.billed[owner.id]
                (billed.held if invoice.in_review else billed.invoices).append(invoice)
        store_drafts(waiting)
        take_up_charges(drafts, written)
        self.changes += [self._tell_waiting(invoice, at) for invoice in waiting]

    def _hold(self, written: Sequence[Invoice], drafts: Sequence[DraftToWrite], *, at: datetime) -> None:
        """Put the drafts that were marked into the review queue."""
        held = [
            (invoice, each.finding) for invoice, each in zip(written, drafts, strict=True) if each.finding is not None
        ]
        if held and self.run is not None:
            store_drafts([invoice for invoice, _ in held])
            hold_invoices(held, run=self.run, at=at, actor=self.actor)

    def _tell_waiting(self, invoice: Invoice, at: datetime) -> events.NewEvent:
        """Return the event of a draft that waits, for usage or for a person."""
        return events.NewEvent(
            "invoice.created",
            subject=invoice,
            account_id=invoice.account_id,
            at=at,
            actor=self.actor,
            data=snapshot_invoice(invoice) | {"finalize_at": invoice.finalize_at},
            reason=self.reason,
        )

    def _pass_plan_credit(self, boundaries: Sequence[DueBoundary]) -> None:
        # What waits for its first payment gets the credit of its plan with that payment.
        boundaries = [each for each in boundaries if each.subscription.status != SubscriptionStatus.INCOMPLETE]
        times = {each.subscription.account_id: _get_now(each.subscription, self.as_of) for each in boundaries}
        store_plan_credit(
            pass_plan_credit(boundaries, money=self.money, times=times, actor=self.actor), times=times, actor=self.actor
        )

    def finish(self) -> list[BilledSubscription]:
        """Store how far the subscriptions have moved, with the events, and return what became of each."""
        moved = [each.subscription for each in self.billed.values() if each.boundaries]
        update_rows(moved, _SETTLED_COLUMNS)
        update_rows(self.billables.discounts.used.values(), _USED_COLUMNS)
        events.emit_many(self.changes)
        ended = [each for each in moved if each.status == SubscriptionStatus.CANCELED]
        cancel_schedules_of(
            {each.id: _get_now(each, self.as_of) for each in ended},
            actor=self.actor,
            reason="The subscription has ended.",
        )
        return [self.billed[each.id] for each in self.subscriptions]


def lock_subscriptions(subscription_ids: Iterable[uuid.UUID]) -> list[Subscription]:
    """Return the subscriptions locked for the transaction, with account, clock and plan loaded, in the order of ids."""
    ids = list(subscription_ids)
    rows = Subscription.objects.filter(id__in=ids).order_by("id")
    # Locked alone: a row that changed its plan while we waited would be lost to a join with the plan it had.
    locked = list(rows.select_for_update().values_list("id", flat=True))
    found = list(Subscription.objects.select_related("account__test_clock").filter(id__in=locked).order_by("id"))
    wanted = {key for each in found for key in (each.plan_version_id, each.pending_plan_version_id) if key is not None}
    # Thousands have the same few versions: each is read once.
    versions = PlanVersion.objects.select_related("plan").in_bulk(list(wanted))
    for each in found:
        attach(each, "plan_version", versions[each.plan_version_id])
        if each.pending_plan_version_id is not None:
            attach(each, "pending_plan_version", versions[each.pending_plan_version_id])
    return found


def lock_subscription(subscription_id: uuid.UUID) -> Subscription:
    """
    Return one subscription locked, and its account locked before it, as `lock_subscriptions` does.

    :raises NotFound: if there is none.
    """
    owner = Subscription.objects.filter(pk=subscription_id).values_list("account_id", flat=True).first()
    if owner is None:
        raise NotFound("subscription")
    lock_account(owner)
    return lock_subscriptions([subscription_id])[0]


def _get_now(subscription: Subscription, as_of: datetime) -> datetime:
    return subscription.account.clock_time or as_of
