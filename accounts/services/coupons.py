"""
Using a coupon on a subscription.

The counter of the coupon and the row that says who used it are written under the coupon's lock, so `max_redemptions`
can never be passed. Source: contract chapter Coupons and discounts; ADR 0022.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import Account, CouponRedemption, CreditGrant, Subscription, SubscriptionDiscount
from accounts.queries.coupons import MESSAGES, find_obstacle
from accounts.queries.snapshots import describe_discount
from accounts.services.credit_grants import grant_credit
from accounts.services.discounts import attach_discount, lock_subscription, make_coupon_discount
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, NotFound
from billing_site.platform.services import events
from catalog.models import Coupon, DiscountType
from catalog.pricing.breakdown import to_text
from catalog.queries.coupons import find_coupon, get_coupon

CREDIT_TAG = "coupon"


class CouponNotApplicable(DomainError):
    """Member `reason` as in the answer of a check."""

    code, title, status = "coupon_not_applicable", "The coupon cannot be used here", 422

    def __init__(self, reason: str) -> None:
        super().__init__(MESSAGES[reason], reason=reason)


class AlreadyRedeemed(DomainError):
    code, title, status = "already_redeemed", "This account used the code before", 409


@transaction.atomic
def redeem_coupon(
    *, subscription_id: UUID, code: str, at: datetime, actor: Actor, reason: str = ""
) -> CouponRedemption:
    """
    Use a code on a subscription and return the redemption, with its coupon, discount or credit grant.

    A percentage or fixed amount becomes the subscription's discount in place of an earlier one, for the coupon's
    months or the next invoice; a credit becomes a credit grant of the account, tagged `coupon`.
    :raises CouponNotApplicable: with the first reason why not.
    :raises AlreadyRedeemed: when the account used it before.
    :raises NotFound: if there is no such subscription. :raises InvalidState: when it has ended.
    """
    subscription = lock_subscription(subscription_id)
    account = subscription.account
    found = find_coupon(org_id=account.org_id, code=code)
    if found is None:
        raise CouponNotApplicable("unknown_code")
    # Every use of the coupon, of whatever account, waits here: what is counted below is the truth.
    coupon = Coupon.objects.select_for_update(no_key=True).get(pk=found.pk)
    obstacle = find_obstacle(
        coupon, at=at, account=account, plan_key=subscription.plan_version.plan.key, currency=subscription.currency
    )
    if obstacle == "already_redeemed":
        raise AlreadyRedeemed(MESSAGES[obstacle])
    if obstacle:
        raise CouponNotApplicable(obstacle)
    coupon.redemption_count += 1
    coupon.save(update_fields=["redemption_count", "updated_at"])
    discount, grant, before = None, None, None
    if coupon.discount_type == DiscountType.CREDIT:
        grant = _grant(coupon, subscription, at=at, actor=actor, reason=reason)
    else:
        discount = make_coupon_discount(coupon)
        before = attach_discount(subscription, discount, at=at, actor=actor)
    redemption = CouponRedemption.objects.create(
        coupon=coupon,
        account=account,
        subscription=subscription,
        discount=discount,
        credit_grant=grant,
        redeemed_at=at,
        redeemed_by=str(actor),
    )
    events.emit(
        "coupon.redeemed",
        subject=redemption,
        account_id=account.pk,
        at=at,
        actor=actor,
        data=_describe(redemption, discount),
        previous={"discount": before} if discount is not None else None,
        reason=reason,
    )
    return redemption


def find_usable_coupon(
    *, account: Account, reference: str, at: datetime, plan_keys: Collection[str], currency: str
) -> Coupon:
    """
    Return the coupon behind a code or id, locked, that the account can use on a document with these plans.

    Every other use of the coupon waits until the transaction ends.
    :raises CouponNotApplicable: with the first reason why not.
    """
    try:
        found = get_coupon(org_id=account.org_id, reference=reference)
    except NotFound as error:
        raise CouponNotApplicable("unknown_code") from error
    coupon = Coupon.objects.select_for_update(no_key=True).get(pk=found.pk)
    fitting = next((key for key in plan_keys if key in coupon.applicable_plan_ids), "")
    obstacle = find_obstacle(coupon, at=at, account=account, plan_key=fitting, currency=currency)
    if obstacle:
        raise CouponNotApplicable(obstacle)
    return coupon


def use_coupon_on_document(
    *, coupon: Coupon, account: Account, document_id: str, at: datetime, actor: Actor, reason: str = ""
) -> CouponRedemption:
    """Count a use of a locked coupon on one document, whose discount it becomes, and return the redemption."""
    coupon.redemption_count += 1
    coupon.save(update_fields=["redemption_count", "updated_at"])
    redemption = CouponRedemption.objects.create(
        coupon=coupon, account=account, document_id=document_id, redeemed_at=at, redeemed_by=str(actor)
    )
    events.emit(
        "coupon.redeemed",
        subject=redemption,
        account_id=account.pk,
        at=at,
        actor=actor,
        data=_describe(redemption, None) | {"document_id": document_id},
        reason=reason,
    )
    return redemption


def _grant(coupon: Coupon, subscription: Subscription, *, at: datetime, actor: Actor, reason: str) -> CreditGrant:
    return grant_credit(
        account=subscription.account,
        amount=coupon.amount_off or 0,
        currency=coupon.currency,
        at=at,
        actor=actor,
        name=coupon.code,
        tags=CREDIT_TAG,
        once_key=f"coupon:{coupon.public_id}",
        reason=reason,
    )


def _describe(redemption: CouponRedemption, discount: SubscriptionDiscount | None) -> dict[str, object]:
    coupon, grant = redemption.coupon, redemption.credit_grant
    return {
        "id": redemption.public_id,
        "coupon_id": coupon.public_id,
        "code": coupon.code,
        "discount_type": coupon.discount_type,
        "discount_value": to_text(coupon.discount_value),
        "currency": coupon.currency or None,
        "subscription_id": redemption.subscription.public_id if redemption.subscription is not None else None,
        "discount": describe_discount(discount),
        "credit_grant_id": None if grant is None else grant.public_id,
    }
