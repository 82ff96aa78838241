"""
What subscriptions are billed for: their items, at the price that is in force, loaded for many at once.

The price of an item is the plan's own, unless the account negotiated another. A meter that the plan does not price is
priced by the overage of a soft quota, else by a pricing rule. Source: contract chapter Pricing; ADR 0016.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from django.db.models import Q

from accounts.models import BillingMode, Subscription, SubscriptionItem
from accounts.queries.discounts import Discounts, load_discounts
from accounts.queries.meter_prices import MeterPrices, load_meter_prices
from accounts.queries.plan_items import PlanItems, plan_items
from accounts.queries.price_overrides import Overrides, load_overrides
from accounts.terms.cycles import Cycle
from accounts.terms.proration import Share, measure_share
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.periods import Interval, Period
from billing_site.platform.models.bulk import attach
from catalog.models import BillingTiming, Meter, PlanVersion, Price
from catalog.pricing.terms import PriceTerms
from catalog.queries.prices import get_price_terms, list_prices_of_versions
from invoicing.queries.pending_charges import Waiting, load_waiting
from invoicing.queries.policies import get_proration_terms
from invoicing.queries.sellers import Sellers
from invoicing.queries.taxes import Taxes, load_taxes


@dataclass(frozen=True, slots=True)
class DueBoundary:
    """
    Boundary `number`: the period it closes (none at the first) and the one it opens (none at the end).

    `opened` is the cycle that the opening period belongs to, another than before when the interval changes here. When
    the subscription ends early, at `ends_at`, `whole` is the period that `closing` was to be. A boundary that is billed
    ahead of its time bills the usage up to `used_until`; the next one goes on from there.
    """

    subscription: Subscription
    number: int
    closing: Period | None
    opening: Period | None
    opened: Cycle
    whole: Period | None = None
    ends_at: datetime | None = None
    used_until: datetime | None = None

    @property
    def usage(self) -> Period | None:
        """The stretch whose usage is billed: the closing period, and what a renewal ahead of time left before it."""
        start = self.subscription.usage_from or (self.closing.start if self.closing is not None else None)
        end = self.used_until or (self.closing.end if self.closing is not None else None)
        return Period(start, end) if start is not None and end is not None and start < end else None

    @property
    def moment(self) -> datetime:
        """When it is due: the day of its invoice, whenever that is really made. Source: ADR 0038."""
        if self.ends_at is not None or self.used_until is not None:
            return self.ends_at or self.used_until or self.subscription.current_period_end
        if self.is_start or self.closing is None:
            return self.opening.start if self.opening is not None else self.subscription.current_period_end
        return self.closing.end

    @property
    def is_start(self) -> bool:
        """Tell whether this is the very first boundary, at which the running period is billed in advance."""
        return self.opening is not None and self.opening.start == self.subscription.current_period_start


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
    """
    The items, prices, discounts and tax of many subscriptions, and the charges that wait for their next invoice.

    `pass_boundary` and `discounts.use_month` keep them in step while boundaries are settled. `looked_back` are the
    subscriptions whose past periods were looked at.
    """

    items: dict[uuid.UUID, list[SubscriptionItem]]
    overrides: Overrides
    meter_prices: MeterPrices
    pending_prices: Mapping[uuid.UUID, Sequence[Price]]
    sellers: Sellers
    taxes: Taxes
    waiting: Waiting = field(default_factory=Waiting)
    discounts: Discounts = field(default_factory=lambda: Discounts({}))
    looked_back: set[uuid.UUID] = field(default_factory=set)
    _terms: dict[uuid.UUID, PriceTerms] = field(default_factory=dict)
    _next: dict[uuid.UUID, PlanItems] = field(default_factory=dict)

    def list_for(self, boundary: DueBoundary) -> list[Billable]:
        """Return what the boundary bills, fees first: fees in advance of what opens, all else of what closes."""
        subscription = boundary.subscription
        found: list[Billable] = []
        if not subscription.is_billed_here:
            return found
        items = self.items.get(subscription.id, ())
        if boundary.closing is not None:
            for item in items:
                if _has_fee(item, BillingTiming.ARREARS):
                    found += self._bill_closing(boundary, item, "subscription")
        if boundary.opening is not None:
            for item in self._list_next(boundary).current if subscription.has_pending_change else items:
                if item.ended_at is None and _has_fee(item, BillingTiming.ADVANCE):
                    share = self.measure(subscription, boundary.opening, boundary.opening, boundary.opened)
                    found.append(self._make(subscription, item, "subscription", boundary.opening, share))
        if boundary.usage is not None:
            found += self._bill_usage(boundary, items, boundary.usage)
        return found

    def pass_boundary(self, boundary: DueBoundary) -> PlanItems | None:
        """
        Let a pending change take over and forget what was billed for the last time, in memory.

        Returns what happens to the items, None when nothing does. To be called before the subscription is settled.
        """
        subscription = boundary.subscription
        self.waiting.take(subscription)
        planned = PlanItems()
        if boundary.opening is not None and subscription.has_pending_change:
            planned = self._list_next(boundary)
            self.items[subscription.id] = planned.current
            del self._next[subscription.id]
        if boundary.closing is not None or boundary.usage is not None:
            planned.settled = self.settle_ended(subscription).settled
        return planned if planned.has_changes else None

    def settle_ended(self, subscription: Subscription) -> PlanItems:
        """Forget, in memory, the items that ended and have now been billed to their end, and return them."""
        items = self.items.get(subscription.id, [])
        settled = [item for item in items if item.unbilled_from is not None]
        if settled:
            self.items[subscription.id] = [item for item in items if item.unbilled_from is None]
        for item in settled:
            item.unbilled_from = None
        return PlanItems(settled=settled)

    def get_item_terms(self, subscription: Subscription, price: Price, *, at: datetime) -> PriceTerms:
        """Return the terms of a price as this account has them at `at`: the plan's, or what it negotiated."""
        terms = self._terms.get(price.id)
        if terms is None:
            terms = self._terms[price.id] = get_price_terms(price)
        return self.overrides.apply(subscription.account_id, terms, at=at)

    def bill_past(self, subscription: Subscription, item: SubscriptionItem, period: Period) -> Billable:
        """Return what an item with a price is billed for of a past period, at the price it has now."""
        share = self.measure(subscription, period, period, subscription.cycle)
        return self._make(subscription, item, "usage", period, share)

    def _bill_closing(
        self, boundary: DueBoundary, item: SubscriptionItem, kind: Literal["subscription", "usage"]
    ) -> Iterable[Billable]:
        """Yield what an item is billed for of the period that closes: the stretch in which it was in force."""
        closing = boundary.usage if kind == "usage" else boundary.closing
        subscription = boundary.subscription
        if closing is None:
            return
        stretch = _find_stretch(item, closing, subscription)
        if not stretch.duration:
            return
        whole = boundary.whole or boundary.closing or closing
        billed = whole if whole.start <= stretch.start and stretch.end <= whole.end else stretch
        cycle = subscription.cycle
        if item.price is not None and not item.is_sold_by(subscription):
            cycle = Cycle(cycle.anchor, Interval.parse(item.price.interval, item.price.interval_count), cycle.zone)
        share = self.measure(subscription, stretch, billed, cycle)
        yield self._make(subscription, item, kind, stretch, share)

    def measure(self, subscription: Subscription, part: Period, billed: Period, cycle: Cycle) -> Share | None:
        """Return which share of a period is billed, None for a whole one."""
        if part == cycle.whole_period_at(part.start):
            return None
        terms = get_proration_terms(subscription.plan_version, self.sellers.of(subscription.account))
        return measure_share(part=part, billed=billed, cycle=cycle, terms=terms)

    def _bill_usage(
        self, boundary: DueBoundary, items: Sequence[SubscriptionItem], period: Period
    ) -> Iterable[Billable]:
        subscription = boundary.subscription
        by_meter = {item.meter_id: item for item in items if item.meter_id is not None and item.ended_at is None}
        for item in items:
            if item.meter_id is not None and item.price is not None:
                yield from self._bill_closing(boundary, item, "usage")
        priced = {meter_id for meter_id, item in by_meter.items() if item.price is not None}
        whole = period
        for meter, terms in self.meter_prices.list_for(subscription, whole, besides=priced):
            period = _find_rest(items, meter, whole)
            if not period.duration:
                continue
            item = by_meter.get(meter.id) or SubscriptionItem(
                id=new_uuid(),
                subscription=subscription,
                meter=meter,
                billing_mode=BillingMode.METERED,
                quantity=0,
                started_at=period.start,
            )
            closing = boundary.whole or boundary.closing or whole
            billed = closing if closing.start <= period.start and period.end <= closing.end else period
            share = self.measure(subscription, period, billed, subscription.cycle)
            version = subscription.plan_version
            yield Billable(item, "usage", terms, period, version.public_id, version.plan.key, version.name, share)

    def _make(
        self,
        subscription: Subscription,
        item: SubscriptionItem,
        kind: Literal["subscription", "usage"],
        period: Period,
        share: Share | None,
    ) -> Billable:
        if item.price is None:
            raise ValueError(f"{item} has no price of its own")
        version = subscription.plan_version
        if item.price.plan_version_id == subscription.pending_plan_version_id:
            version = subscription.pending_plan_version or version
        elif item.price.plan_version_id != version.id:
            version = item.price.plan_version
        terms = self.get_item_terms(subscription, item.price, at=period.start)
        return Billable(item, kind, terms, period, version.public_id, version.plan.key, version.name, share)

    def _list_next(self, boundary: DueBoundary) -> PlanItems:
        subscription = boundary.subscription
        planned = self._next.get(subscription.id)
        if planned is None:
            if boundary.opening is None or not subscription.has_pending_change:
                raise ValueError("nothing takes over at this boundary")
            version = subscription.pending_plan_version_id or subscription.plan_version_id
            planned = plan_items(
                subscription,
                self.items.get(subscription.id, ()),
                self.pending_prices[version],
                at=boundary.opening.start,
                interval=boundary.opened.interval,
                quantity=subscription.pending_quantity,
            )
            self._next[subscription.id] = planned
        return planned


