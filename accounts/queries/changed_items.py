"""What a change in the middle of a period makes of a subscription's items."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts.models import BillingMode, Subscription, SubscriptionItem
from accounts.queries.plan_items import PlanItems, belongs_to_plan, make_item
from catalog.models import BillingTiming, Price


@dataclass(frozen=True, slots=True)
class ItemChange:
    """
    A change at `moment` to `prices` (the fee and the usage prices) and `quantity`.

    `fee_from` is where the new fee begins to be billed: at the moment, or with the next period where what runs is used
    up first. `new_interval`: the fee is for another interval. Nothing is billed for a period that `is_trial`.
    """

    moment: datetime
    fee_from: datetime
    prices: Sequence[Price]
    quantity: int
    new_interval: bool = False
    is_trial: bool = False


def change_items(subscription: Subscription, items: Sequence[SubscriptionItem], change: ItemChange) -> PlanItems:
    """
    Return what happens to the items. None of it is stored.

    A fee in advance stays its item and is repriced: the change itself credits and charges. A fee in arrears ends, and
    another begins, so that each is billed for its days when the period closes; likewise a meter that is priced
    differently: usage is priced by the plan under which it happened. Source: policies, rules 5 and 11; ADR 0027.
    """
    wanted = {price.meter_id: price for price in change.prices}
    planned = PlanItems()
    for item in items:
        if not belongs_to_plan(item, subscription):
            planned.current.append(item)
            continue
        price = wanted.pop(item.meter_id, None)
        if _is_same(item, price, change.quantity):
            planned.current.append(item)
        elif price is not None and _stays(item, price, change):
            changed = copy.copy(item)
            changed.price = price
            changed.quantity = 0 if price.is_metered else change.quantity
            planned.current.append(changed)
            planned.repriced.append(changed)
        elif price is None and item.price is None:
            planned.current.append(item)
        else:
            planned.ended.append(_end(subscription, item, change))
            if price is not None:
                planned.added.append(_begin(subscription, price, change))
    planned.added += [_begin(subscription, price, change) for price in wanted.values()]
    # What ended is still billed for its last stretch.
    planned.current += [*planned.added, *(item for item in planned.ended if item.unbilled_from is not None)]
    planned.current.sort(key=lambda item: (item.billing_mode, item.id))
    return planned


def end_item(subscription: Subscription, item: SubscriptionItem, *, at: datetime, is_billed: bool) -> SubscriptionItem:
    """
    Return a copy of `item` that ends at `at`; what it did in the running period is billed when that closes.

    `is_billed`: the running period was billed in advance, or costs nothing, so that nothing is left to bill.
    """
    ended = copy.copy(item)
    start = subscription.current_period_start
    if item.billing_mode == BillingMode.METERED and subscription.usage_from is not None:
        start = subscription.usage_from
    if item.started_at != subscription.started_at:
        start = max(start, item.started_at)
    ended.ended_at = max(at, item.started_at)
    if not is_billed and start < ended.ended_at:
        ended.unbilled_from = start
    return ended


def _is_same(item: SubscriptionItem, price: Price | None, quantity: int) -> bool:
    if price is None or item.price_id != price.id:
        return False
    return price.is_metered or item.quantity == quantity


def _stays(item: SubscriptionItem, price: Price, change: ItemChange) -> bool:
    """Tell whether the item keeps its identity: it was billed in advance, or has nothing behind it yet."""
    if item.price is None or change.is_trial:
        return True
    if price.is_metered or change.new_interval:
        return False
    return item.price.billing_timing == price.billing_timing == BillingTiming.ADVANCE


def _end(subscription: Subscription, item: SubscriptionItem, change: ItemChange) -> SubscriptionItem:
    is_fee = item.billing_mode == BillingMode.LICENSED
    is_advance = item.price is not None and item.price.billing_timing == BillingTiming.ADVANCE
    at = change.fee_from if is_fee and not is_advance else change.moment
    return end_item(subscription, item, at=at, is_billed=change.is_trial or (is_fee and is_advance))


def _begin(subscription: Subscription, price: Price, change: ItemChange) -> SubscriptionItem:
    at = change.moment if price.is_metered else change.fee_from
    return make_item(subscription, price, quantity=change.quantity, at=at)
