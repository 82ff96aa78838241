"""
The settings of a subscription: what says how it is collected, not what it is for.

Plan, quantity and interval are terms: changing them bills, and belongs to the change of a subscription.
Source: contract chapter Subscriptions.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import CollectionMethod, Subscription, SubscriptionStatus
from accounts.queries.payment_methods import find_own_method
from accounts.queries.snapshots import describe_subscription, find_changes
from accounts.services.account_locks import lock_account_row
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, InvalidState, NotFound, ValidationFailed
from billing_site.platform.services import events

SETTINGS: Final = ("collection_method", "billing_threshold", "default_payment_method", "metadata")
_CLOSED: Final = (SubscriptionStatus.CANCELED, SubscriptionStatus.INCOMPLETE, SubscriptionStatus.PAUSED)


@transaction.atomic
def update_subscription_settings(
    *, subscription_id: uuid.UUID, changes: Mapping[str, Any], at: datetime, actor: Actor, reason: str = ""
) -> Subscription:
    """
    Change settings, those of `SETTINGS` that `changes` names, and return the subscription.

    A `billing_threshold` of None removes it; it is minor units. `default_payment_method` is the id of one of the
    account's methods, None its default. `metadata` takes the place of what was there. What is
    the same already writes nothing.
    :raises NotFound: if there is no such subscription or payment method.
    :raises InvalidState: if it is canceled, incomplete or paused.
    :raises ValidationFailed: for an unknown collection method.
    :raises AmountNotPositive: for a threshold of zero or below.
    """
    unknown = sorted(changes.keys() - set(SETTINGS))
    if unknown:
        raise TypeError(f"a subscription has no setting {', '.join(unknown)}")
    _check(changes)
    rows = Subscription.objects.filter(pk=subscription_id)
    if "default_payment_method" in changes:  # which is not detached meanwhile: that locks the account first
        for account_id in rows.values_list("account_id", flat=True):
            lock_account_row(account_id)
    # Locked alone: a row that changed its plan while we waited would be lost to a join with the plan it had.
    if rows.select_for_update().values_list("pk").first() is None:
        raise NotFound("subscription")
    subscription = rows.select_related("account", "plan_version__plan", "pending_plan_version__plan").get()
    if subscription.status in _CLOSED:
        raise InvalidState(f"The subscription is {subscription.status}.", current_status=subscription.status)
    before = describe_subscription(subscription)
    values = dict(changes)
    if (method := values.get("default_payment_method")) is not None:
        values["default_payment_method"] = find_own_method(subscription.account_id, method)
    for name, value in values.items():
        setattr(subscription, name, value)
    after = describe_subscription(subscription)
    previous = find_changes(before, after)
    if not previous:
        return subscription
    subscription.save(update_fields=[*values, "updated_at"])
    events.emit(
        "subscription.updated",
        subject=subscription,
        account_id=subscription.account_id,
        at=at,
        actor=actor,
        data=after,
        previous=previous,
        reason=reason,
    )
    return subscription


def _check(changes: Mapping[str, Any]) -> None:
    method = changes.get("collection_method", CollectionMethod.CHARGE_AUTOMATICALLY)
    if method not in CollectionMethod.values:
        choices = ", ".join(CollectionMethod.values)
        raise ValidationFailed.of("/collection_method", "invalid_choice", f"One of: {choices}.")
    threshold = changes.get("billing_threshold")
    if threshold is not None and threshold <= 0:
        raise AmountNotPositive("The billing threshold must be above zero.")
