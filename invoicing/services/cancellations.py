"""
Ending subscriptions: with the period, at once, or not after all.

Source: contract chapter Subscriptions (Cancel, Reactivate); policies, rules 5 and 12.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final

from django.db import transaction

from accounts.models import BILLABLE_STATUSES, Subscription, SubscriptionStatus
from accounts.queries.snapshots import describe_subscription, find_changes
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.platform.services import events
from invoicing.services.billing import bill_until_end, lock_subscriptions

CANCELLATION_REASONS: Final = ("low_quality", "too_expensive", "switching_providers", "no_longer_needed", "other")


class SubscriptionEnded(DomainError):
    code, title, status = "subscription_ended", "This subscription has ended", 409


@transaction.atomic
def cancel_subscription(
    *,
    subscription_id: uuid.UUID,
    at: datetime,
    actor: Actor,
    at_period_end: bool = True,
    reason: str = "",
    comment: str = "",
) -> Subscription:
    """
    End a subscription with its running period (or trial), or at once, and return it.

    Whatever was pending is dropped. One that is not billed (paused, unpaid, incomplete) has no period to wait for and
    ends at once. At once, usage so far is invoiced and fees are not given back. `reason` is one of
    `CANCELLATION_REASONS`, `comment` the customer's own words; both are kept in the event.
    :raises InvalidState: if it has ended. :raises ValidationFailed: for an unknown reason.
    """
    if reason and reason not in CANCELLATION_REASONS:
        choices = ", ".join(CANCELLATION_REASONS)
        raise ValidationFailed.of("/reason", "choice_unknown", f"{reason[:50]!r} is not one of: {choices}.")
    subscription = _lock(subscription_id)
    if subscription.status == SubscriptionStatus.CANCELED:
        raise InvalidState("The subscription has ended.", current_status=subscription.status)
    before = describe_subscription(subscription)
    subscription.cancellation_reason = reason
    subscription.canceled_at = at
    subscription.pending_plan_version = None
    subscription.cancel_at_period_end = at_period_end
    subscription.save(
        update_fields=[
            "cancellation_reason",
            "canceled_at",
            "pending_plan_version",
            "cancel_at_period_end",
            "updated_at",
        ]
    )
    if at_period_end and subscription.status in BILLABLE_STATUSES:
        _emit("cancel_scheduled", subscription, before, at=at, actor=actor, reason=comment)
        return subscription
    return _end(subscription, before, at=at, actor=actor, comment=comment)


def _end(
    subscription: Subscription, before: dict[str, object], *, at: datetime, actor: Actor, comment: str
) -> Subscription:
    """End at once: bill what was used, or just end what is not billed at all (paused, unpaid, incomplete)."""
    ended = bill_until_end(subscription_id=subscription.id, at=at, actor=actor, reason=comment).subscription
    if ended.status != SubscriptionStatus.CANCELED:
        ended.status, ended.ended_at, ended.next_billing_at = SubscriptionStatus.CANCELED, at, None
        ended.save(update_fields=["status", "ended_at", "next_billing_at", "updated_at"])
        _emit("canceled", ended, before, at=at, actor=actor, reason=comment)
    return ended


@transaction.atomic
def reactivate_subscription(*, subscription_id: uuid.UUID, at: datetime, actor: Actor) -> Subscription:
    """
    Take back a scheduled cancellation and return the subscription; without one nothing changes. Nothing is charged.

    :raises SubscriptionEnded: if it has ended: a new one can be started.
    """
    subscription = _lock(subscription_id)
    if subscription.status == SubscriptionStatus.CANCELED:
        raise SubscriptionEnded("The subscription has ended; start a new one.")
    if not subscription.cancel_at_period_end:
        return subscription
    before = describe_subscription(subscription)
    subscription.cancel_at_period_end = False
    subscription.canceled_at = None
    subscription.cancellation_reason = ""
    subscription.save(update_fields=["cancel_at_period_end", "canceled_at", "cancellation_reason", "updated_at"])
    _emit("reactivated", subscription, before, at=at, actor=actor)
    return subscription


def _lock(subscription_id: uuid.UUID) -> Subscription:
    found = lock_subscriptions([subscription_id])
    if not found:
        raise NotFound("subscription")
    return found[0]


def _emit(
    what: str, subscription: Subscription, before: dict[str, object], *, at: datetime, actor: Actor, reason: str = ""
) -> None:
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