def _has_fee(item: SubscriptionItem, timing: str) -> bool:
    is_fee = item.billing_mode == BillingMode.LICENSED
    return is_fee and item.price is not None and item.price.billing_timing == timing


def _find_rest(items: Sequence[SubscriptionItem], meter: Meter, period: Period) -> Period:
    """Return what is left of `period` for the rule of a meter after a price that the subscription had for it."""
    ends = [item.ended_at for item in items if item.meter_id == meter.id and item.price is not None and item.ended_at]
    return Period(min(max([period.start, *ends]), period.end), period.end)


def _find_stretch(item: SubscriptionItem, closing: Period, subscription: Subscription) -> Period:
    """Return the stretch of an item that is billed with `closing`; one that ended may have begun before it."""
    start = closing.start
    if item.unbilled_from is not None:
        start = item.unbilled_from
    elif item.started_at != subscription.started_at:
        start = max(start, item.started_at)
    end = closing.end if item.ended_at is None else min(closing.end, item.ended_at)
    return Period(start, end) if start < end else Period(closing.end, closing.end)


def load_billables(subscriptions: Sequence[Subscription], *, sellers: Sellers) -> Billables:
    """
    Return what the subscriptions are billed for. A fixed number of queries, however many there are.

    Subscriptions come with `account`, `plan_version.plan` and `pending_plan_version.plan` loaded; `sellers` are those
    of their accounts.
    """
    pending = {
        each.pending_plan_version_id or each.plan_version_id for each in subscriptions if each.has_pending_change
    }
    items = _list_items([each.id for each in subscriptions])
    _load_versions(subscriptions, items)
    return Billables(
        items=items,
        overrides=load_overrides({each.account_id for each in subscriptions}),
        meter_prices=load_meter_prices(subscriptions),
        pending_prices=list_prices_of_versions(pending) if pending else {},
        sellers=sellers,
        taxes=load_taxes(each.account for each in subscriptions),
        waiting=load_waiting(subscriptions),
        discounts=load_discounts({each.id for each in subscriptions}),
    )


