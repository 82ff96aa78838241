"""
One request that changes a subscription: its settings, its terms, or both, all of it or nothing.

Source: contract chapters Subscriptions and Plan changes; ADR 0027.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models import Subscription
from accounts.queries.subscriptions import with_details
from accounts.services.subscription_settings import update_subscription_settings
from billing_site.kernel.actors import Actor
from invoicing.services.changes import ChangeOutcome, ChangeRequest, change_subscription
from invoicing.services.schedule_steps import catch_up


@transaction.atomic
def update_subscription(
    *,
    subscription_id: uuid.UUID,
    settings: Mapping[str, Any],
    request: ChangeRequest | None,
    at: datetime,
    actor: Actor,
    expected_revision: int | None = None,
    self_service: bool = False,
) -> ChangeOutcome | None:
    """
    Change terms and settings and return what the terms came to; what they charge is collected by the new settings.

    `settings` as `update_subscription_settings` takes them. What is due of a schedule is done before other terms are;
    without `request` the terms stay and None is returned.
    Raises what `update_subscription_settings` and `change_subscription` raise.
    """
    outcome = None
    if request is not None:
        catch_up(subscription_id=subscription_id, at=at, actor=actor)
        outcome = change_subscription(
            subscription_id=subscription_id,
            request=request,
            at=at,
            actor=actor,
            expected_revision=expected_revision,
            self_service=self_service,
        )
    if settings:
        update_subscription_settings(subscription_id=subscription_id, changes=settings, at=at, actor=actor)
    return outcome


def preview_update(*, subscription_id: uuid.UUID, request: ChangeRequest, **arguments: Any) -> ChangeOutcome:
    """
    Return what `update_subscription` would do, by doing it and taking it back. Nothing stays.

    The subscription comes with all that is shown of it, as it would be.
    """
    with transaction.atomic():
        outcome = update_subscription(subscription_id=subscription_id, request=request, **arguments)
        if outcome is None:
            raise TypeError("a preview is of other terms")
        shown = with_details(Subscription.objects.filter(pk=subscription_id)).get()
        transaction.set_rollback(True)
    return replace(outcome, subscription=shown)
