"""
Changing what a subscription is for: plan, quantity, interval; at once or with the next period.

A preview is the change itself, rolled back: it cannot show anything else than what is then billed.
Source: contract chapter Plan changes; policies, rules 5, 7 and 9 to 12; ADR 0027.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from django.db import IntegrityError, transaction

from accounts.models import Subscription, SubscriptionItem, SubscriptionStatus
from accounts.queries.changed_items import ItemChange, change_items
from accounts.queries.plan_items import belongs_to_plan, choose_plan_prices, require_parts_apart
from accounts.queries.snapshots import describe_subscription, find_changes
from accounts.services.subscriptions import MAX_QUANTITY, PlanNotSubscribable, SubscriptionExists
from accounts.terms.boundaries import Alignment
from accounts.terms.changes import ChangePlan, Effective, ProrationBehavior, plan_change
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, ValidationFailed
from billing_site.kernel.periods import Interval
from billing_site.platform.services import events
from billing_site.platform.services.previews import preview
from catalog.models import PlanVersion, Price
from catalog.queries.plans import get_sellable_plan
from catalog.queries.prices import list_prices_of_versions
from invoicing.models import Seller
from invoicing.queries.billables import Billables, load_billables
from invoicing.queries.fees import PricedFee, find_billed_fee, find_fee_item, price_fee
from invoicing.queries.policies import get_interval_change
from invoicing.services.billing import bill_subscriptions, lock_subscription, lock_subscriptions
from invoicing.services.items import store_changed_items
from invoicing.services.sellers import ensure_sellers
from invoicing.services.settling import ProratedSide, Settled, make_side_charge, settle_charges
from invoicing.services.unused_time import IssuedNote, give_back

CHANGEABLE_STATUSES: Final = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE)
_TERMS: Final = (
    "product",
    "plan_version",
    "pending_plan_version",
    "pending_quantity",
    "pending_interval",
    "pending_interval_count",
    "pending_anchor_date",
    "quantity",
    "interval",
    "interval_count",
    "anchor_date",
    "current_period_start",
    "current_period_end",
    "next_billing_at",
    "revision",
    "updated_at",
)


class SubscriptionChanged(DomainError):
    code, title, status = "conflict", "The subscription was changed meanwhile", 409


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """
    What is to change; what is left out stays. `interval` is a unit such as `month`.

    `effective` and `proration_behavior` left out follow the direction: dearer at once, cheaper at period end.
    """

    plan_key: str | None = None
    quantity: int | None = None
    interval: str | None = None
    effective: Effective | None = None
    proration_behavior: ProrationBehavior | None = None


@dataclass(frozen=True, slots=True)
class ChangeOutcome:
    """
    What a change did, or would do: the subscription afterwards, the decision, and what it charges.

    Without `plan` nothing was to change; a pending change was dropped then. `notes` are the credit notes that give
    paid unused time back, where that is not set off against a dearer plan.
    """

    subscription: Subscription
    plan: ChangePlan | None = None
    settled: Settled | None = None
    notes: tuple[IssuedNote, ...] = ()


@dataclass(frozen=True, slots=True)
class _Target:
    """The terms to change to, resolved. `prices` are the fee and the usage prices."""

    version: PlanVersion
    prices: Sequence[Price]
    quantity: int
    interval: Interval

    @property
    def fee_price(self) -> Price | None:
        return next((price for price in self.prices if not price.is_metered), None)


@transaction.atomic
def change_subscription(
    *,
    subscription_id: uuid.UUID,
    request: ChangeRequest,
    at: datetime,
    actor: Actor,
    reason: str = "",
    expected_revision: int | None = None,
    self_service: bool = False,
) -> ChangeOutcome:
    """
    Change plan, quantity or interval of a subscription and return what that came to.

    What is due by `at` is billed first. At once, the rest of the running period is credited and charged (on an invoice
    now, or left for the next); at period end the change waits, visibly, and any later change takes its place. Asking
    for the terms in force takes a waiting change back. `expected_revision` is that of the terms the caller saw.
    :raises SubscriptionChanged: if the terms are not those of `expected_revision` any more.
    :raises InvalidState: if it is ended, paused, unpaid or incomplete; or ends with this period.
    :raises PlanNotFound: when no plan on sale has the key; :raises PlanNotSubscribable: for one sold by staff only,
    with `self_service`; :raises SubscriptionExists: if another one for the plan's product is running.
    :raises ValidationFailed: when the plan is not sold in the currency or interval, or the quantity is out of range.
    """
    subscription = lock_changeable(subscription_id, at=at, actor=actor, expected_revision=expected_revision)
    before = describe_subscription(subscription)
    sellers = ensure_sellers([subscription.account])
    seller = sellers.of(subscription.account)
    billables = load_billables([subscription], sellers=sellers)
    target = _resolve(subscription, request, billables, self_service=self_service)
    subscription.drop_pending_change()
    if _is_current(subscription, target):
        _finish(subscription, before, at=at, actor=actor, reason=reason)
        return ChangeOutcome(subscription)
    item = find_fee_item(subscription, billables.items.get(subscription.id, []))
    fees = _price_both(subscription, billables, item, target)
    plan = _plan(subscription, request, fees, seller, at)
    settled: Settled | None = None
    notes: tuple[IssuedNote, ...] = ()
    if plan.when == "period_end":
        _let_wait(subscription, target, plan)
    else:
        sides = _apply(subscription, target, plan, fees, billables)
        given = give_back(subscription, [each for each in sides if each.is_note], at=at, actor=actor, reason=reason)
        charges = [*given.charges, *(make_side_charge(each) for each in sides if not each.is_note)]
        behavior, notes = plan.timing.proration_behavior, given.notes
        settled = settle_charges(
            subscription, charges, behavior=behavior, seller=seller, at=at, actor=actor, reason=reason
        )
    _finish(subscription, before, at=at, actor=actor, reason=reason)
    return ChangeOutcome(subscription, plan, settled, notes)


def preview_change(**arguments: Any) -> ChangeOutcome:
    """Return what `change_subscription` would do, by doing it and taking it back. Nothing stays."""
    return preview(change_subscription, **arguments)


def lock_changeable(
    subscription_id: uuid.UUID, *, at: datetime, actor: Actor, expected_revision: int | None = None
) -> Subscription:
    """
    Lock a subscription, bill what is due by `at`, and return it if its terms may change.

    :raises NotFound: if there is none. :raises SubscriptionChanged: if the revision is another one.
    :raises InvalidState: if it is ended, paused, unpaid or incomplete; or given away, or billed by a provider.
    """
    found = lock_subscription(subscription_id)
    if expected_revision is not None and found.revision != expected_revision:
        raise SubscriptionChanged("Someone else changed the subscription; look at it again.")
    if found.status in CHANGEABLE_STATUSES:
        bill_subscriptions(subscription_ids=[subscription_id], as_of=at, actor=actor)
        (found,) = lock_subscriptions([subscription_id])
    if not found.is_billed_here:
        raise InvalidState(
            "The subscription is not billed here; end it and start another.", current_status=found.status
        )
    if found.status not in CHANGEABLE_STATUSES:
        raise InvalidState(f"The subscription is {found.status}.", current_status=found.status)
    return found


def _resolve(
    subscription: Subscription, request: ChangeRequest, billables: Billables, *, self_service: bool
) -> _Target:
    version = subscription.plan_version
    if request.plan_key is not None and request.plan_key != version.plan.key:
        version = get_sellable_plan(org_id=subscription.account.org_id, key=request.plan_key)
        if version.contact_sales and self_service:
            raise PlanNotSubscribable(f"{version.name} is sold by our staff: please contact sales.")
    quantity = subscription.quantity if request.quantity is None else request.quantity
    if not 1 <= quantity <= MAX_QUANTITY:
        raise ValidationFailed.of("/quantity", "out_of_range", "The quantity is a whole number of one or more.")
    prices = list_prices_of_versions([version.id]).get(version.id, [])
    interval = subscription.billing_interval
    if request.interval is not None and request.interval != interval.unit:
        interval = _choose_interval(request.interval, prices, subscription)
    chosen = choose_plan_prices(subscription, prices, interval=interval)
    require_parts_apart(subscription, billables.items.get(subscription.id, ()), chosen)
    if interval != subscription.billing_interval:
        _require_parts_move(subscription, billables)
    return _Target(version, chosen, quantity, interval)


def _choose_interval(unit: str, prices: Sequence[Price], subscription: Subscription) -> Interval:
    """Return the shortest interval of that unit that is sold; one when none is, for the error that follows."""
    counts = [p.interval_count for p in prices if p.currency == subscription.currency and p.interval == unit]
    try:
        return Interval.parse(unit, min(counts, default=1))
    except ValueError as error:
        raise ValidationFailed.of("/interval", "choice_unknown", f"{unit!r} is no billing interval.") from error


def _require_parts_move(subscription: Subscription, billables: Billables) -> None:
    """:raises ValidationFailed: if a part that was added is sold by the old interval only."""
    for item in billables.items.get(subscription.id, ()):
        if item.ended_at is None and not belongs_to_plan(item, subscription):
            name = item.price.plan_version.name if item.price is not None else "a part"
            raise ValidationFailed.of(
                "/interval", "parts_not_priced", f"{name} was added by the {subscription.interval}: take it off first."
            )


def _is_current(subscription: Subscription, target: _Target) -> bool:
    same = (subscription.plan_version_id, subscription.quantity, subscription.billing_interval)
    return same == (target.version.id, target.quantity, target.interval)


def _price_both(
    subscription: Subscription, billables: Billables, item: SubscriptionItem | None, target: _Target
) -> tuple[PricedFee, PricedFee]:
    """Return the fee that was billed last, else the one in force, and the new one."""
    old = find_billed_fee(subscription, billables, item) if item is not None else None
    if old is None:
        old = price_fee(
            subscription,
            billables,
            version=subscription.plan_version,
            price=item.price if item is not None else None,
            quantity=item.quantity if item is not None else subscription.quantity,
            interval=subscription.billing_interval,
        )
    new = price_fee(
        subscription,
        billables,
        version=target.version,
        price=target.fee_price,
        quantity=target.quantity,
        interval=target.interval,
    )
    return old, new


def _plan(
    subscription: Subscription, request: ChangeRequest, fees: tuple[PricedFee, PricedFee], seller: Seller, at: datetime
) -> ChangePlan:
    old, new = fees

    def decide(effective: Effective | None) -> ChangePlan:
        return plan_change(
            at=at,
            cycle=subscription.cycle,
            period=subscription.current_period,
            old=old.period_fee,
            new=new.period_fee,
            effective=effective,
            proration_behavior=request.proration_behavior,
            interval_change=get_interval_change(seller),
            alignment=cast(Alignment, subscription.alignment),
            is_trial=subscription.status == SubscriptionStatus.TRIALING,
            is_paid=old.is_paid,
        )

    plan = decide(request.effective)
    is_other = old.period_fee.interval != new.period_fee.interval
    if is_other and plan.runs_on and subscription.status != SubscriptionStatus.TRIALING:
        # Another interval cannot begin before the running one is used up.
        plan = decide("period_end")
    if plan.when == "period_end" and subscription.cancel_at_period_end:
        raise InvalidState(
            "The subscription ends with this period; take that back first.", current_status=subscription.status
        )
    return plan


def _let_wait(subscription: Subscription, target: _Target, plan: ChangePlan) -> None:
    if target.quantity != subscription.quantity:
        subscription.pending_quantity = target.quantity
    if target.version.id != subscription.plan_version_id or target.interval != subscription.billing_interval:
        subscription.pending_plan_version = target.version
    if target.interval != subscription.billing_interval:
        subscription.pending_interval = target.interval.unit
        subscription.pending_interval_count = target.interval.count
        subscription.pending_anchor_date = plan.cycle.anchor


def _apply(
    subscription: Subscription,
    target: _Target,
    plan: ChangePlan,
    fees: tuple[PricedFee, PricedFee],
    billables: Billables,
) -> list[ProratedSide]:
    """Change items and subscription, and return what the change credits and charges."""
    old, new = fees
    items = billables.items.get(subscription.id, [])
    before = find_fee_item(subscription, items)
    is_other = target.interval != subscription.billing_interval
    planned = change_items(
        subscription,
        items,
        ItemChange(
            moment=plan.effective_at,
            fee_from=_find_fee_start(subscription, plan, old),
            prices=target.prices,
            quantity=target.quantity,
            new_interval=is_other,
            is_trial=subscription.status == SubscriptionStatus.TRIALING,
        ),
    )
    subscription.plan_version, subscription.product_id = target.version, target.version.plan.product_id
    subscription.quantity = target.quantity
    subscription.interval, subscription.interval_count = target.interval.unit, target.interval.count
    if is_other:
        subscription.anchor_date = plan.cycle.anchor
    if plan.period != subscription.current_period:
        subscription.current_period_start, subscription.current_period_end = plan.period.start, plan.period.end
        subscription.next_billing_at = plan.next_billing_at
    _save(subscription)
    store_changed_items([planned], planned.added)
    billables.items[subscription.id] = planned.current
    after = find_fee_item(subscription, planned.current)
    sides = {"credit": (before, old), "charge": (after, new)}
    found = []
    for part in plan.parts:
        item, fee = sides[part.kind]
        if item is not None and fee.is_advance and (part.kind == "charge" or fee.is_billed):
            found.append(ProratedSide(item, fee, part))
    return found


def _find_fee_start(subscription: Subscription, plan: ChangePlan, old: PricedFee) -> datetime:
    """Return from when the new fee is billed; what is not divided is taken over as a whole."""
    if plan.runs_on:
        return plan.period.end
    if old.period_fee.proration.unit == "none" and not old.is_advance:
        return subscription.current_period_start
    return plan.effective_at


def _save(subscription: Subscription) -> None:
    try:
        with transaction.atomic():
            subscription.save(update_fields=_TERMS)
    except IntegrityError as error:
        if "subscriptions_one_running_per_product" not in str(error):
            raise
        raise SubscriptionExists(
            f"The account already has a running subscription for {subscription.plan_version.plan.product.name}."
        ) from error


def _finish(subscription: Subscription, before: dict[str, object], *, at: datetime, actor: Actor, reason: str) -> None:
    """Store the terms and write the event, when anything changed at all."""
    after = describe_subscription(subscription)
    changed = find_changes(before, after)
    if not changed:
        return
    subscription.revision += 1
    _save(subscription)
    events.emit(
        "subscription.updated",
        subject=subscription,
        account_id=subscription.account_id,
        at=at,
        actor=actor,
        data=after,
        previous=changed,
        reason=reason,
    )
