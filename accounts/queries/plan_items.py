"""What another plan version makes of a subscription's items."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from accounts.models import BillingMode, Subscription, SubscriptionItem
from accounts.queries.prices import choose_currency, choose_prices
from billing_site.kernel.ids import new_uuid
from catalog.models import Price


@dataclass(slots=True)
class PlanItems:
    """
    The items after the change, and how they come about: repriced, added, ended. None of it is stored.

    `current` has copies, so that what was before can still be billed at its price.
    """

    current: list[SubscriptionItem] = field(default_factory=list)
    repriced: list[SubscriptionItem] = field(default_factory=list)
    added: list[SubscriptionItem] = field(default_factory=list)
    ended: list[SubscriptionItem] = field(default_factory=list)


def plan_items(
    subscription: Subscription, items: Sequence[SubscriptionItem], prices: Sequence[Price], *, at: datetime
) -> PlanItems:
    """
    Return what happens to the items when `prices`, all those of another plan version, take over at `at`.

    The fee stays the fee and a meter stays its item, so that periods remain claimed; only the price changes. A price
    without an item adds one, an item without a price ends.
    :raises ValidationFailed: when the version is not sold in the subscription's currency and interval.
    """
    name = prices[0].plan_version.name if prices else "The plan"
    currency = subscription.currency
    chosen = choose_prices(
        prices,
        plan_name=name,
        currency=choose_currency(prices, plan_name=name, asked=currency, default=currency),
        interval=subscription.interval,
        interval_count=subscription.interval_count,
    )
    wanted = {price.meter_id: price for price in chosen}
    planned = PlanItems()
    for item in items:
        price = wanted.pop(item.meter_id, None)
        if price is not None:
            changed = copy.copy(item)
            changed.price = price
            planned.current.append(changed)
            if item.price_id != price.id:
                planned.repriced.append(changed)
        elif item.price_id is None:
            planned.current.append(item)
        else:
            ended = copy.copy(item)
            ended.ended_at = at
            planned.ended.append(ended)
    for price in wanted.values():
        added = SubscriptionItem(
            id=new_uuid(),
            subscription=subscription,
            price=price,
            meter=price.meter,
            billing_mode=BillingMode.METERED if price.is_metered else BillingMode.LICENSED,
            quantity=0 if price.is_metered else subscription.quantity,
            started_at=at,
        )
        planned.added.append(added)
        planned.current.append(added)
    planned.current.sort(key=lambda item: (item.billing_mode, item.id))
    return planned
