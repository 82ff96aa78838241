"""
Starting a subscription.

Nothing is billed here: the first invoice belongs to the use case that starts a subscription and bills its first
boundary, which lives where invoices do. Source: contract chapter Subscriptions; policies, rules 5 to 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import (
    Account,
    BillingMode,
    Subscription,
    SubscriptionItem,
    SubscriptionStatus,
)
from accounts.queries.prices import choose_currency, choose_prices, is_free
from accounts.queries.snapshots import describe_subscription
from accounts.services.account_locks import lock_open_account
from accounts.terms.boundaries import start_terms
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, DomainError, ValidationFailed
from billing_site.kernel.periods import Interval
from billing_site.platform.services import events
from catalog.models import BillingTiming, PlanVersion, Price
from catalog.queries.plans import get_sellable_plan
from catalog.queries.prices import get_price_terms

MAX_TRIAL_DAYS = 730
MAX_QUANTITY = 2_147_483_647


class PlanNotSubscribable(DomainError):
    code, title, status = "plan_not_subscribable", "This plan is sold by our staff only", 422


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
    collection_method: str | None = None,
    billing_threshold: int | None = None,
    metadata: dict[str, Any] | None = None,
    start_at: datetime | None = None,
    self_service: bool = False,
) -> Subscription:
    """
    Start a subscription to the plan on sale under `plan_key` and return it, with its items.

    `quantity` multiplies the fee. `currency` defaults to the account's; `trial_period_days` to the plan's, then to
    `BILLING_TRIAL_PERIOD_DAYS`. `start_at` (default `at`) may lie in the past. `self_service`: the customer asks, not
    our staff or services. `billing_threshold` is minor units.
    :raises PlanNotFound: when no plan on sale has this key.
    :raises PlanNotSubscribable: for a plan sold by staff only, with `self_service`.
    :raises SubscriptionExists: when one for the same product is running; :raises InvalidState: for a closed account.
    :raises ValidationFailed: when the plan has no price for the interval or currency, or a number is out of range.
    """
    lock_open_account(account.pk)
    version = get_sellable_plan(org_id=account.org_id, key=plan_key)
    if version.contact_sales and self_service:
        raise PlanNotSubscribable(f"{version.name} is sold by our staff: please contact sales.")
    _check_numbers(quantity, trial_period_days, billing_threshold)
    start = start_at or at
    if start > at:
        raise ValidationFailed.of("/start_at", "in_future", "A subscription cannot start in the future.")
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
        start=start,
        trial_days=_trial_days(trial_period_days, version, prices),
    )
    subscription.collection_method = collection_method or account.collection_method
    subscription.billing_threshold = billing_threshold
    subscription.metadata = metadata or {}
    _insert(subscription, chosen)
    events.emit(
        "subscription.created",
        subject=subscription,
        account_id=account.pk,
        at=at,
        actor=actor,
        data=describe_subscription(subscription),
    )
    return subscription


def _check_numbers(quantity: int, trial_days: int | None, threshold: int | None) -> None:
    if not 1 <= quantity <= MAX_QUANTITY:
        raise ValidationFailed.of("/quantity", "out_of_range", "The quantity is a whole number of one or more.")
    if trial_days is not None and not 0 <= trial_days <= MAX_TRIAL_DAYS:
        raise ValidationFailed.of(
            "/trial_period_days", "out_of_range", f"A trial lasts between 0 and {MAX_TRIAL_DAYS} days."
        )
    if threshold is not None and threshold <= 0:
        raise AmountNotPositive("The billing threshold must be above zero.")


def _trial_days(asked: int | None, version: PlanVersion, prices: Sequence[Price]) -> int:
    """Return the days of trial: what was asked, else the plan's, else the site's (for plans that cost something)."""
    if asked is not None:
        return asked
    if version.trial_period_days is not None:
        return version.trial_period_days
    days: int = settings.BILLING_TRIAL_PERIOD_DAYS
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
) -> Subscription:
    every = Interval.parse(interval, prices[0].interval_count if prices else 1)
    terms = start_terms(
        start=start,
        zone=account.zone,
        interval=every,
        trial_days=trial_days,
        bills_in_advance=any(
            price.billing_timing == BillingTiming.ADVANCE and not get_price_terms(price).is_free
            for price in prices
            if not price.is_metered
        ),
    )
    return Subscription(
        account=account,
        product=version.plan.product,
        plan_version=version,
        status=SubscriptionStatus.ACTIVE if terms.trial_end is None else SubscriptionStatus.TRIALING,
        quantity=quantity,
        currency=currency,
        interval=every.unit,
        interval_count=every.count,
        timezone=account.timezone,
        anchor_date=terms.anchor_date,
        current_period_start=terms.current_period.start,
        current_period_end=terms.current_period.end,
        next_boundary=terms.next_boundary,
        next_billing_at=terms.next_billing_at,
        started_at=start,
        trial_start=None if terms.trial_end is None else start,
        trial_end=terms.trial_end,
        livemode=account.livemode,
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
