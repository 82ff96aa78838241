"""
What a payment provider tells of a subscription, applied once, in order, and only where our own rules allow it.

A subscription that begins here with a provider's word is billed by that provider: the cycle leaves it alone. One that
is billed here follows in status and features, never in plan. Source: contract chapters Entitlements, Subscriptions and
Webhooks in.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from accounts.models import RUNNING_STATUSES, Account, ProviderType, ProviderUpdate, Subscription, SubscriptionStatus
from accounts.queries.prices import is_free
from accounts.queries.snapshots import describe_subscription, find_changes
from accounts.services.account_locks import lock_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.kernel.locks import acquire_lock
from billing_site.kernel.periods import Interval, Period, billing_period_containing, local_date
from billing_site.platform.services import events
from catalog.models import PlanVersion
from catalog.queries.plans import PlanNotFound, get_sellable_plan
from catalog.queries.prices import list_prices_of_versions
from invoicing.queries.provider_customers import find_account_of_customer, find_provider_customer
from invoicing.services.billing import lock_subscriptions
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.pauses import pause_subscription, resume_subscription
from invoicing.services.provider_customers import link_provider_customer

logger = logging.getLogger(__name__)

MAX_AHEAD: Final = timedelta(minutes=5)
MISSING: Final = "missing"
_STATUSES: Final = {
    **{status.value: status.value for status in SubscriptionStatus},
    "incomplete_expired": SubscriptionStatus.CANCELED.value,
}
# What a subscription may begin as.
_FIRST: Final = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE, SubscriptionStatus.INCOMPLETE)
_EVENTS: Final = {"canceled": "canceled", "past_due": "past_due", "unpaid": "unpaid", "paused": "paused"}


@dataclass(frozen=True, slots=True)
class NeutralUpdate:
    """
    A change of a subscription in no provider's dialect. `features` None: the plan's count.

    `period_start` and `period_end` are the provider's period, half-open; without both it is computed from the anchor.
    """

    event_id: str
    provider: str
    status: str
    plan_id: str | None = None
    features: Sequence[str] | None = None
    provider_customer_id: str | None = None
    provider_subscription_id: str | None = None
    occurred_at: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None

    def find_period(self) -> Period | None:
        """Return the period that the provider bills, where it tells one."""
        if self.period_start is None or self.period_end is None or self.period_end <= self.period_start:
            return None
        return Period(self.period_start, self.period_end)

    def as_payload(self) -> dict[str, Any]:
        """Return what is kept of the update, as plain JSON."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
            if value is not None or not name.startswith("period_")
        }


@dataclass(frozen=True, slots=True)
class AppliedUpdate:
    """The status of the subscription now (`missing` without one), and whether this call changed it; else why not."""

    account: Account
    status: str
    applied: bool
    reason: str = ""


class _Refused(Exception):
    """Why an update changes nothing."""


@transaction.atomic
def apply_provider_update(*, account: Account, update: NeutralUpdate, at: datetime, actor: Actor) -> AppliedUpdate:
    """
    Apply an update and return what came of it; every event is kept, and a repeat changes nothing.

    An event older than the last one applied to the subscription, a status our table of transitions does not allow, and
    what would touch a paid subscription that is billed here or one given away, change nothing.
    :raises ValidationFailed: for an event more than 5 minutes ahead.
    """
    occurred_at = update.occurred_at or at
    if occurred_at > at + MAX_AHEAD:
        raise ValidationFailed.of("/occurred_at", "in_future", "The event lies more than 5 minutes ahead.")
    acquire_lock("provider-update", update.provider, update.event_id)
    known = ProviderUpdate.objects.select_related("subscription").filter(
        provider=update.provider, event_id=update.event_id
    )
    if (first := known.first()) is not None:
        return AppliedUpdate(account, _get_status(first.subscription), applied=False, reason="known event")
    account = lock_account(account.pk)
    subscription, reason = _find(account, update), ""
    try:
        with transaction.atomic():
            subscription = _apply(account, subscription, update, occurred_at=occurred_at, at=at, actor=actor)
    except _Refused as refusal:
        reason = str(refusal)
        subscription = None if subscription is None else Subscription.objects.filter(pk=subscription.pk).first()
    ProviderUpdate(
        account=account,
        subscription=subscription,
        provider=update.provider,
        event_id=update.event_id,
        status=update.status,
        payload={**update.as_payload(), "occurred_at": occurred_at.isoformat()},
        occurred_at=occurred_at,
        received_at=at,
        applied=not reason,
        reason=reason[:255],
    ).save(force_insert=True)
    return AppliedUpdate(account, _get_status(subscription), applied=not reason, reason=reason)


def _get_status(subscription: Subscription | None) -> str:
    return MISSING if subscription is None else subscription.status


