"""
Starting a subscription.

Nothing is billed here: the first invoice belongs to the use case that starts a subscription and bills its first
boundary, which lives where invoices do. Source: contract chapter Subscriptions; policies, rules 5 to 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, cast

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import (
    Account,
    Alignment,
    BillingMode,
    Subscription,
    SubscriptionItem,
    SubscriptionStatus,
)
from accounts.queries.payment_methods import find_own_method, has_chargeable_method
from accounts.queries.prices import choose_currency, choose_prices, is_free
from accounts.queries.snapshots import describe_subscription
from accounts.services.account_locks import lock_open_account
from accounts.terms import boundaries
from accounts.terms.alignment import CycleStart, start_cycle
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, DomainError, ValidationFailed
from billing_site.kernel.periods import Interval, local_date
from billing_site.platform.services import events
from catalog.models import BillingTiming, PlanVersion, Price
from catalog.queries.plans import get_sellable_plan
from catalog.queries.prices import get_price_terms

MAX_TRIAL_DAYS = 730
MAX_ANCHOR_DAYS = 730
MAX_QUANTITY = 2_147_483_647


class PlanNotSubscribable(DomainError):
    code, title, status = "plan_not_subscribable", "This plan is sold by our staff only", 422


class PaymentMethodMissing(DomainError):
    code, title, status = "payment_method_missing", "A payment method must be on file first", 422


class SubscriptionExists(DomainError):
    code, title, status = "subscription_exists", "A subscription for this product is running", 409


@transaction.atomic
def create_subscription(
    *,
    account: Account,
    plan_key: str,
    at: datetime,
    actor: Actor,
    quantity: int = 1,
    interval: str = "month",
    currency: str | None = None,
    trial_period_days: int | None = None,
    default_trial_days: int | None = None,
    collection_method: str | None = None,
    default_payment_method: str | None = None,
    billing_threshold: int | None = None,
    metadata: dict[str, Any] | None = None,
    start_at: datetime | None = None,
    alignment: str | None = None,
    billing_cycle_anchor: date | None = None,
    self_service: bool = False,
    reason: str = "",
    payment_gated: bool = False,
) -> Subscription:
    """
    Start a subscription to the plan on sale under `plan_key` and return it, with its items.

    `quantity` multiplies the fee. `currency` defaults to the account's; `trial_period_days` to the plan's, then to
    `default_trial_days` and `BILLING_TRIAL_PERIOD_DAYS` (neither for a plan that is free). `start_at` (default `at`)
    may lie in the past. `alignment` (default: anniversary) says where boundaries lie; `billing_cycle_anchor`, a local
    date, is one of them, after a stub. `self_service`: the customer asks, not our staff or services.
    `billing_threshold` is minor units. `default_payment_method` is the id of one of the account's; None is its default.
    `payment_gated`: `incomplete` until a first invoice in advance is paid, for `BILLING_INCOMPLETE_HOURS` at most.
    :raises PlanNotFound: when no plan on sale has this key; :raises PlanNotSubscribable: for one sold by staff only,
    with `self_service`; :raises PaymentMethodMissing: for one that costs, with `BILLING_REQUIRE_PAYMENT_METHOD` and
    none on file; :raises NotFound: when the account has no such payment method.
    :raises SubscriptionExists: when one for the same product is running; :raises InvalidState: for a closed account.
    :raises ValidationFailed: without a price, for a number out of range, a start to come, or alignment with an anchor.
    """
    lock_open_account(account.pk)
    version = _choose_version(account, plan_key, self_service=self_service)
    _check_numbers(quantity, trial_period_days, billing_threshold)
    _check_alignment(alignment, billing_cycle_anchor)
    prices = list(version.prices.all())
    currency = choose_currency(prices, plan_name=version.name, asked=currency, default=account.currency)
    chosen = choose_prices(prices, plan_name=version.name, currency=currency, interval=interval)
    subscription = _build(
        account=account,
        version=version,
        prices=chosen,
        quantity=quantity,
        interval=interval,
        currency=currency,
        start=_choose_start(start_at, at),
        trial_days=_trial_days(trial_period_days, version, prices, default_trial_days),
        alignment=alignment or Alignment.ANNIVERSARY.value,
        billing_cycle_anchor=billing_cycle_anchor,
    )
    subscription.collection_method = collection_method or account.collection_method
    subscription.billing_threshold = billing_threshold
    if default_payment_method:
        subscription.default_payment_method = find_own_method(account.pk, default_payment_method)
    subscription.metadata = metadata or {}
    if payment_gated:
        _wait_for_payment(subscription, at)
    _insert(subscription, chosen)
    _tell_created(subscription, at=at, actor=actor, reason=reason)
    return subscription


def _tell_created(subscription: Subscription, *, at: datetime, actor: Actor, reason: str) -> None:
    events.emit(
        "subscription.created",
        subject=subscription,
        account_id=subscription.account_id,
        at=at,
        actor=actor,
        data=describe_subscription(subscription),
        reason=reason,
    )


def _wait_for_payment(subscription: Subscription, at: datetime) -> None:
    if subscription.bills_at_start:
        subscription.status = SubscriptionStatus.INCOMPLETE
        subscription.incomplete_until = at + timedelta(hours=settings.BILLING_INCOMPLETE_HOURS)


def _choose_version(account: Account, plan_key: str, *, self_service: bool) -> PlanVersion:
    """Return the version on sale, if this caller may buy it and the account can pay for it."""
    version = get_sellable_plan(org_id=account.org_id, key=plan_key)
    if version.contact_sales and self_service:
        raise PlanNotSubscribable(f"{version.name} is sold by our staff: please contact sales.")
    needs_method = settings.BILLING_REQUIRE_PAYMENT_METHOD and not is_free(version.prices.all())
    if needs_method and not has_chargeable_method(account.pk):
        raise PaymentMethodMissing(f"{version.name} costs money: attach a payment method first.")
    return version


def _check_numbers(quantity: int, trial_days: int | None, threshold: int | None) -> None:
    if not 1 <= quantity <= MAX_QUANTITY:
        raise ValidationFailed.of("/quantity", "out_of_range", "The quantity is a whole number of one or more.")
    if trial_days is not None and not 0 <= trial_days <= MAX_TRIAL_DAYS:
        raise ValidationFailed.of(
            "/trial_period_days", "out_of_range", f"A trial lasts between 0 and {MAX_TRIAL_DAYS} days."
        )
    if threshold is not None and threshold <= 0:
        raise AmountNotPositive("The billing threshold must be above zero.")


def _choose_start(asked: datetime | None, at: datetime) -> datetime:
    if asked is not None and asked > at:
        raise ValidationFailed.of(
            "/start_at", "in_future", "A subscription cannot start in the future: make a schedule with this start date."
        )
    return asked or at


def _check_alignment(alignment: str | None, anchor: date | None) -> None:
    if alignment is not None and alignment not in Alignment.values:
        raise ValidationFailed.of(
            "/alignment", "choice_unknown", f"{alignment[:50]!r} is not one of: {', '.join(Alignment.values)}."
        )
    if alignment == Alignment.CALENDAR and anchor is not None:
        raise ValidationFailed.of(
            "/billing_cycle_anchor", "conflict", "Boundaries lie on the calendar or are counted from a day, not both."
        )


def _trial_days(asked: int | None, version: PlanVersion, prices: Sequence[Price], default: int | None) -> int:
    """Return the days of trial: what was asked, else the plan's, else the site's (for plans that cost something)."""
    if asked is not None:
        return asked
    if version.trial_period_days is not None:
        return version.trial_period_days
    days: int = settings.BILLING_TRIAL_PERIOD_DAYS if default is None else default
    return 0 if is_free(prices) else days


def _build(
    *,
    account: Account,
    version: PlanVersion,
    prices: Sequence[Price],
    quantity: int,
    interval: str,
    currency: str,
    start: datetime,
    trial_days: int,
    alignment: str,
    billing_cycle_anchor: date | None,
) -> Subscription:
    every = Interval.parse(interval, prices[0].interval_count if prices else 1)
    begun = start_cycle(
        start=start,
        zone=account.zone,
        interval=every,
        alignment=cast(boundaries.Alignment, alignment),
        trial_days=trial_days,
        billing_cycle_anchor=billing_cycle_anchor,
    )
    _check_anchor(begun, billing_cycle_anchor)
    bills_in_advance = any(
        price.billing_timing == BillingTiming.ADVANCE and not get_price_terms(price).is_free
        for price in prices
        if not price.is_metered
    )
    current = begun.trial or begun.first
    # A trial is followed by boundary 0; so is a start that is paid in advance, at once.
    is_billed_at_end = begun.trial is not None or not bills_in_advance
    return Subscription(
        account=account,
        product=version.plan.product,
        plan_version=version,
        status=SubscriptionStatus.ACTIVE if begun.trial is None else SubscriptionStatus.TRIALING,
        quantity=quantity,
        currency=currency,
        interval=every.unit,
        interval_count=every.count,
        timezone=account.timezone,
        anchor_date=begun.cycle.anchor,
        alignment=Alignment.ANNIVERSARY if billing_cycle_anchor else alignment,
        billing_cycle_anchor=billing_cycle_anchor,
        current_period_start=current.start,
        current_period_end=current.end,
        next_boundary=0 if begun.trial is not None or bills_in_advance else 1,
        next_billing_at=current.end if is_billed_at_end else start,
        started_at=start,
        trial_start=None if begun.trial is None else start,
        trial_end=begun.trial_end,
        livemode=account.livemode,
    )


def _check_anchor(begun: CycleStart, anchor: date | None) -> None:
    """Refuse an anchor far ahead: everything before it is billed at once."""
    if anchor is None:
        return
    first_day = local_date(begun.first.start, begun.cycle.zone)
    if anchor - first_day > timedelta(days=MAX_ANCHOR_DAYS):
        raise ValidationFailed.of(
            "/billing_cycle_anchor",
            "out_of_range",
            f"The anchor lies at most {MAX_ANCHOR_DAYS} days after {first_day}.",
        )


def _insert(subscription: Subscription, prices: Sequence[Price]) -> None:
    try:
        with transaction.atomic():
            subscription.save(force_insert=True)
    except IntegrityError as error:
        if "subscriptions_one_running_per_product" not in str(error):
            raise
        raise SubscriptionExists(
            f"The account already has a running subscription for {subscription.product.name}."
        ) from error
    SubscriptionItem.objects.bulk_create(
        SubscriptionItem(
            subscription=subscription,
            price=price,
            meter=price.meter,
            billing_mode=BillingMode.METERED if price.is_metered else BillingMode.LICENSED,
            quantity=0 if price.is_metered else subscription.quantity,
            started_at=subscription.started_at,
        )
        for price in prices
    )
