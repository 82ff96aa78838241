"""
What subscriptions are billed for: their items, at the price that is in force, loaded for many at once.

The price of an item is the plan's own, unless the account negotiated another. A meter that the plan does not price is
priced by the overage of a soft quota, else by a pricing rule. Source: contract chapter Pricing; ADR 0016.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from accounts.models import BillingMode, Subscription, SubscriptionItem
from accounts.queries.meter_prices import MeterPrices, load_meter_prices
from accounts.queries.plan_items import PlanItems, plan_items
from accounts.queries.price_overrides import Overrides, load_overrides
from accounts.terms.cycles import Cycle
from accounts.terms.proration import ProrationTerms, Share, measure_share
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.periods import Period
from catalog.models import BillingTiming, Price
from catalog.pricing.terms import PriceTerms
from catalog.queries.prices import get_price_terms, list_prices_of_versions


@dataclass(frozen=True, slots=True)
class DueBoundary:
    """
    Boundary `number`: the period it closes (none at the first) and the one it opens (none at the end).

    `next_number` is the boundary after it. When the subscription ends early, at `ends_at`, `whole` is the period that
    `closing` was to be.
    """

    subscription: Subscription
    number: int
    closing: Period | None
    opening: Period | None
    next_number: int
    whole: Period | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Billable:
    """One thing to bill at a boundary: an item (perhaps not stored yet), its price, and the period it covers."""

    item: SubscriptionItem
    type: Literal["subscription", "usage"]
    terms: PriceTerms
    period: Period
    plan_version_id: str
    plan_id: str
    plan_name: str
    share: Share | None = None


@dataclass(slots=True)
class Billables:
    """The items and prices of many subscriptions. `pass_boundary` keeps them in step while boundaries are settled."""

    items: dict[uuid.UUID, list[SubscriptionItem]]
    overrides: Overrides
    meter_prices: MeterPrices
    pending_prices: Mapping[uuid.UUID, Sequence[Price]]
    _terms: dict[uuid.UUID, PriceTerms] = field(default_factory=dict)
    _next: dict[uuid.UUID, PlanItems] = field(default_factory=dict)

    def list_for(self, boundary: DueBoundary) -> list[Billable]:
        """Return what the boundary bills, fees first: fees in advance of what opens, all else of what closes."""
        subscription = boundary.subscription
        found: list[Billable] = []
        items = self.items.get(subscription.id, ())
        for item in items:
            if item.billing_mode == BillingMode.LICENSED and boundary.closing is not None:
                found += self._bill_fee(subscription, item, boundary.closing, BillingTiming.ARREARS)
        if boundary.opening is not None:
            for item in self._list_next(boundary).current if subscription.pending_plan_version_id else items:
                if item.billing_mode == BillingMode.LICENSED:
                    found += self._bill_fee(subscription, item, boundary.opening, BillingTiming.ADVANCE)
        if boundary.closing is not None:
            found += self._bill_usage(subscription, items, boundary.closing)
        if boundary.whole is None or boundary.closing is None:
            return found
        cycle = Cycle(subscription.anchor_date, subscription.billing_interval, subscription.zone)
        share = measure_share(part=boundary.closing, billed=boundary.whole, cycle=cycle, terms=ProrationTerms())
        return [replace(each, share=share) for each in found]

    def pass_boundary(self, boundary: DueBoundary) -> PlanItems | None:
        """
        Let a pending plan version take over, in memory, and return what happens to the items; None without one.

        To be called before the subscription itself is settled.
        """
        if boundary.opening is None or boundary.subscription.pending_plan_version_id is None:
            return None
        planned = self._list_next(boundary)
        self.items[boundary.subscription.id] = planned.current
        del self._next[boundary.subscription.id]
        return planned

    def _bill_fee(
        self, subscription: Subscription, item: SubscriptionItem, period: Period, timing: str
    ) -> Iterable[Billable]:
        if item.price is not None and item.price.billing_timing == timing:
            terms = self._get_terms(subscription, item.price, period)
            yield self._make(subscription, item, "subscription", terms, period)

    def _bill_usage(
        self, subscription: Subscription, items: Sequence[SubscriptionItem], period: Period
    ) -> Iterable[Billable]:
        by_meter = {item.meter_id: item for item in items if item.meter_id is not None}
        for item in by_meter.values():
            if item.price is not None:
                yield self._make(subscription, item, "usage", self._get_terms(subscription, item.price, period), period)
        priced = {meter_id for meter_id, item in by_meter.items() if item.price is not None}
        for meter, terms in self.meter_prices.list_for(subscription, period, besides=priced):
            item = by_meter.get(meter.id) or SubscriptionItem(
                id=new_uuid(),
                subscription=subscription,
                meter=meter,
                billing_mode=BillingMode.METERED,
                quantity=0,
                started_at=period.start,
            )
            yield self._make(subscription, item, "usage", terms, period)

    def _make(
        self,
        subscription: Subscription,
        item: SubscriptionItem,
        kind: Literal["subscription", "usage"],
        terms: PriceTerms,
        period: Period,
    ) -> Billable:
        version = subscription.plan_version
        if item.price is not None and item.price.plan_version_id == subscription.pending_plan_version_id:
            version = subscription.pending_plan_version or version
        return Billable(item, kind, terms, period, version.public_id, version.plan.key, version.name)

    def _get_terms(self, subscription: Subscription, price: Price, period: Period) -> PriceTerms:
        terms = self._terms.get(price.id)
        if terms is None:
            terms = self._terms[price.id] = get_price_terms(price)
        return self.overrides.apply(subscription.account_id, terms, at=period.start)

    def _list_next(self, boundary: DueBoundary) -> PlanItems:
        subscription = boundary.subscription
        planned = self._next.get(subscription.id)
        if planned is None:
            if boundary.opening is None or subscription.pending_plan_version_id is None:
                raise ValueError("no plan version takes over at this boundary")
            planned = plan_items(
                subscription,
                self.items.get(subscription.id, ()),
                self.pending_prices[subscription.pending_plan_version_id],
                at=boundary.opening.start,
            )
            self._next[subscription.id] = planned
        return planned


def load_billables(subscriptions: Sequence[Subscription]) -> Billables:
    """
    Return what the subscriptions are billed for. A fixed number of queries, however many there are.

    Subscriptions come with `account`, `plan_version.plan` and `pending_plan_version.plan` loaded.
    """
    pending = {each.pending_plan_version_id for each in subscriptions if each.pending_plan_version_id is not None}
    items = _list_items([each.id for each in subscriptions])
    return Billables(
        items=items,
        overrides=load_overrides({each.account_id for each in subscriptions}),
        meter_prices=load_meter_prices(subscriptions),
        pending_prices=list_prices_of_versions(pending) if pending else {},
    )


def _list_items(subscription_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[SubscriptionItem]]:
    """Return the items in force of many subscriptions with price and meter, fees first. One query."""
    items = SubscriptionItem.objects.filter(subscription_id__in=list(subscription_ids), ended_at__isnull=True)
    grouped: dict[uuid.UUID, list[SubscriptionItem]] = defaultdict(list)
    for item in items.select_related("price", "meter").order_by("billing_mode", "id"):
        if item.price is not None:
            item.price.meter = item.meter
        grouped[item.subscription_id].append(item)
    return grouped
