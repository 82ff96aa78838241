"""
Starts that wait for their first payment, and end when it does not come in time.

Source: contract chapter Subscriptions; ADR 0029.
"""

from __future__ import annotations

import logging
import uuid
from datetime import datetime

from django.db import transaction

from accounts.models import SubscriptionStatus
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError
from invoicing.queries.due import list_unpaid_starts
from invoicing.services.billing import lock_subscription
from invoicing.services.cancellations import cancel_subscription

logger = logging.getLogger(__name__)


@transaction.atomic
def cancel_unpaid_start(*, subscription_id: uuid.UUID, at: datetime, actor: Actor) -> bool:
    """
    Cancel a subscription that is `incomplete` past its time as of that time, and tell whether it was.

    Its open invoice is void, and what had paid a part of it comes back. Nothing happens to one that was paid meanwhile.
    :raises NotFound: if there is no such subscription.
    """
    subscription = lock_subscription(subscription_id)
    moment = subscription.incomplete_until
    if subscription.status != SubscriptionStatus.INCOMPLETE or moment is None or moment > at:
        return False
    cancel_subscription(
        subscription_id=subscription_id, at=moment, actor=actor, at_period_end=False, comment="Not paid in time"
    )
    return True


def cancel_unpaid_starts(*, at: datetime, actor: Actor = SYSTEM, limit: int = 500) -> int:
    """
    Cancel the starts that were not paid by `at` (by their account's clock), and return how many.

    Each in a transaction of its own; one that fails is logged and tried again with the next sweep.
    """
    canceled = 0
    for subscription_id, now in list_unpaid_starts(as_of=at, limit=limit):
        try:
            canceled += cancel_unpaid_start(subscription_id=subscription_id, at=now, actor=actor)
        except DomainError:
            logger.exception("a start that was not paid could not be canceled")
    return canceled
