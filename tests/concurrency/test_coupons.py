"""Coupons used over several connections at once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from accounts.models import CouponRedemption, CreditGrant, Subscription, SubscriptionDiscount
from accounts.services.coupons import AlreadyRedeemed, CouponNotApplicable, redeem_coupon
from accounts.services.discounts import give_discount
from catalog.models import Coupon
from catalog.services.coupons import create_coupon
from tests.concurrency.test_credit_burns import at_once
from tests.factories.accounts import ACTOR, AT, make_account, make_subscription, publish_catalog

pytestmark = pytest.mark.django_db(transaction=True)


def coupon(*, kind: str = "percentage", value: str = "10", most: int | None = None, currency: str = "") -> Coupon:
    return create_coupon(
        org_id="default",
        code="RUSH",
        discount_type=kind,
        discount_value=Decimal(value),
        currency=currency,
        max_redemptions=most,
        at=AT,
        actor=ACTOR,
    )


def redeem(subscription: Subscription) -> str:
    try:
        redeem_coupon(subscription_id=subscription.pk, code="RUSH", at=AT, actor=ACTOR)
    except (CouponNotApplicable, AlreadyRedeemed) as refusal:
        return str(refusal.members.get("reason", refusal.code))
    return "redeemed"


def test_a_coupon_is_never_used_more_often_than_it_may() -> None:
    publish_catalog()
    made = coupon(most=3)
    subscriptions = [make_subscription(make_account(f"rush-{number}"), "pro") for number in range(8)]
    results = at_once([lambda each=each: redeem(each) for each in subscriptions])  # type: ignore[misc]
    assert sorted(results) == ["exhausted"] * 5 + ["redeemed"] * 3
    made.refresh_from_db()
    assert made.redemption_count == 3 == CouponRedemption.objects.count() == SubscriptionDiscount.objects.count()


def test_an_account_uses_a_coupon_once() -> None:
    publish_catalog()
    made = coupon(kind="credit", value="1500", currency="usd")
    subscription = make_subscription(make_account(), "pro")
    results = at_once([lambda: redeem(subscription)] * 6)
    assert sorted(results) == ["already_redeemed"] * 5 + ["redeemed"]
    made.refresh_from_db()
    assert made.redemption_count == 1 == CreditGrant.objects.count()


def test_discounts_given_at_the_same_moment_leave_one_in_force() -> None:
    publish_catalog()
    subscription = make_subscription(make_account(), "pro")

    def give(percent: int) -> None:
        give_discount(subscription_id=subscription.pk, percent_off=Decimal(percent), at=AT, actor=ACTOR)

    at_once([lambda percent=percent: give(percent) for percent in (10, 20, 30, 40)])  # type: ignore[misc]
    assert SubscriptionDiscount.objects.count() == 4
    assert SubscriptionDiscount.objects.filter(ended_at__isnull=True).count() == 1
