"""
Ending subscriptions: with the period, at once, or not after all.

Source: contract chapter Subscriptions (Cancel, Reactivate); policies, rules 5 and 12.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, get_args

from django.db import transaction

from accounts.models import BILLABLE_STATUSES, ProviderType, Subscription, SubscriptionStatus
from accounts.models.subscription import PENDING_COLUMNS
from accounts.queries.snapshots import describe_subscription
from accounts.services.schedules import cancel_schedules_of
from accounts.terms.cancellations import UnusedTime
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, ValidationFailed
from billing_site.platform.services.previews import preview
from invoicing.models import Invoice
from invoicing.services.billing import bill_subscriptions, lock_subscription
from invoicing.services.endings import emit_ending, end_subscription
from invoicing.services.schedule_steps import catch_up
from invoicing.services.unused_time import IssuedNote

CANCELLATION_REASONS: Final = ("low_quality", "too_expensive", "switching_providers", "no_longer_needed", "other")


class SubscriptionEnded(DomainError):
    code, title, status = "subscription_ended", "This subscription has ended", 409


@dataclass(frozen=True, slots=True)
class Cancellation:
    """A subscription that ends, or has ended: then with its last invoices, and the notes that give unused time back."""

    subscription: Subscription
    invoices: tuple[Invoice, ...] = ()
    notes: tuple[IssuedNote, ...] = ()


@transaction.atomic
def cancel_subscription(
    *,
    subscription_id: uuid.UUID,
    at: datetime,
    actor: Actor,
    at_period_end: bool = True,
    unused: UnusedTime | None = None,
    reason: str = "",
    comment: str = "",
) -> Cancellation:
    """
    End a subscription with its running period (or trial), or at once, and return it with the documents of its end.

    Whatever was pending is dropped, and its schedule is canceled, once what was due of it is done. A subscription that
    is not billed (paused, unpaid, incomplete) has no period to wait for and ends at once. At once, usage so far is
    invoiced; the days from today on that were billed in advance are forfeited, or given back (`credit`, `refund`; the
    seller's choice without `unused`): what was paid by credit notes of its invoices, which become invoice credit and
    pay the last invoice; what was not paid by lines below zero on that, where a negative total becomes invoice credit.
    All of it happens or nothing. A `refund` is invoice credit, too, as long as no provider can give money back.
    `reason` is one of `CANCELLATION_REASONS`, `comment` the customer's own words; both are kept in the event.
    :raises InvalidState: if it has ended. :raises ValidationFailed: for an unknown reason or choice.
    """
    if unused is not None and unused not in get_args(UnusedTime):
        choices = ", ".join(get_args(UnusedTime))
        raise ValidationFailed.of("/unused", "choice_unknown", f"{unused!r} is not one of: {choices}.")
    if reason and reason not in CANCELLATION_REASONS:
        choices = ", ".join(CANCELLATION_REASONS)
        raise ValidationFailed.of("/reason", "choice_unknown", f"{reason[:50]!r} is not one of: {choices}.")
    catch_up(subscription_id=subscription_id, at=at, actor=actor)
    lock_subscription(subscription_id)
    # What has begun by now was begun with what was pending; only the rest is dropped.
    subscription = bill_subscriptions(subscription_ids=[subscription_id], as_of=at, actor=actor)[0].subscription
    if subscription.status == SubscriptionStatus.CANCELED:
        raise InvalidState("The subscription has ended.", current_status=subscription.status)
    cancel_schedules_of({subscription.id: at}, actor=actor, reason="The subscription was canceled.")
    before = describe_subscription(subscription)
    subscription.cancellation_reason = reason
    subscription.canceled_at = at
    subscription.drop_pending_change()
    subscription.revision += 1
    subscription.cancel_at_period_end = at_period_end
    subscription.save(
        update_fields=[
            "cancellation_reason",
            "canceled_at",
            *PENDING_COLUMNS,
            "revision",
            "cancel_at_period_end",
            "updated_at",
        ]
    )
    if at_period_end and subscription.status in BILLABLE_STATUSES:
        emit_ending("cancel_scheduled", subscription, before, at=at, actor=actor, reason=comment)
        return Cancellation(subscription)
    newest = Invoice.objects.filter(subscription=subscription).order_by("-id").values_list("id", flat=True).first()
    ended = end_subscription(subscription, before, unused=unused, at=at, actor=actor, comment=comment)
    issued = Invoice.objects.filter(subscription=subscription, **({"id__gt": newest} if newest else {})).order_by("id")
    return Cancellation(ended.subscription, tuple(issued), ended.notes)


def preview_cancellation(**arguments: Any) -> Cancellation:
    """Return what `cancel_subscription` would do, by doing it and taking it back. Nothing stays."""
    return preview(cancel_subscription, **arguments)


@transaction.atomic
def reactivate_subscription(
    *, subscription_id: uuid.UUID, at: datetime, actor: Actor, reason: str = ""
) -> Subscription:
    """
    Take back a scheduled cancellation and return the subscription; without one nothing changes. Nothing is charged.

    :raises SubscriptionEnded: if it has ended: a new one can be started. :raises InvalidState: for a plan given away.
    """
    subscription = lock_subscription(subscription_id)
    if subscription.status == SubscriptionStatus.CANCELED:
        raise SubscriptionEnded("The subscription has ended; start a new one.")
    if not subscription.cancel_at_period_end:
        return subscription
    if subscription.provider_type == ProviderType.MANUAL_GRANT:
        raise InvalidState(
            "A plan that was given away ends with its time; give it again to extend it.",
            current_status=subscription.status,
        )
    before = describe_subscription(subscription)
    subscription.cancel_at_period_end = False
    subscription.canceled_at = None
    subscription.cancellation_reason = ""
    subscription.save(update_fields=["cancel_at_period_end", "canceled_at", "cancellation_reason", "updated_at"])
    emit_ending("reactivated", subscription, before, at=at, actor=actor, reason=reason)
    return subscription