def _find(account: Account, update: NeutralUpdate) -> Subscription | None:
    """Return the subscription an update is about: by the provider's id, else the running one of the plan's product."""
    if update.provider_subscription_id:
        linked = Subscription.objects.filter(
            account=account, provider=update.provider, provider_subscription_id=update.provider_subscription_id
        )
        if found := lock_subscriptions(linked.values_list("pk", flat=True)):
            return found[0]
    running = Subscription.objects.filter(account=account, status__in=RUNNING_STATUSES)
    if update.plan_id:
        running = running.filter(product__plans__key=update.plan_id)
    if update.provider_subscription_id:
        running = running.filter(provider_subscription_id="")
    newest = running.order_by("-id").values_list("pk", flat=True)[:1]
    found = lock_subscriptions(list(newest))
    return found[0] if found else None


def _apply(
    account: Account,
    subscription: Subscription | None,
    update: NeutralUpdate,
    *,
    occurred_at: datetime,
    at: datetime,
    actor: Actor,
) -> Subscription:
    """Apply an update and return the subscription. :raises _Refused: if it changes nothing."""
    status = _read_status(update.status)
    version = _get_version(account, update.plan_id)
    if subscription is not None:
        _check_order(subscription, update, occurred_at)
        if subscription.is_billed_here and _is_other_plan(subscription, version):
            _make_room(subscription, status, at=at, actor=actor, reason=f"{update.provider} {update.event_id}")
            subscription = None
    if subscription is None:
        _check_unlinked(update)
        applied = _create(account, version, status, update=update, occurred_at=occurred_at, at=at)
        before, what = None, "created"
    else:
        before = describe_subscription(subscription)
        what = _name_event(subscription, status)
        applied = _change(subscription, version, status, period=update.find_period(), at=at, actor=actor)
    _store(applied, update, occurred_at)
    _link_customer(account, update, at=at, actor=actor)
    after = describe_subscription(applied)
    events.emit(
        f"subscription.{what}",
        subject=applied,
        account_id=account.pk,
        at=at,
        actor=actor,
        data=after | {"provider": update.provider, "provider_event_id": update.event_id, "features": update.features},
        previous={} if before is None else find_changes(before, after),
    )
    return applied


def _name_event(subscription: Subscription, status: str) -> str:
    """Return what happens; pauses and ends of what is billed here are told by the use cases that do them."""
    told = subscription.is_billed_here and status in (SubscriptionStatus.CANCELED, SubscriptionStatus.PAUSED)
    return "updated" if told or subscription.status == status else _EVENTS.get(status, "updated")


def _read_status(word: str) -> str:
    status = _STATUSES.get(word.strip().lower())
    if status is None:
        logger.warning("unknown status of a provider's subscription: %.50r, taken as incomplete", word)
        return SubscriptionStatus.INCOMPLETE
    return status


def _get_version(account: Account, plan_key: str | None) -> PlanVersion | None:
    if not plan_key:
        return None
    try:
        return get_sellable_plan(org_id=account.org_id, key=plan_key)
    except PlanNotFound as error:
        raise _Refused(f"the catalog has no plan {plan_key[:100]!r}") from error


def _check_order(subscription: Subscription, update: NeutralUpdate, occurred_at: datetime) -> None:
    if subscription.provider_type == ProviderType.MANUAL_GRANT:
        raise _Refused("the plan was given away")
    if subscription.provider and subscription.provider != update.provider:
        raise _Refused(f"the subscription belongs to {subscription.provider}")
    stored = subscription.provider_updated_at
    if stored is not None and occurred_at < stored:
        raise _Refused(f"older than the event of {stored.isoformat()}")


def _check_unlinked(update: NeutralUpdate) -> None:
    taken = Subscription.objects.filter(
        provider=update.provider, provider_subscription_id=update.provider_subscription_id or ""
    )
    if update.provider_subscription_id and taken.exists():
        raise _Refused("the provider's subscription belongs to another account")


def _is_other_plan(subscription: Subscription, version: PlanVersion | None) -> bool:
    return version is not None and version.plan_id != subscription.plan_version.plan_id


def _make_room(subscription: Subscription, status: str, *, at: datetime, actor: Actor, reason: str) -> None:
    """End a free subscription for the one that a provider began. :raises _Refused: for one that is paid."""
    prices = list_prices_of_versions([subscription.plan_version_id]).get(subscription.plan_version_id, [])
    if status not in _FIRST or not is_free(prices):
        raise _Refused("the subscription is billed here; its plan is changed here")
    cancel_subscription(subscription_id=subscription.pk, at=at, actor=actor, at_period_end=False, comment=reason)


