"""
Parts of a subscription: what is added to it beside its plan, changed and taken off again.

The part that is the plan's own fee has the quantity of the subscription; what comes with the plan goes with the plan.
Fees are prorated by the rules of plan changes, and left for the next invoice; usage counts from the moment a part is
added to the moment it is taken off. Source: contract chapter Subscriptions; policies, rules 5 and 9 to 12.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from django.db import transaction

from accounts.models import BillingMode, Subscription, SubscriptionItem, SubscriptionStatus
from accounts.queries.changed_items import end_item
from accounts.queries.part_prices import NewPart, PartPrice, choose_part_price
from accounts.queries.plan_items import PlanItems, belongs_to_plan, make_item
from accounts.queries.snapshots import describe_item, find_changes
from accounts.services.subscriptions import MAX_QUANTITY, PlanNotSubscribable
from accounts.terms.changes import ChangePlan, plan_change
from accounts.terms.fees import PeriodFee
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.services import events
from invoicing.models import Seller
from invoicing.queries.billables import Billables, load_billables
from invoicing.queries.fees import PricedFee, find_billed_fee, price_item
from invoicing.services.changes import ChangeRequest, change_subscription, lock_changeable
from invoicing.services.items import store_changed_items
from invoicing.services.sellers import ensure_sellers
from invoicing.services.settling import make_charge, settle_charges

ItemProration = Literal["create_prorations", "none"]
_ZERO: Final = Decimal(0)


@dataclass(slots=True)
class _Change:
    """One change of the parts of a locked subscription."""

    subscription: Subscription
    billables: Billables
    seller: Seller
    at: datetime
    actor: Actor
    behavior: ItemProration

    @property
    def items(self) -> list[SubscriptionItem]:
        return self.billables.items.get(self.subscription.id, [])

    @property
    def is_trial(self) -> bool:
        return self.subscription.status == SubscriptionStatus.TRIALING

    def find(self, item_id: uuid.UUID) -> SubscriptionItem:
        """:raises NotFound: if the part was taken off meanwhile."""
        found = next((item for item in self.items if item.id == item_id and item.ended_at is None), None)
        if found is None:
            raise NotFound("subscription_item")
        found.subscription = self.subscription
        return found

    def plan(self, old: PricedFee | None, new: PricedFee | None) -> ChangePlan:
        """Return what going from one fee to another at once means; None is no fee."""
        known = new or old
        if known is None:
            raise ValueError("a part without a fee is not prorated")
        none = PeriodFee(_ZERO, known.period_fee.interval, proration=known.period_fee.proration)
        return plan_change(
            at=self.at,
            cycle=self.subscription.cycle,
            period=self.subscription.current_period,
            old=none if old is None else old.period_fee,
            new=none if new is None else new.period_fee,
            effective="immediate",
            proration_behavior=self.behavior,
            is_trial=self.is_trial,
            is_paid=False,
        )

    def settle(self, item: SubscriptionItem, plan: ChangePlan, old: PricedFee | None, new: PricedFee | None) -> None:
        """Leave what a fee in advance credits and charges for the next invoice. `item` is stored."""
        sides = {"credit": old, "charge": new}
        charges = [make_charge(item, fee, part) for part in plan.parts if (fee := sides[part.kind]) is not None]
        settle_charges(
            self.subscription,
            charges,
            behavior=self.behavior,
            seller=self.seller,
            at=self.at,
            actor=self.actor,
            reason="parts changed",
        )

    def emit(self, what: str, item: SubscriptionItem, previous: dict[str, Any] | None = None) -> None:
        """Write the event."""
        events.emit(
            f"subscription_item.{what}",
            subject=item,
            account_id=self.subscription.account_id,
            at=self.at,
            actor=self.actor,
            data=describe_item(item, self.subscription),
            previous=previous or {},
        )


@transaction.atomic
def add_subscription_item(
    *,
    subscription_id: uuid.UUID,
    part: NewPart,
    at: datetime,
    actor: Actor,
    proration_behavior: ItemProration = "create_prorations",
    self_service: bool = False,
) -> SubscriptionItem:
    """
    Add a part and return it. A fee in advance is charged for the rest of the period from the day of `at` on.

    With `none`, and in a trial, it is billed from the next period on. Usage counts from `at`.
    :raises NotFound: for an unknown subscription, price, plan or meter.
    :raises PlanNotSubscribable: for a price that our staff alone sells, with `self_service`.
    :raises InvalidState: if the subscription is ended, paused, unpaid or incomplete.
    :raises ValidationFailed: if it has such a part already, or the part does not fit.
    """
    change = _open(subscription_id, at=at, actor=actor, behavior=proration_behavior)
    subscription = change.subscription
    found = choose_part_price(subscription, part, on_sale_only=self_service)
    if found.price is not None and found.price.plan_version.contact_sales and self_service:
        raise PlanNotSubscribable(f"{found.name} is sold by our staff: please contact sales.")
    _require_new(change, found)
    item = _make(change, found, part)
    change.items.append(item)
    if item.billing_mode == BillingMode.METERED:
        item.save(force_insert=True)
    else:
        new = price_item(subscription, change.billables, item)
        plan = change.plan(None, new)
        item.started_at = _find_fee_start(plan, new)
        item.save(force_insert=True)
        if new.is_advance:
            change.settle(item, plan, None, new)
    change.emit("created", item)
    return item


@transaction.atomic
def update_subscription_item(
    *,
    item_id: uuid.UUID,
    at: datetime,
    actor: Actor,
    quantity: int | None = None,
    metadata: dict[str, Any] | None = None,
    proration_behavior: ItemProration = "create_prorations",
    expected_revision: int | None = None,
) -> SubscriptionItem:
    """
    Change the quantity of a part, at once, or what is noted with it, and return the part in force.

    The quantity of the plan's own fee is that of the subscription, `expected_revision` that of the terms the caller
    saw. A fee in arrears ends with its old quantity and goes on as another part, so that each is billed for its days.
    :raises NotFound: if there is none in force. :raises ValidationFailed: for a quantity of usage, or out of range.
    :raises InvalidState, SubscriptionChanged: as `change_subscription`.
    """
    item = _get(item_id)
    if quantity is not None:
        _require_quantity(item, quantity)
        if quantity != item.quantity:
            if belongs_to_plan(item, item.subscription):
                request = ChangeRequest(quantity=quantity, effective="immediate", proration_behavior=proration_behavior)
                item = _change_own(item, request, at=at, actor=actor, expected_revision=expected_revision)
            else:
                change = _open(item.subscription_id, at=at, actor=actor, behavior=proration_behavior)
                item = _change_added(change, change.find(item_id), quantity)
    if metadata is not None and metadata != item.metadata:
        before = describe_item(item, item.subscription)
        item.metadata = metadata
        item.save(update_fields=["metadata", "updated_at"])
        _emit_updated(item, before, at=at, actor=actor)
    return item


@transaction.atomic
def remove_subscription_item(
    *,
    item_id: uuid.UUID,
    at: datetime,
    actor: Actor,
    proration_behavior: ItemProration = "create_prorations",
) -> SubscriptionItem:
    """
    Take a part off and return it as it ended. What a fee in advance was billed for from the day of `at` on is credited.

    Usage up to `at` is still invoiced when the period closes. With `none` nothing is given back, and a fee in arrears
    is owed for the whole period.
    :raises NotFound: if there is none in force.
    :raises InvalidState: for what comes with the plan or a pricing rule; if the subscription is ended, paused, unpaid
    or incomplete.
    """
    found = _get(item_id)
    change = _open(found.subscription_id, at=at, actor=actor, behavior=proration_behavior)
    item = change.find(item_id)
    _require_removable(change, item)
    old = None
    if item.billing_mode == BillingMode.METERED:
        ended = end_item(change.subscription, item, at=at, is_billed=change.is_trial or item.price is None)
        plan = None
    else:
        old = find_billed_fee(change.subscription, change.billables, item)
        fee = old or price_item(change.subscription, change.billables, item)
        plan = change.plan(fee, None)
        ends_at = plan.effective_at if fee.is_advance or change.is_trial else _find_fee_start(plan, fee)
        ended = end_item(change.subscription, item, at=ends_at, is_billed=fee.is_advance or change.is_trial)
    store_changed_items([PlanItems(ended=[ended])], ())
    if plan is not None and old is not None:
        change.settle(ended, plan, old, None)
    change.emit("deleted", ended)
    return ended


def _open(subscription_id: uuid.UUID, *, at: datetime, actor: Actor, behavior: ItemProration) -> _Change:
    subscription = lock_changeable(subscription_id, at=at, actor=actor)
    sellers = ensure_sellers([subscription.account])
    billables = load_billables([subscription], sellers=sellers)
    billables.items.setdefault(subscription.id, [])
    return _Change(subscription, billables, sellers.of(subscription.account), at, actor, behavior)


def _get(item_id: uuid.UUID) -> SubscriptionItem:
    rows = SubscriptionItem.objects.filter(pk=item_id, ended_at__isnull=True)
    found = rows.select_related("subscription__plan_version__plan", "price__plan_version__plan", "meter").first()
    if found is None:
        raise NotFound("subscription_item")
    return found


def _require_new(change: _Change, found: PartPrice) -> None:
    """:raises ValidationFailed: if what the part bills is billed already, or will be by the plan that is to come."""
    subscription, price, meter = change.subscription, found.price, found.meter
    pointer = "/meter_id" if meter is not None else "/price_id"
    own = subscription.plan_version_id
    if price is not None and price.plan_version_id == own:
        raise ValidationFailed.of("/price_id", "exists", f"{found.name} is the plan of the subscription.")
    for item in change.items:
        same = item.meter_id == meter.pk if meter is not None else price is not None and item.price_id == price.id
        if item.ended_at is None and same:
            raise ValidationFailed.of(pointer, "exists", f"{found.name} is a part of the subscription already.")
    for coming in change.billables.pending_prices.get(subscription.pending_plan_version_id or own, ()):
        if coming.id == getattr(price, "id", None) or (meter is not None and coming.meter_id == meter.pk):
            raise ValidationFailed.of(pointer, "exists", f"{found.name} comes with the plan of the next period.")
    if price is not None and meter is not None and meter.pk in _list_ruled(change):
        raise ValidationFailed.of(pointer, "exists", f"{meter.display_name} is priced by a rule already.")


def _list_ruled(change: _Change) -> set[uuid.UUID]:
    """Return the meters that a rule or the overage of a quota prices for the subscription."""
    subscription = change.subscription
    found = change.billables.meter_prices.list_for(subscription, subscription.current_period, besides=())
    return {meter.pk for meter, _ in found}


def _make(change: _Change, found: PartPrice, part: NewPart) -> SubscriptionItem:
    quantity = 1 if part.quantity is None else part.quantity
    if not 1 <= quantity <= MAX_QUANTITY and (found.meter is None or quantity != 0):
        raise ValidationFailed.of("/quantity", "out_of_range", "The quantity is a whole number of one or more.")
    if found.price is not None:
        item = make_item(change.subscription, found.price, quantity=quantity, at=change.at)
    else:
        item = SubscriptionItem(
            id=new_uuid(),
            subscription=change.subscription,
            meter=found.meter,
            billing_mode=BillingMode.METERED,
            quantity=0,
            started_at=change.at,
        )
    item.metadata = part.metadata
    return item


def _require_quantity(item: SubscriptionItem, quantity: int) -> None:
    if item.billing_mode == BillingMode.METERED:
        raise ValidationFailed.of("/quantity", "metered", "A metered part has no quantity: its usage counts.")
    if not 1 <= quantity <= MAX_QUANTITY:
        raise ValidationFailed.of("/quantity", "out_of_range", "The quantity is a whole number of one or more.")


def _change_own(
    item: SubscriptionItem, request: ChangeRequest, *, at: datetime, actor: Actor, expected_revision: int | None
) -> SubscriptionItem:
    """Change the quantity of the subscription, and return its fee."""
    before = describe_item(item, item.subscription)
    change_subscription(
        subscription_id=item.subscription_id,
        request=request,
        at=at,
        actor=actor,
        expected_revision=expected_revision,
    )
    rows = SubscriptionItem.objects.filter(subscription_id=item.subscription_id, price=item.price)
    changed = _get(rows.get(ended_at__isnull=True).pk)
    _emit_updated(changed, before, at=at, actor=actor)
    return changed


def _change_added(change: _Change, item: SubscriptionItem, quantity: int) -> SubscriptionItem:
    """Change the quantity of a part that was added, and return the part in force."""
    subscription, before = change.subscription, describe_item(item, change.subscription)
    old = find_billed_fee(subscription, change.billables, item)
    present = old or price_item(subscription, change.billables, item)
    item.quantity, was = quantity, item.quantity
    new = price_item(subscription, change.billables, item)
    plan = change.plan(present, new)
    if new.is_advance or change.is_trial:
        item.save(update_fields=["quantity", "updated_at"])
        if new.is_advance:
            change.settle(item, plan, old, new)
    else:
        item.quantity = was
        item = _succeed(change, item, quantity, _find_fee_start(plan, new))
    _emit_updated(item, before, at=change.at, actor=change.actor)
    return item


def _succeed(change: _Change, item: SubscriptionItem, quantity: int, at: datetime) -> SubscriptionItem:
    """End a fee in arrears with its quantity and return the part that goes on with another."""
    if item.price is None:
        raise ValueError(f"{item} is no fee")
    ended = end_item(change.subscription, item, at=at, is_billed=False)
    after = make_item(change.subscription, item.price, quantity=quantity, at=ended.ended_at or at)
    after.metadata = item.metadata
    store_changed_items([PlanItems(ended=[ended])], [after])
    return after


def _find_fee_start(plan: ChangePlan, fee: PricedFee) -> datetime:
    """Return from when a fee counts: what is not prorated in arrears begins with the next period."""
    return plan.period.end if plan.runs_on and not fee.is_advance else plan.effective_at


def _require_removable(change: _Change, item: SubscriptionItem) -> None:
    status = change.subscription.status
    if item.price is None:
        if item.meter_id in _list_ruled(change):
            raise InvalidState("A pricing rule bills this meter for everyone; end the rule.", current_status=status)
    elif belongs_to_plan(item, change.subscription):
        raise InvalidState(
            "This part comes with the plan: change the plan or cancel the subscription.", current_status=status
        )


def _emit_updated(item: SubscriptionItem, before: dict[str, Any], *, at: datetime, actor: Actor) -> None:
    after = describe_item(item, item.subscription)
    events.emit(
        "subscription_item.updated",
        subject=item,
        account_id=item.subscription.account_id,
        at=at,
        actor=actor,
        data=after,
        previous=find_changes(before, after),
    )
