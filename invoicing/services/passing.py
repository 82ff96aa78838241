"""What a passed boundary does to its subscription, and how that is told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from accounts.models import Subscription
from billing_site.kernel.actors import Actor
from billing_site.platform.services import events
from invoicing.queries.billables import DueBoundary
from invoicing.queries.facts import settle_boundary


def pass_on(boundary: DueBoundary, at: datetime, actor: Actor, reason: str) -> events.NewEvent | None:
    """
    Move a subscription past a boundary, in memory, and return the event to write.

    Renewed or canceled; none at the very first boundary.
    """
    subscription = boundary.subscription
    before = {
        "status": subscription.status,
        "plan_version": subscription.plan_version.version,
        "current_period_start": subscription.current_period_start,
        "current_period_end": subscription.current_period_end,
    }
    is_start = boundary.is_start
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