def _create(
    account: Account,
    version: PlanVersion | None,
    status: str,
    *,
    update: NeutralUpdate,
    occurred_at: datetime,
    at: datetime,
) -> Subscription:
    """Begin a subscription that the provider bills. :raises _Refused: without a plan, or for a later status."""
    if version is None:
        raise _Refused("no subscription, and no plan to begin one")
    if status not in _FIRST:
        raise _Refused(f"no subscription can begin as {status}")
    if Subscription.objects.filter(account=account, product=version.plan.product, status__in=RUNNING_STATUSES).exists():
        raise _Refused("another subscription for the product is running")
    every = Interval.parse("month", 1)
    anchor = local_date(occurred_at, account.zone)
    period = update.find_period() or billing_period_containing(anchor, every, at, account.zone)
    is_trial = status == SubscriptionStatus.TRIALING
    subscription = Subscription(
        account=account,
        product=version.plan.product,
        plan_version=version,
        status=status,
        currency=account.currency,
        interval=every.unit,
        interval_count=every.count,
        timezone=account.timezone,
        anchor_date=anchor,
        current_period_start=period.start,
        current_period_end=period.end,
        next_boundary=1,
        started_at=occurred_at,
        trial_start=occurred_at if is_trial else None,
        trial_end=period.end if is_trial else None,
        collection_method=account.collection_method,
        provider_type=ProviderType.STRIPE if update.provider == "stripe" else ProviderType.INTERNAL,
        billed_by_provider=True,
        livemode=account.livemode,
    )
    subscription.save(force_insert=True)
    return subscription


def _change(
    subscription: Subscription,
    version: PlanVersion | None,
    status: str,
    *,
    period: Period | None,
    at: datetime,
    actor: Actor,
) -> Subscription:
    """Move to the status (and plan). :raises _Refused: where the table of transitions does not allow it."""
    if subscription.status != status and not subscription.can_become(status):
        raise _Refused(f"{subscription.status} cannot become {status}")
    if subscription.is_billed_here:
        return _change_billed_here(subscription, status, at=at, actor=actor)
    if version is not None and _is_other_plan(subscription, version):
        if version.plan.product_id != subscription.product_id:
            raise _Refused("the plan is of another product")
        subscription.plan_version = version
    if subscription.status == SubscriptionStatus.CANCELED:
        return subscription
    if status != subscription.status:
        subscription.paused_at = at if status == SubscriptionStatus.PAUSED else None
    if status == SubscriptionStatus.CANCELED:
        subscription.canceled_at = subscription.ended_at = at
    else:
        period = period or billing_period_containing(
            subscription.anchor_date, subscription.billing_interval, at, subscription.zone
        )
        subscription.current_period_start, subscription.current_period_end = period.start, period.end
        if status == SubscriptionStatus.TRIALING and subscription.trial_end is None:
            subscription.trial_end = period.end
    subscription.status = status
    subscription.save()
    return subscription


def _change_billed_here(subscription: Subscription, status: str, *, at: datetime, actor: Actor) -> Subscription:
    """Follow in status, through the use case that also bills."""
    key = subscription.pk
    try:
        if subscription.status == status:
            return subscription
        if status == SubscriptionStatus.CANCELED:
            return cancel_subscription(subscription_id=key, at=at, actor=actor, at_period_end=False).subscription
        if status == SubscriptionStatus.PAUSED:
            return pause_subscription(subscription_id=key, at=at, actor=actor)
        if subscription.status == SubscriptionStatus.PAUSED:
            resume_subscription(subscription_id=key, at=at, actor=actor)
            return lock_subscriptions([key])[0]
    except InvalidState as error:
        raise _Refused(error.detail) from error
    if subscription.status == SubscriptionStatus.TRIALING:
        raise _Refused("the trial is billed here; it ends by itself")
    subscription.status, subscription.incomplete_until = status, None
    subscription.save(update_fields=["status", "incomplete_until", "updated_at"])
    return subscription


def _store(subscription: Subscription, update: NeutralUpdate, occurred_at: datetime) -> None:
    """Keep what the provider told: its ids, its features, and when."""
    subscription.provider = update.provider
    if update.provider_subscription_id:
        subscription.provider_subscription_id = update.provider_subscription_id
    subscription.provider_features = None if update.features is None else list(dict.fromkeys(update.features))
    subscription.provider_updated_at = occurred_at
    columns = ["provider", "provider_subscription_id", "provider_features", "provider_updated_at", "updated_at"]
    subscription.save(update_fields=columns)


def _link_customer(account: Account, update: NeutralUpdate, *, at: datetime, actor: Actor) -> None:
    """Keep which customer the provider calls the account. :raises _Refused: for a customer of another account."""
    ref = update.provider_customer_id
    if not ref:
        return
    owner = find_account_of_customer(provider_type=update.provider, ref=ref)
    if owner is not None and owner.pk != account.pk:
        raise _Refused("the provider's customer belongs to another account")
    if find_provider_customer(account_id=account.pk, provider_type=update.provider) is None and owner is None:
        link_provider_customer(account_id=account.pk, provider_type=update.provider, ref=ref, at=at, actor=actor)
        account.refresh_from_db(fields=["provider_customer_id"])
    if account.provider_customer_id != ref:
        account.provider_customer_id = ref
        account.save(update_fields=["provider_customer_id", "updated_at"])
