"""
Extending trials.

Source: policies, rule 8; contract chapter Subscriptions (Trial).
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final, cast

from django.db import transaction

from accounts.models import Subscription, SubscriptionStatus
from accounts.queries.snapshots import describe_subscription, find_changes
from accounts.services.subscriptions import MAX_TRIAL_DAYS
from accounts.terms.alignment import extend_trial
from accounts.terms.boundaries import Alignment
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.platform.services import events
from invoicing.services.changes import lock_changeable

_COLUMNS: Final = ("trial_end", "current_period_end", "next_billing_at", "anchor_date", "revision", "updated_at")


@transaction.atomic
def extend_subscription_trial(
    *, subscription_id: uuid.UUID, days: int, at: datetime, actor: Actor, reason: str = ""
) -> Subscription:
    """
    Let a running trial last `days` local days longer and return the subscription. Nothing is billed.

    The paid cycle is anchored at the new end; boundaries on the calendar or on an explicit anchor stay.
    :raises InvalidState: if it is not on trial at `at`. :raises ValidationFailed: for less than a day or too many.
    """
    if not 1 <= days <= MAX_TRIAL_DAYS:
        raise ValidationFailed.of("/days", "out_of_range", f"A trial is extended by 1 to {MAX_TRIAL_DAYS} days.")
    subscription = lock_changeable(subscription_id, at=at, actor=actor)
    if subscription.status != SubscriptionStatus.TRIALING:
        raise InvalidState("The subscription is not on trial.", current_status=subscription.status)
    before = describe_subscription(subscription)
    begun = extend_trial(
        trial=subscription.current_period,
        cycle=subscription.cycle,
        days=days,
        alignment=cast(Alignment, subscription.alignment),
        billing_cycle_anchor=subscription.billing_cycle_anchor,
    )
    end = begun.trial_end
    subscription.trial_end = end
    subscription.current_period_end = end or subscription.current_period_end
    subscription.next_billing_at = end
    subscription.anchor_date = begun.cycle.anchor
    subscription.revision += 1
    subscription.save(update_fields=_COLUMNS)
    after = describe_subscription(subscription)
    events.emit(
        "subscription.updated",
        subject=subscription,
        account_id=subscription.account_id,
        at=at,
        actor=actor,
        data=after,
        previous=find_changes(before, after),
        reason=reason,
    )
    return subscription
