"""Discounts in the admin: given and removed with a reason, shown on subscription, invoice and coupon."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Subscription, SubscriptionDiscount
from accounts.services.coupons import redeem_coupon
from billing_site.kernel import clock
from billing_site.platform.models import Event
from catalog.models import Coupon
from catalog.services.coupons import create_coupon
from tests.accounts.admin.test_pages import sign_in, url
from tests.factories.accounts import ACTOR, AT, make_account, make_subscription, publish_catalog

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def subscription() -> Subscription:
    publish_catalog()
    return make_subscription(make_account("acme/shop", name="Acme"), "pro")


def post(browser: Client, subscription: Subscription, action: str, **fields: str) -> str:
    path = reverse(f"admin:accounts_subscription_{action}", args=[subscription.pk])
    reason = {"reason": "agreed with the customer", "_confirmed": "1"}
    page = browser.post(path, {**reason, **fields})
    name, seal = (page.context or {}).get("seal", ("_seal", ""))
    return browser.post(path, {**reason, **fields, "_commit": "1", name: seal}, follow=True).content.decode()


def test_gives_and_removes_one(subscription: Subscription) -> None:
    browser = sign_in()
    page = post(browser, subscription, "give_discount", value="12.5 %", duration_months="3", name="Loyalty")
    discount = SubscriptionDiscount.objects.get()
    assert (discount.percent_off, discount.months_left, discount.name) == (Decimal("12.5"), 3, "Loyalty")
    assert "Loyalty" in page
    assert Event.objects.get(type="subscription.updated").reason == "agreed with the customer"
    post(browser, subscription, "remove_discount")
    discount.refresh_from_db()
    assert discount.end_reason == "removed"


def test_takes_an_amount_in_major_units(subscription: Subscription) -> None:
    post(sign_in(), subscription, "give_discount", value="15.00")
    discount = SubscriptionDiscount.objects.get()
    assert (discount.amount_off, discount.currency) == (1500, "usd")


def test_what_is_no_value_changes_nothing(subscription: Subscription) -> None:
    post(sign_in(), subscription, "give_discount", value="a lot")
    assert not SubscriptionDiscount.objects.exists()


def test_a_coupon_shows_who_used_it(subscription: Subscription) -> None:
    made = create_coupon(
        org_id="default", code="TEN", discount_type="percentage", discount_value=Decimal(10), at=AT, actor=ACTOR
    )
    redeem_coupon(subscription_id=subscription.pk, code="TEN", at=AT, actor=ACTOR)
    page = sign_in().get(url(Coupon, "change", made.pk)).content.decode()
    assert "Acme" in page
    assert "1 of 1 invoices left" in page
