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
from typing import Any, Final

from accounts.models import BILLABLE_STATUSES, Subscription
from billing_site.kernel.actors import Actor
from billing_site.platform.models.bulk import update_rows
from billing_site.platform.services import events
from invoicing.calculation.draft import draft_invoice
from invoicing.models import BillingRun, Invoice
from invoicing.queries.billables import DueBoundary, load_billables
from invoicing.queries.facts import cut_boundary, gather_facts, get_due_boundary, settle_boundary
from invoicing.services.drafting import DraftToWrite, write_drafts
from invoicing.services.issuing import issue_invoices
from invoicing.services.items import store_items
from invoicing.services.sellers import ensure_sellers

_SETTLED_COLUMNS: Final = {
    "status": "text",
    "plan_version_id": "uuid",
    "pending_plan_version_id": "uuid",
    "current_period_start": "timestamptz",
    "current_period_end": "timestamptz",
    "next_boundary": "integer",
    "next_billing_at": "timestamptz",
    "ended_at": "timestamptz",
}


@dataclass(slots=True)
class BilledSubscription:
    """What billing did: the invoices issued, oldest first, and how many boundaries were passed."""

    subscription: Subscription
    invoices: list[Invoice] = field(default_factory=list)
    boundaries: int = 0


def bill_subscriptions(
    *, subscription_ids: Iterable[uuid.UUID], as_of: datetime, actor: Actor, run: BillingRun | None = None
) -> list[BilledSubscription]:
    """
    Bill everything that is due as of `as_of`, missed periods one by one, and issue the invoices.

    Runs in the caller's transaction: all of it or nothing. Locks the subscriptions in the order of their ids. The
    number of queries depends on the number of missed periods, not on the number of subscriptions.
    :raises IntegrityError: if a period is billed already (`…_period_billed_once`).
    """
    billing = _Billing(lock_subscriptions(subscription_ids), as_of=as_of, actor=actor, run=run)
    billing.bill_due()
    return billing.finish()


def bill_until_end(*, subscription_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> BilledSubscription:
    """
    Bill what is due by `at`, end the subscription at that moment, and bill what its last stretch used.

    A fee in arrears is owed for the days before the day of `at`, a minimum by the same share; a fee in advance was
    billed with its period. Runs in the caller's transaction; the subscription is running.
    Source: contract chapter Subscriptions (cancel at once); policies, rules 5, 9 and 12.
    """
    billing = _Billing(lock_subscriptions([subscription_id]), as_of=at, actor=actor, run=None)
    billing.bill_due()
    (subscription,) = billing.subscriptions
    if subscription.status in BILLABLE_STATUSES:
        billing.reason = reason
        billing.bill([cut_boundary(subscription, at=at)])
    return billing.finish()[0]


class _Billing:
    """One pass over locked subscriptions: boundary after boundary, then everything that changed is stored."""

    def __init__(
        self, subscriptions: Sequence[Subscription], *, as_of: datetime, actor: Actor, run: BillingRun | None
    ) -> None:
        self.subscriptions, self.as_of, self.actor, self.run = subscriptions, as_of, actor, run
        self.billed = {each.id: BilledSubscription(each) for each in subscriptions}
        self.billables = load_billables(subscriptions)
        self.sellers = ensure_sellers({each.account.org_id for each in subscriptions})
        self.changes: list[events.NewEvent] = []
        self.reason = ""

    def bill_due(self) -> None:
        """Bill every boundary that has come, those that were missed one after the other."""
        while due := _list_due(self.subscriptions, self.as_of):
            self.bill(due)

    def bill(self, boundaries: Sequence[DueBoundary]) -> None:
        """Draft, write and issue what the boundaries bill, and move their subscriptions on in memory."""
        gathered = gather_facts(boundaries, billables=self.billables, sellers=self.sellers)
        pending: dict[datetime, list[DraftToWrite]] = defaultdict(list)
        for each in gathered:
            draft = draft_invoice(each.facts)
            subscription = each.boundary.subscription
            if draft.lines:
                seller = self.sellers[subscription.account.org_id]
                to_write = DraftToWrite(draft, subscription, subscription.account, seller, each.items)
                pending[_get_now(subscription, self.as_of)].append(to_write)
        taken_over = {
            each.boundary.subscription.id: planned
            for each in gathered
            if (planned := self.billables.pass_boundary(each.boundary)) is not None
        }
        store_items(taken_over.values(), [draft for drafts in pending.values() for draft in drafts], self.billables)
        for at, drafts in sorted(pending.items()):
            written = [invoice for invoice, _ in write_drafts(drafts, run=self.run)]
            for invoice in issue_invoices(written, at=at, actor=self.actor):
                self.billed[_subscription_id(invoice)].invoices.append(invoice)
        for boundary in boundaries:
            self.billed[boundary.subscription.id].boundaries += 1
            change = _settle(boundary, _get_now(boundary.subscription, self.as_of), self.actor, self.reason)
            if change is not None:
                self.changes.append(change)

    def finish(self) -> list[BilledSubscription]:
        """Store how far the subscriptions have moved, with the events, and return what became of each."""
        moved = [each.subscription for each in self.billed.values() if each.boundaries]
        update_rows(moved, _SETTLED_COLUMNS)
        events.emit_many(self.changes)
        return [self.billed[each.id] for each in self.subscriptions]


def lock_subscriptions(subscription_ids: Iterable[uuid.UUID]) -> list[Subscription]:
    """Return the subscriptions locked for the transaction, with account, clock and plan loaded, in the order of ids."""
    return list(
        Subscription.objects.select_for_update(of=("self",))
        .select_related("account__test_clock", "plan_version__plan", "pending_plan_version__plan")
        .filter(id__in=list(subscription_ids))
        .order_by("id")
    )


def _subscription_id(invoice: Invoice) -> uuid.UUID:
    if invoice.subscription_id is None:
        raise TypeError("an invoice of the cycle belongs to a subscription")
    return invoice.subscription_id


def _get_now(subscription: Subscription, as_of: datetime) -> datetime:
    return subscription.account.clock_time or as_of


def _list_due(subscriptions: Sequence[Subscription], as_of: datetime) -> list[DueBoundary]:
    found = []
    for subscription in subscriptions:
        if subscription.status in BILLABLE_STATUSES:
            boundary = get_due_boundary(subscription, now=_get_now(subscription, as_of))
            if boundary is not None:
                found.append(boundary)
    return found


def _settle(boundary: DueBoundary, at: datetime, actor: Actor, reason: str) -> events.NewEvent | None:
    """Move on in memory and return the event to write: renewed, canceled, or none at the very first boundary."""
    subscription = boundary.subscription
    before = {
        "status": subscription.status,
        "plan_version": subscription.plan_version.version,
        "current_period_start": subscription.current_period_start,
        "current_period_end": subscription.current_period_end,
    }
    is_start = boundary.number == 0 and subscription.trial_end is None
    goes_on = settle_boundary(boundary)
    if is_start:
        return None
    return events.NewEvent(
        "subscription.renewed" if goes_on else "subscription.canceled",
        subject=subscription,
        account_id=subscription.account_id,
        at=at,
        actor=actor,
        data=_snapshot(subscription),
        previous=before,
        reason=reason,
    )


def _snapshot(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.public_id,
        "status": subscription.status,
        "plan_id": subscription.plan_version.plan.key,
        "plan_version": subscription.plan_version.version,
        "current_period_start": subscription.current_period_start,
        "current_period_end": subscription.current_period_end,
        "ended_at": subscription.ended_at,
        "cancellation_reason": subscription.cancellation_reason,
    }