def _list_items(subscription_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[SubscriptionItem]]:
    """Return the items of many subscriptions that are in force or not billed to their end, fees first. 3 queries."""
    items = SubscriptionItem.objects.filter(
        Q(ended_at__isnull=True) | Q(unbilled_from__isnull=False), subscription_id__in=list(subscription_ids)
    )
    grouped: dict[uuid.UUID, list[SubscriptionItem]] = defaultdict(list)
    found = list(items.order_by("billing_mode", "id"))
    # Thousands of items have the same few prices and meters: each is read once.
    meters = Meter.objects.in_bulk(list({item.meter_id for item in found if item.meter_id is not None}))
    prices = Price.objects.in_bulk(list({item.price_id for item in found if item.price_id is not None}))
    for price in prices.values():
        price.meter = None if price.meter_id is None else meters[price.meter_id]
    for item in found:
        attach(item, "price", None if item.price_id is None else prices[item.price_id])
        attach(item, "meter", None if item.meter_id is None else meters[item.meter_id])
        grouped[item.subscription_id].append(item)
    return grouped


def _load_versions(
    subscriptions: Sequence[Subscription], items: Mapping[uuid.UUID, Sequence[SubscriptionItem]]
) -> None:
    """Give each price its plan version; a query only for those that are not the subscriptions' own."""
    prices = [item.price for each in items.values() for item in each if item.price is not None]
    known = {each.plan_version_id: each.plan_version for each in subscriptions}
    others = {price.plan_version_id for price in prices} - known.keys()
    if others:
        known |= PlanVersion.objects.select_related("plan").in_bulk(list(others))
    for price in prices:
        price.plan_version = known[price.plan_version_id]
