"""
Facts for the calculation, gathered for many subscriptions at once with a fixed number of queries.

Source: contract chapter Renewal and cycle; policies.md 5 to 7.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import cast

from accounts.models import BillingMode, Subscription, SubscriptionItem, SubscriptionStatus
from billing_site.kernel.money import RoundingMode
from billing_site.kernel.periods import Period, billing_period
from catalog.models import BillingTiming
from catalog.queries.prices import get_price_terms
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts, QuantitySource
from invoicing.models import Seller
from metering.stores import Quantity, QuantityRequest, sum_quantities


@dataclass(frozen=True, slots=True)
class DueBoundary:
    """Boundary `number`: the period it closes (none at the first) and the one it opens (none at the end)."""

    subscription: Subscription
    number: int
    closing: Period | None
    opening: Period | None


def get_due_boundary(subscription: Subscription, *, now: datetime) -> DueBoundary | None:
    """Return the boundary that is to be billed by `now`, or None when nothing is due."""
    if subscription.next_billing_at is None or subscription.next_billing_at > now:
        return None
    return get_boundary(subscription)


def get_boundary(subscription: Subscription) -> DueBoundary:
    """Return the next boundary of `subscription`, due or not. At the first one of a trial nothing is closed."""
    number, zone, interval = subscription.next_boundary, subscription.zone, subscription.billing_interval
    closing = billing_period(subscription.anchor_date, interval, number - 1, zone) if number > 0 else None
    ends = subscription.cancel_at_period_end and subscription.status != SubscriptionStatus.TRIALING and number > 0
    opening = None if ends else billing_period(subscription.anchor_date, interval, number, zone)
    return DueBoundary(subscription, number, closing, opening)


def list_items(subscription_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[SubscriptionItem]]:
    """Return the items of many subscriptions with price and meter, fees first, in creation order. One query."""
    items = SubscriptionItem.objects.filter(subscription_id__in=list(subscription_ids)).select_related("price", "meter")
    grouped: dict[uuid.UUID, list[SubscriptionItem]] = defaultdict(list)
    for item in items.order_by("billing_mode", "id"):
        item.price.meter = item.meter
        grouped[item.subscription_id].append(item)
    return grouped


def gather_facts(
    boundaries: Sequence[DueBoundary],
    *,
    items: Mapping[uuid.UUID, Sequence[SubscriptionItem]],
    sellers: Mapping[str, Seller],
) -> list[InvoiceFacts]:
    """
    Return the facts of each boundary, in the same order. One query for all usage.

    Subscriptions come with `account` and `plan_version.plan` loaded; `sellers` is by organization.
    """
    requests = [
        QuantityRequest(boundary.subscription.account_id, item.meter_id, boundary.closing)
        for boundary in boundaries
        for item in items.get(boundary.subscription.id, ())
        if item.meter_id is not None and boundary.closing is not None
    ]
    quantities = sum_quantities(requests) if requests else {}
    return [
        InvoiceFacts(
            currency=boundary.subscription.currency,
            timezone=boundary.subscription.timezone,
            boundary=boundary.number,
            rounding=cast(RoundingMode, sellers[boundary.subscription.account.org_id].rounding),
            charges=tuple(_list_charges(boundary, items.get(boundary.subscription.id, ()), quantities)),
        )
        for boundary in boundaries
    ]


def _list_charges(
    boundary: DueBoundary, items: Sequence[SubscriptionItem], quantities: Mapping[QuantityRequest, Quantity]
) -> Iterable[ChargeFacts]:
    for item in items:
        if item.billing_mode == BillingMode.METERED:
            if boundary.closing is not None and item.meter_id is not None:
                request = QuantityRequest(boundary.subscription.account_id, item.meter_id, boundary.closing)
                found = quantities[request]
                source = QuantitySource("usage", found.event_count, found.last_recorded_at)
                yield _charge(boundary, item, boundary.closing, found.quantity, source)
        else:
            in_advance = item.price.billing_timing == BillingTiming.ADVANCE
            period = boundary.opening if in_advance else boundary.closing
            if period is not None:
                yield _charge(boundary, item, period, Decimal(item.quantity), QuantitySource("item"))


def _charge(
    boundary: DueBoundary, item: SubscriptionItem, period: Period, quantity: Decimal, source: QuantitySource
) -> ChargeFacts:
    version = boundary.subscription.plan_version
    return ChargeFacts(
        type="usage" if item.billing_mode == BillingMode.METERED else "subscription",
        item_id=item.public_id,
        plan_version_id=version.public_id,
        plan_id=version.plan.key,
        plan_name=version.name,
        price=get_price_terms(item.price),
        quantity=quantity,
        period=period,
        source=source,
        meter_name=item.meter.display_name if item.meter is not None else "",
    )


def settle_boundary(boundary: DueBoundary) -> bool:
    """
    Move the subscription past `boundary`, in memory only, and tell whether it goes on.

    A trial that is over becomes active; one that is set to cancel ends at the boundary.
    Source: contract chapter Renewal and cycle, steps 2 and 5.
    """
    subscription = boundary.subscription
    if boundary.opening is None:
        subscription.status = SubscriptionStatus.CANCELED
        subscription.ended_at = (
            boundary.closing.end if boundary.closing is not None else subscription.current_period_end
        )
        subscription.next_billing_at = None
        return False
    if subscription.status == SubscriptionStatus.TRIALING:
        subscription.status = SubscriptionStatus.ACTIVE
    subscription.current_period_start = boundary.opening.start
    subscription.current_period_end = boundary.opening.end
    subscription.next_boundary = boundary.number + 1
    subscription.next_billing_at = boundary.opening.end
    return True
