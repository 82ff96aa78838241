"""
Plans given away for some months: never invoiced, extended but never shortened, over by themselves.

Source: contract chapter Subscriptions (Manual grants); ADR 0017.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from accounts.models import RUNNING_STATUSES, Account, ProviderType, Subscription, SubscriptionStatus
from accounts.queries.prices import is_free
from accounts.queries.snapshots import describe_subscription, find_changes
from accounts.services.account_locks import lock_open_account
from accounts.services.approval_limits import SecondPersonNeeded, needs_second_person
from accounts.services.subscriptions import SubscriptionExists
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.money import round_to_minor
from billing_site.kernel.periods import add_months, local_date, local_midnight
from billing_site.platform.models import Approval, ApprovalStatus
from billing_site.platform.services import events
from catalog.models import PlanVersion
from catalog.pricing.monthly import Fee, compute_monthly_price
from catalog.queries.plans import get_sellable_plan
from catalog.queries.prices import compute_unit_fee, list_prices_of_versions
from invoicing.services.billing import lock_subscriptions
from invoicing.services.cancellations import cancel_subscription

GRANT_KIND: Final = "subscription.grant"
DEFAULT_MONTHS: Final = 12
MAX_MONTHS: Final = 120


@dataclass(frozen=True, slots=True)
class GrantedPlan:
    """The subscription, and whether one that ran already was extended or left as it was (`created` is False)."""

    subscription: Subscription
    created: bool
    extended: bool


@transaction.atomic
def grant_subscription(
    *,
    account: Account,
    plan_key: str,
    at: datetime,
    actor: Actor,
    reason: str,
    months: int = DEFAULT_MONTHS,
    granted_by: str = "",
    approval: Approval | None = None,
) -> GrantedPlan:
    """
    Give an account a plan for `months` from today, local midnight to local midnight, and return the subscription.

    A grant of the same plan that runs is extended to that end, never shortened. A free subscription of the product is
    ended for it, and what was used of it is billed. The reason and who granted it (default: the actor) stay with the
    event.
    :raises PlanNotFound: when no plan on sale has this key. :raises InvalidState: when the account is closed.
    :raises SubscriptionExists: when a paid subscription, or a grant of another plan, runs for the product.
    :raises SecondPersonNeeded: when staff gives more than the limit away without an `approval`.
    :raises ValidationFailed: when the months are out of range.
    """
    version = check_terms(account=account, plan_key=plan_key, months=months)
    require_approved(account=account, version=version, months=months, actor=actor, approval=approval)
    account = lock_open_account(account.pk)
    today = local_date(at, account.zone)
    end = local_midnight(add_months(today, months), account.zone)
    told = {"granted_by": granted_by.strip() or str(actor), "months": months}
    running = _find_running(account, version)
    if running is not None and _is_grant_of(running, version):
        return _extend(running, end, at=at, actor=actor, reason=reason, told=told)
    if running is not None:
        _make_room(running, at=at, actor=actor, reason=reason)
    subscription = Subscription(
        account=account,
        product=version.plan.product,
        plan_version=version,
        status=SubscriptionStatus.ACTIVE,
        currency=account.currency,
        interval="month",
        interval_count=months,
        timezone=account.timezone,
        anchor_date=today,
        current_period_start=local_midnight(today, account.zone),
        current_period_end=end,
        next_boundary=1,
        next_billing_at=end,
        cancel_at_period_end=True,
        started_at=at,
        collection_method=account.collection_method,
        provider_type=ProviderType.MANUAL_GRANT,
        livemode=account.livemode,
    )
    subscription.save(force_insert=True)
    _emit("created", subscription, at=at, actor=actor, reason=reason, told=told)
    return GrantedPlan(subscription, created=True, extended=False)


def check_terms(*, account: Account, plan_key: str, months: int) -> PlanVersion:
    """Return the plan to give. :raises PlanNotFound: unless it is sold. :raises ValidationFailed: for other months."""
    if not 1 <= months <= MAX_MONTHS:
        raise ValidationFailed.of("/months", "out_of_range", f"A plan is given for 1 to {MAX_MONTHS} months.")
    return get_sellable_plan(org_id=account.org_id, key=plan_key)


def compute_worth(*, account: Account, version: PlanVersion, months: int) -> int | None:
    """
    Return what the plan would cost for `months`, one unit, minor units of the account's currency.

    None where nobody can tell: usage comes with it, or it is not sold by the month or year in that currency.
    """
    prices = list(version.prices.all())
    if is_free(prices):
        return 0
    if any(price.is_metered for price in prices):
        return None
    fees = [
        Fee(compute_unit_fee(price), price.interval, price.interval_count)
        for price in prices
        if price.currency == account.currency
    ]
    monthly = compute_monthly_price(fees).price
    return None if monthly is None else round_to_minor(Decimal(monthly) * months)


def needs_approval(*, worth: int | None, actor: Actor) -> bool:
    """Tell whether `actor` may not give this away alone. What nobody can tell the worth of needs two people."""
    return actor.type == "staff" if worth is None else needs_second_person(amount=worth, actor=actor)


def require_approved(
    *, account: Account, version: PlanVersion, months: int, actor: Actor, approval: Approval | None
) -> None:
    """:raises SecondPersonNeeded: unless `actor` may do it alone, or `approval` was granted for exactly this."""
    worth = compute_worth(account=account, version=version, months=months)
    if not needs_approval(worth=worth, actor=actor):
        return
    if (
        approval is None
        or approval.status != ApprovalStatus.APPROVED
        or (approval.kind, approval.subject_id) != (GRANT_KIND, account.public_id)
        or (approval.payload["plan_id"], approval.payload["months"]) != (version.plan.key, months)
        or approval.amount != worth
    ):
        raise SecondPersonNeeded("Another person must approve that the plan is given away for so long.")


def _find_running(account: Account, version: PlanVersion) -> Subscription | None:
    running = Subscription.objects.filter(
        account=account, product=version.plan.product, status__in=RUNNING_STATUSES
    ).values_list("pk", flat=True)
    found = lock_subscriptions(running)
    return found[0] if found else None


def _is_grant_of(subscription: Subscription, version: PlanVersion) -> bool:
    is_grant = subscription.provider_type == ProviderType.MANUAL_GRANT
    return is_grant and subscription.plan_version.plan_id == version.plan_id


def _make_room(subscription: Subscription, *, at: datetime, actor: Actor, reason: str) -> None:
    """End a free subscription. :raises SubscriptionExists: for one that is paid, or was given away."""
    prices = list_prices_of_versions([subscription.plan_version_id]).get(subscription.plan_version_id, [])
    if not subscription.is_billed_here or not is_free(prices):
        raise SubscriptionExists(
            f"{subscription.plan_version.name} runs for this product ({subscription.public_id}); end it first."
        )
    cancel_subscription(subscription_id=subscription.pk, at=at, actor=actor, at_period_end=False, comment=reason)


def _extend(
    subscription: Subscription, end: datetime, *, at: datetime, actor: Actor, reason: str, told: dict[str, Any]
) -> GrantedPlan:
    """Move the end out; one that lies later already stays."""
    if end <= subscription.current_period_end:
        return GrantedPlan(subscription, created=False, extended=False)
    before = describe_subscription(subscription)
    subscription.current_period_end = subscription.next_billing_at = end
    subscription.canceled_at, subscription.cancellation_reason = None, ""
    subscription.save(
        update_fields=["current_period_end", "next_billing_at", "canceled_at", "cancellation_reason", "updated_at"]
    )
    _emit("updated", subscription, before, at=at, actor=actor, reason=reason, told=told)
    return GrantedPlan(subscription, created=False, extended=True)


def _emit(
    what: str,
    subscription: Subscription,
    before: dict[str, Any] | None = None,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    told: dict[str, Any],
) -> None:
    after = describe_subscription(subscription)
    events.emit(
        f"subscription.{what}",
        subject=subscription,
        account_id=subscription.account_id,
        at=at,
        actor=actor,
        data=after | {"provider_type": subscription.provider_type, **told},
        previous={} if before is None else find_changes(before, after),
        reason=reason,
    )
