"""
How a subscription ends at once, whoever asks for it: a customer, our staff, or its schedule.

Source: contract chapter Subscriptions (Cancel); policies, rules 5 and 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from accounts.models import BILLABLE_STATUSES, Subscription, SubscriptionStatus
from accounts.queries.snapshots import describe_subscription, find_changes
from accounts.terms.cancellations import UnusedTime
from billing_site.kernel.actors import Actor
from billing_site.platform.services import events
from invoicing.models import Invoice, InvoiceStatus
from invoicing.queries.policies import get_cancel_unused
from invoicing.services.billing import bill_subscriptions, bill_until_end, lock_subscriptions
from invoicing.services.invoices import void_invoice
from invoicing.services.pauses import settle_paused_end
from invoicing.services.sellers import ensure_sellers
from invoicing.services.settling import leave_charges
from invoicing.services.unused_time import IssuedNote, give_back, list_unused


@dataclass(frozen=True, slots=True)
class Ended:
    """A subscription that has ended, and the credit notes that gave its unused time back."""

    subscription: Subscription
    notes: tuple[IssuedNote, ...] = ()


def end_subscription(
    subscription: Subscription,
    before: Mapping[str, Any],
    *,
    at: datetime,
    actor: Actor,
    unused: UnusedTime | None = None,
    comment: str = "",
    as_of: datetime | None = None,
) -> Ended:
    """
    End a locked subscription at `at`: bill what was used, or just end what is not billed at all (unpaid, incomplete).

    The open invoice of a start that was never paid (incomplete) is voided.

    `before` is its snapshot before the caller changed it. `unused` is what becomes of days that were billed in advance,
    the seller's choice without: what was paid comes back by credit notes, which pay the last invoice. `as_of` is when
    it is really done, for an end that a schedule has set: the caller has billed what came before it then; see
    `bill_until_end`. Runs in the caller's transaction.
    """
    sellers = ensure_sellers([subscription.account])
    choice = unused or get_cancel_unused(sellers.of(subscription.account))
    notes: tuple[IssuedNote, ...] = ()
    if subscription.status == SubscriptionStatus.INCOMPLETE:
        _void_first_invoices(subscription, at=at, actor=actor, reason=comment)
    elif subscription.status == SubscriptionStatus.PAUSED:
        notes = settle_paused_end(subscription, at=at, actor=actor, unused=choice, reason=comment)
    elif choice != "forfeit" and subscription.status in BILLABLE_STATUSES:
        if as_of is None:
            bill_subscriptions(subscription_ids=[subscription.id], as_of=at, actor=actor)
            (subscription,) = lock_subscriptions([subscription.id])
        sides = list_unused(subscription, at=at, sellers=sellers, unused=choice)
        found = give_back(subscription, sides, at=as_of or at, actor=actor, reason=comment, unused=choice)
        leave_charges(subscription, found.charges, reason="unused time")
        notes = found.notes
    billed = bill_until_end(subscription_id=subscription.id, at=at, actor=actor, reason=comment, as_of=as_of)
    ended = billed.subscription
    if ended.status != SubscriptionStatus.CANCELED:
        ended.status, ended.ended_at, ended.next_billing_at = SubscriptionStatus.CANCELED, at, None
        ended.resume_at = ended.incomplete_until = None
        ended.save(
            update_fields=["status", "ended_at", "next_billing_at", "resume_at", "incomplete_until", "updated_at"]
        )
        emit_ending("canceled", ended, before, at=as_of or at, actor=actor, reason=comment)
    return Ended(ended, notes)


def _void_first_invoices(subscription: Subscription, *, at: datetime, actor: Actor, reason: str) -> None:
    """Void what is open of a start that was never paid: nothing was delivered for it. What paid of it comes back."""
    is_open = Invoice.objects.filter(subscription=subscription, status=InvoiceStatus.OPEN)
    for invoice_id in is_open.order_by("id").values_list("id", flat=True):
        void_invoice(invoice_id=invoice_id, at=at, actor=actor, reason=reason or "The subscription has ended.")


def emit_ending(
    what: str, subscription: Subscription, before: Mapping[str, Any], *, at: datetime, actor: Actor, reason: str = ""
) -> None:
    """Append the event `subscription.<what>` with what has changed since `before`."""
    after = describe_subscription(subscription)
    events.emit(
        f"subscription.{what}",
        subject=subscription,
        account_id=subscription.account_id,
        at=at,
        actor=actor,
        data=after | {"cancellation_reason": subscription.cancellation_reason},
        previous=find_changes(before, after),
        reason=reason,
    )
