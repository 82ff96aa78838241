"""
Pausing and resuming subscriptions: billing and access stop for a while, the boundaries stay where they are.

Source: contract chapter Subscriptions (Pause, Resume); policies, rules 8 and 13; ADR 0020.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final, cast

from django.db import transaction
from django.db.models import F, Q

from accounts.models import Subscription, SubscriptionStatus
from accounts.queries.snapshots import describe_subscription, find_changes
from accounts.terms.alignment import open_period
from accounts.terms.boundaries import Alignment
from accounts.terms.cancellations import UnusedTime, settle_credit
from accounts.terms.changes import ProrationBehavior
from accounts.terms.fees import PeriodFee, prorate_fee
from accounts.terms.pauses import ResumePlan, plan_resume, plan_trial_resume
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError, InvalidState, ValidationFailed
from billing_site.kernel.periods import Period, local_date
from billing_site.platform.services import events
from invoicing.models import Invoice
from invoicing.queries.billables import Billables, DueBoundary, load_billables
from invoicing.queries.facts import gather_usage, take_over
from invoicing.queries.fees import PricedFee, find_billed_fee, list_fee_items, price_item
from invoicing.queries.policies import get_pause_credit, get_proration_terms
from invoicing.services.billing import bill_subscriptions, lock_subscription, lock_subscriptions
from invoicing.services.items import store_changed_items
from invoicing.services.sellers import ensure_sellers
from invoicing.services.settling import ProratedCharge, ProratedSide, make_charge, make_side_charge, settle_charges
from invoicing.services.unused_time import IssuedNote, give_back

logger = logging.getLogger(__name__)
PAUSABLE_STATUSES: Final = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE)
_COLUMNS: Final = (
    "status",
    "paused_at",
    "resume_at",
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
    "trial_end",
    "current_period_start",
    "current_period_end",
    "next_billing_at",
    "usage_from",
    "revision",
    "updated_at",
)


@transaction.atomic
def pause_subscription(
    *, subscription_id: uuid.UUID, at: datetime, actor: Actor, resume_at: datetime | None = None, reason: str = ""
) -> Subscription:
    """
    Stop billing and access, until `resume_at` or until it is resumed, and return the subscription.

    What is due by `at` is billed first; what is unused then is settled when it is resumed.
    :raises InvalidState: if it is neither trialing nor active, ends with this period, or its schedule is behind.
    :raises ValidationFailed: for a `resume_at` that is not after `at`.
    """
    if resume_at is not None and resume_at <= at:
        raise ValidationFailed.of("/resume_at", "in_past", "A pause ends after it begins.")
    lock_subscription(subscription_id)
    (billed,) = bill_subscriptions(subscription_ids=[subscription_id], as_of=at, actor=actor)
    (subscription,) = lock_subscriptions([subscription_id])
    if billed.is_waiting:
        raise InvalidState("A step of its schedule is due first.", current_status=subscription.status)
    if subscription.status not in PAUSABLE_STATUSES:
        raise InvalidState(f"The subscription is {subscription.status}.", current_status=subscription.status)
    if subscription.cancel_at_period_end:
        raise InvalidState(
            "The subscription ends with this period; take that back first.", current_status=subscription.status
        )
    before = describe_subscription(subscription)
    subscription.status = SubscriptionStatus.PAUSED
    subscription.paused_at, subscription.resume_at = at, resume_at
    _store("paused", subscription, before, at=at, actor=actor, reason=reason)
    return subscription


@transaction.atomic
def resume_subscription(
    *, subscription_id: uuid.UUID, at: datetime, actor: Actor, reason: str = ""
) -> tuple[Subscription, Invoice | None]:
    """
    End a pause and return the subscription, with the invoice of what that credits and charges.

    The days from the pause on are given back and the rest of the period that runs now is charged; a trial ends as many
    days later. Usage before the pause is billed when its period closes, or here when that has passed. A change that
    waited for a period that has passed takes over here.
    :raises InvalidState: if it is not paused.
    """
    subscription = lock_subscription(subscription_id)
    if subscription.status != SubscriptionStatus.PAUSED or subscription.paused_at is None:
        raise InvalidState(f"The subscription is {subscription.status}.", current_status=subscription.status)
    before = describe_subscription(subscription)
    at = max(at, subscription.paused_at)
    if subscription.trial_end is not None and subscription.trial_end == subscription.current_period_end:
        invoice = None
        _resume_trial(subscription, subscription.paused_at, at)
    else:
        invoice = _resume_paid(subscription, subscription.paused_at, at=at, actor=actor, reason=reason)
    subscription.paused_at, subscription.resume_at = None, None
    _store("resumed", subscription, before, at=at, actor=actor, reason=reason)
    return subscription, invoice


def resume_due(*, at: datetime, limit: int = 500) -> int:
    """
    Resume the subscriptions whose pause ends by `at` (by their account's clock), and return how many.

    Each is resumed as of the moment that was set for it, however late this runs, in a transaction of its own; one that
    fails is logged and tried again with the next sweep. One that somebody resumes meanwhile, or pauses anew, is left.
    """
    due = Subscription.objects.filter(status=SubscriptionStatus.PAUSED).filter(
        Q(account__test_clock__isnull=True, resume_at__lte=at)
        | Q(account__test_clock__isnull=False, resume_at__lte=F("account__test_clock__now_at"))
    )
    resumed = 0
    for subscription_id, moment in due.order_by("resume_at", "id").values_list("id", "resume_at")[:limit]:
        if moment is None:
            continue
        try:
            resumed += _end_pause(subscription_id, moment)
        except DomainError:
            logger.exception("a pause could not be ended")
    return resumed


@transaction.atomic
def _end_pause(subscription_id: uuid.UUID, moment: datetime) -> bool:
    """Resume a subscription whose pause still ends at `moment`; False when it does not any more."""
    subscription = lock_subscription(subscription_id)
    if subscription.status != SubscriptionStatus.PAUSED or subscription.resume_at != moment:
        return False
    resume_subscription(subscription_id=subscription_id, at=moment, actor=SYSTEM, reason="end of the pause")
    return True


def settle_paused_end(
    subscription: Subscription, *, at: datetime, actor: Actor, unused: UnusedTime, reason: str
) -> tuple[IssuedNote, ...]:
    """
    Bill what a paused subscription that ends at `at` still owes: usage so far, and days before the pause in arrears.

    Unless `unused` days are forfeited, those from the pause on that were billed in advance are given back, by the
    credit notes that are returned where they were paid. What waited for the next invoice is on it too. Nothing for a
    trial. Runs in the caller's transaction, which has locked the subscription.
    """
    if subscription.paused_at is None or subscription.trial_end == subscription.current_period_end:
        return ()
    billables = _load(subscription)
    end = subscription.current_period_end
    sides, _ = _settle_pause(subscription, subscription.paused_at, max(at, end), billables)
    owed = [each for each in sides if each.part.kind == "charge"]
    credits = [
        replace(each, part=settle_credit(each.part, unused=unused, is_paid=each.fee.is_paid))
        for each in sides
        if each.part.kind == "credit" and unused != "forfeit"
    ]
    found = give_back(subscription, credits, at=at, actor=actor, reason=reason, unused=unused)
    charges = [*found.charges, *map(make_side_charge, owed)]
    charges += _bill_usage(subscription, at, subscription.paused_at, billables)
    _issue(subscription, charges, billables, behavior="always_invoice", at=at, actor=actor, reason=reason)
    return found.notes


def _load(subscription: Subscription) -> Billables:
    return load_billables([subscription], sellers=ensure_sellers([subscription.account]))


def _resume_trial(subscription: Subscription, paused_at: datetime, at: datetime) -> None:
    begun = plan_trial_resume(
        paused_at=max(paused_at, subscription.current_period_start),
        at=at,
        trial=subscription.current_period,
        cycle=subscription.cycle,
        alignment=cast(Alignment, subscription.alignment),
        billing_cycle_anchor=subscription.billing_cycle_anchor,
    )
    end = begun.trial_end or subscription.current_period_end
    subscription.status = SubscriptionStatus.TRIALING
    subscription.trial_end = subscription.current_period_end = subscription.next_billing_at = end
    subscription.anchor_date = begun.cycle.anchor


def _resume_paid(
    subscription: Subscription, paused_at: datetime, *, at: datetime, actor: Actor, reason: str
) -> Invoice | None:
    billables = _load(subscription)
    plan = _plan(subscription, paused_at, at, None, billables)
    subscription.status = SubscriptionStatus.ACTIVE
    sides, waiting = _settle_pause(subscription, paused_at, at, billables)
    now, later = [make_side_charge(each) for each in sides], [make_side_charge(each) for each in waiting]
    if plan.period != subscription.current_period:
        now += _bill_usage(subscription, plan.paused.end, paused_at, billables)
        now += _open_rest(subscription, plan.paused.end, billables)
    _issue(subscription, later, billables, behavior="create_prorations", at=at, actor=actor, reason=reason)
    return _issue(subscription, now, billables, behavior="always_invoice", at=at, actor=actor, reason=reason)


def _settle_pause(
    subscription: Subscription, paused_at: datetime, at: datetime, billables: Billables
) -> tuple[list[ProratedSide], list[ProratedSide]]:
    """
    Return what the pause credits and charges of the period in which it began: now, and with its closing invoice.

    What a later period costs for its rest is not among it.
    """
    now: list[ProratedSide] = []
    later: list[ProratedSide] = []
    for item in list_fee_items(billables.items.get(subscription.id, ())):
        again = price_item(subscription, billables, item)
        billed = find_billed_fee(subscription, billables, item) if again.is_advance else again
        if billed is None:
            continue
        plan = _plan(subscription, paused_at, at, billed, billables)
        is_later = plan.period != subscription.current_period
        for part in plan.parts:
            if part.kind == "charge" and again.is_advance and is_later:
                continue
            side = ProratedSide(item, billed if part.kind == "credit" else again, part)
            (now if again.is_advance or is_later else later).append(side)
    return now, later


def _open_rest(subscription: Subscription, resumed: datetime, billables: Billables) -> list[ProratedCharge]:
    """Open the period that runs now, let what waited take over, and return the charges for the rest of it."""
    cycle = subscription.next_cycle
    opening = open_period(cycle=cycle, day=local_date(resumed, cycle.zone)).first
    opening = Period(resumed, opening.end)
    planned = billables.pass_boundary(DueBoundary(subscription, subscription.next_boundary, None, opening, cycle))
    take_over(subscription, cycle)
    subscription.current_period_start, subscription.current_period_end = opening.start, opening.end
    subscription.usage_from = None
    subscription.next_billing_at = opening.end
    if planned is not None:
        store_changed_items([planned], planned.added)
    charges = []
    for item in list_fee_items(billables.items.get(subscription.id, ())):
        fee = price_item(subscription, billables, item)
        if fee.is_advance:
            part = prorate_fee("charge", fee=fee.period_fee, part=opening, billed=opening, cycle=cycle)
            charges += [make_charge(item, fee, part)] if part is not None else []
    return charges


def _bill_usage(
    subscription: Subscription, until: datetime, counted_until: datetime, billables: Billables
) -> list[ProratedCharge]:
    """Return what was used from the start of the period `until` then; a minimum counts the days before the pause."""
    start = subscription.current_period_start
    if until <= start:
        return []
    found = gather_usage(subscription, Period(start, until), counted_until=counted_until, billables=billables)
    charges = [ProratedCharge(item, facts) for item, facts in found]
    planned = billables.settle_ended(subscription)
    store_changed_items([planned], [each.item for each in charges if each.item._state.adding])
    return charges


def _plan(
    subscription: Subscription, paused_at: datetime, at: datetime, fee: PricedFee | None, billables: Billables
) -> ResumePlan:
    period, seller = subscription.current_period, billables.sellers.of(subscription.account)
    terms = get_proration_terms(subscription.plan_version, seller)
    free = PeriodFee(Decimal(0), subscription.billing_interval, proration=terms)
    return plan_resume(
        paused_at=max(paused_at, period.start),
        at=at,
        cycle=subscription.cycle,
        period=period,
        fee=free if fee is None else fee.period_fee,
        credit=get_pause_credit(seller),
        bills_in_advance=fee is None or fee.is_advance,
    )


def _issue(
    subscription: Subscription,
    charges: Sequence[ProratedCharge],
    billables: Billables,
    *,
    behavior: ProrationBehavior,
    at: datetime,
    actor: Actor,
    reason: str,
) -> Invoice | None:
    seller = billables.sellers.of(subscription.account)
    settled = settle_charges(subscription, charges, behavior=behavior, seller=seller, at=at, actor=actor, reason=reason)
    return None if settled is None else settled.invoice


def _store(
    what: str, subscription: Subscription, before: dict[str, object], *, at: datetime, actor: Actor, reason: str
) -> None:
    subscription.revision += 1
    subscription.save(update_fields=_COLUMNS)
    after = describe_subscription(subscription)
    events.emit(
        f"subscription.{what}",
        subject=subscription,
        account_id=subscription.account_id,
        at=at,
        actor=actor,
        data=after | {"paused_at": subscription.paused_at, "resume_at": subscription.resume_at},
        previous=find_changes(before, after),
        reason=reason,
    )
