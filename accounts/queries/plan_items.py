"""What another plan version makes of a subscription's items."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from accounts.models import BillingMode, Subscription, SubscriptionItem
from accounts.queries.prices import choose_currency, choose_prices
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.periods import Interval
from catalog.models import Price


@dataclass(slots=True)
class PlanItems:
    """
    The items after the change, and how they come about: repriced, added, ended. None of it is stored.

    `current` has copies, so that what was before can still be billed at its price. `settled` are items that had ended
    before and have now been billed to their end.
    """

    current: list[SubscriptionItem] = field(default_factory=list)
    repriced: list[SubscriptionItem] = field(default_factory=list)
    added: list[SubscriptionItem] = field(default_factory=list)
    ended: list[SubscriptionItem] = field(default_factory=list)
    settled: list[SubscriptionItem] = field(default_factory=list)

    @property
    def has_changes(self) -> bool:
        return bool(self.repriced or self.added or self.ended or self.settled)


def plan_items(
    subscription: Subscription,
    items: Sequence[SubscriptionItem],
    prices: Sequence[Price],
    *,
    at: datetime,
    interval: Interval | None = None,
    quantity: int | None = None,
) -> PlanItems:
    """
    Return what happens to the items when `prices`, all those of a plan version, take over at `at`.

    The fee stays the fee and a meter stays its item, so that periods remain claimed; only price and quantity change. A
    price without an item adds one, an item without a price ends. Parts that are no part of the plan stay as they are.
    `interval` and `quantity` default to the subscription's.
    :raises ValidationFailed: when the version is not sold in the subscription's currency and interval.
    """
    chosen = choose_plan_prices(subscription, prices, interval=interval or subscription.billing_interval)
    require_parts_apart(subscription, items, chosen)
    wanted = {price.meter_id: price for price in chosen}
    seats = quantity or subscription.quantity
    planned = PlanItems()
    for item in items:
        if not belongs_to_plan(item, subscription):
            planned.current.append(item)
            continue
        price = wanted.pop(item.meter_id, None)
        if price is not None:
            changed = copy.copy(item)
            changed.price = price
            changed.quantity = 0 if price.is_metered else seats
            planned.current.append(changed)
            if (item.price_id, item.quantity) != (changed.price_id, changed.quantity):
                planned.repriced.append(changed)
        elif item.price_id is None:
            planned.current.append(item)
        else:
            ended = copy.copy(item)
            ended.ended_at = at
            planned.ended.append(ended)
    for price in wanted.values():
        added = make_item(subscription, price, quantity=seats, at=at)
        planned.added.append(added)
        planned.current.append(added)
    planned.current.sort(key=lambda item: (item.billing_mode, item.id))
    return planned


def choose_plan_prices(subscription: Subscription, prices: Sequence[Price], *, interval: Interval) -> list[Price]:
    """
    Return those of a plan version's prices that the subscription takes, the fee first.

    :raises ValidationFailed: when the version is not sold in the subscription's currency and `interval`.
    """
    name = prices[0].plan_version.name if prices else "The plan"
    currency = subscription.currency
    return choose_prices(
        prices,
        plan_name=name,
        currency=choose_currency(prices, plan_name=name, asked=currency, default=currency),
        interval=interval.unit,
        interval_count=interval.count,
    )


def belongs_to_plan(item: SubscriptionItem, subscription: Subscription) -> bool:
    """
    Tell whether an item in force comes with the plan; others were added to the subscription, or have ended.

    A meter that a rule or the overage of a quota prices has no price of its own and goes with any plan.
    """
    if item.ended_at is not None:
        return False
    return item.price is None or item.price.plan_version_id == subscription.plan_version_id


def require_parts_apart(subscription: Subscription, items: Sequence[SubscriptionItem], prices: Sequence[Price]) -> None:
    """:raises ValidationFailed: if something was added to the subscription that comes with `prices` too."""
    ids, meters = {price.id for price in prices}, {price.meter_id for price in prices if price.meter_id is not None}
    for item in items:
        if item.ended_at is not None or item.price is None or belongs_to_plan(item, subscription):
            continue
        if item.price_id in ids or item.meter_id in meters:
            raise ValidationFailed.of(
                "/plan_id",
                "part_exists",
                f"The plan brings what was added as {item.price.plan_version.name}: take that part off first.",
            )


def make_item(subscription: Subscription, price: Price, *, quantity: int, at: datetime) -> SubscriptionItem:
    """Return the item of a price from `at` on, not stored. `quantity` counts for a fee only."""
    return SubscriptionItem(
        id=new_uuid(),
        subscription=subscription,
        price=price,
        meter=price.meter,
        billing_mode=BillingMode.METERED if price.is_metered else BillingMode.LICENSED,
        quantity=0 if price.is_metered else quantity,
        started_at=at,
    )
