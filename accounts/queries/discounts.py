"""Discounts of subscriptions as billing reads them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from accounts.models import Subscription, SubscriptionDiscount
from billing_site.kernel.periods import billing_period


@dataclass(slots=True)
class Discounts:
    """
    The discounts in force of many subscriptions. `use_month` keeps them in step while boundaries are settled.

    `used` are those of which a month was used, as they are now; nothing of it is stored here.
    """

    rows: dict[UUID, SubscriptionDiscount]
    used: dict[UUID, SubscriptionDiscount] = field(default_factory=dict)

    def find(self, subscription_id: UUID) -> SubscriptionDiscount | None:
        """Return the discount that the next invoice of the subscription has, or None."""
        return self.rows.get(subscription_id)

    def use_month(self, subscription_id: UUID, *, at: datetime) -> SubscriptionDiscount | None:
        """Count an invoice and return the discount it had, if any; one that is used up is no longer found."""
        row = self.rows.get(subscription_id)
        if row is None:
            return None
        if row.months_left is not None:
            row.use_month(at)
            self.used[row.id] = row
        if row.ended_at is not None:
            del self.rows[subscription_id]
        return row


def load_discounts(subscription_ids: Collection[UUID]) -> Discounts:
    """Return the discounts in force of the subscriptions. One query."""
    rows = list_in_force().filter(subscription_id__in=list(subscription_ids))
    return Discounts({row.subscription_id: row for row in rows})


def list_in_force() -> QuerySet[SubscriptionDiscount]:
    """Return the discounts that have not ended."""
    return SubscriptionDiscount.objects.filter(ended_at__isnull=True)


def find_discount(subscription: Subscription) -> SubscriptionDiscount | None:
    """Return the discount in force of one subscription, or None."""
    return list_in_force().filter(subscription=subscription).first()


def compute_end(discount: SubscriptionDiscount, subscription: Subscription) -> datetime | None:
    """
    Return when the last period that the discount can cover ends; None when it runs until it is removed.

    An invoice that is not made uses no month, so it may be later than that.
    """
    if discount.ended_at is not None or discount.months_left is None:
        return discount.ended_at
    last = subscription.next_boundary + discount.months_left - 1
    return billing_period(subscription.anchor_date, subscription.billing_interval, last, subscription.zone).end
