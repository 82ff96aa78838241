"""Checking and using coupons, and giving discounts, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import LazySettings

from accounts.models import Account, CouponRedemption, CreditGrant, Subscription, SubscriptionDiscount
from billing_site.kernel import clock
from billing_site.kernel.ids import encode_id, new_uuid
from billing_site.platform.models import Event
from catalog.models import Coupon
from catalog.services.coupons import create_coupon, deactivate_coupon
from invoicing.models import Invoice
from tests.factories.accounts import ACTOR, AT, make_account, make_member, make_subscription, publish_catalog
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

VALIDATE = "/api/v1/billing/coupons/validate"
REDEEM = "/api/v1/billing/coupons/redeem"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def account() -> Account:
    publish_catalog()
    return make_account("acme/shop", owner_user_id="alice")


@pytest.fixture
def subscription(account: Account) -> Subscription:
    return make_subscription(account, "pro")


def coupon(code: str = "LAUNCH", kind: str = "percentage", value: str = "20", **options: Any) -> Coupon:
    return create_coupon(
        org_id="default",
        code=code,
        discount_type=kind,
        discount_value=Decimal(value),
        at=AT,
        actor=ACTOR,
        **options,
    )


class TestValidate:
    def check(self, **body: Any) -> dict[str, Any]:
        response = make_client().post(VALIDATE, {"code": "launch", **body})
        assert response.status_code == 200, response.content
        shown: dict[str, Any] = response.json()
        return shown

    def test_says_what_it_takes_off(self, account: Account) -> None:
        made = coupon(applicable_plan_ids=["pro"])
        assert self.check(account="acme/shop", plan_id="pro") == {
            "valid": True,
            "coupon_id": made.public_id,
            "discount_type": "percentage",
            "discount_value": "20",
            "message": "This code can be used.",
            "reason": None,
        }
        assert not CouponRedemption.objects.exists()

    def test_of_an_unknown_code_is_an_answer(self) -> None:
        shown = self.check()
        assert (shown["valid"], shown["reason"], shown["coupon_id"]) == (False, "unknown_code", None)
        assert (shown["discount_type"], shown["discount_value"]) == (None, None)

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"starts_at": AT + timedelta(days=1)}, "not_started"),
            ({"starts_at": AT - timedelta(days=2), "expires_at": AT}, "expired"),
            ({"applicable_plan_ids": ["free"]}, "plan_not_eligible"),
            ({"kind": "fixed_amount", "value": "500", "currency": "eur"}, "currency_mismatch"),
        ],
    )
    def test_names_the_reason(self, account: Account, options: dict[str, Any], reason: str) -> None:
        coupon(**options)
        shown = self.check(account="acme/shop", plan_id="pro")
        assert (shown["valid"], shown["reason"]) == (False, reason)

    def test_names_the_first_reason_of_several(self, account: Account, subscription: Subscription) -> None:
        made = coupon(max_redemptions=1, applicable_plan_ids=["pro"])
        make_client().post(REDEEM, {"code": "LAUNCH", "subscription_id": subscription.public_id})
        assert self.check(account="acme/shop", plan_id="free")["reason"] == "exhausted"
        deactivate_coupon(coupon_id=made.pk, at=AT, actor=ACTOR)
        assert self.check(account="acme/shop", plan_id="free")["reason"] == "inactive"

    def test_is_slow_for_one_caller(self, settings: LazySettings) -> None:
        settings.BILLING_GUESSES_PER_MINUTE = 2
        client = make_client(subject="guesser")
        assert [client.post(VALIDATE, {"code": f"C{n}00"}).status_code for n in range(3)] == [200, 200, 429]
        refused = client.post(VALIDATE, {"code": "XYZ"})
        problem(refused, "rate_limited", 429)
        assert int(refused.headers["Retry-After"]) == 60
        assert make_client(subject="other").post(VALIDATE, {"code": "XYZ"}).status_code == 200
        with clock.travel(AT + timedelta(minutes=1)):
            assert client.post(VALIDATE, {"code": "XYZ"}).status_code == 200


class TestRedeem:
    def redeem(self, subscription: Subscription, code: str = "launch", **body: Any) -> Any:
        return make_client().post(REDEEM, {"code": code, "subscription_id": subscription.public_id, **body})

    def test_makes_a_discount(self, account: Account, subscription: Subscription) -> None:
        made = coupon(duration_months=3)
        response = self.redeem(subscription, account="acme/shop")
        assert response.status_code == 201, response.content
        shown = response.json()
        assert shown == {
            "id": CouponRedemption.objects.get().public_id,
            "coupon_id": made.public_id,
            "code": "LAUNCH",
            "account_id": account.public_id,
            "subscription_id": subscription.public_id,
            "discount_type": "percentage",
            "discount_value": "20",
            "remaining_months": 3,
            "credit_grant_id": None,
            "redeemed_at": "2026-03-15T12:00:00Z",
        }
        made.refresh_from_db()
        assert made.redemption_count == 1
        event = Event.objects.get(type="coupon.redeemed")
        assert (event.account_id, event.data["code"], event.data["discount"]["percent_off"]) == (
            account.pk,
            "LAUNCH",
            "20",
        )

    def test_of_credit_grants_it(self, account: Account, subscription: Subscription) -> None:
        coupon(kind="credit", value="1500", currency="usd")
        shown = self.redeem(subscription).json()
        grant = CreditGrant.objects.get()
        assert (shown["credit_grant_id"], shown["remaining_months"]) == (grant.public_id, None)
        assert (grant.amount, grant.tags, grant.promotional) == (1500, "coupon", True)
        assert not SubscriptionDiscount.objects.exists()

    def test_twice_is_refused(self, subscription: Subscription) -> None:
        coupon()
        assert self.redeem(subscription).status_code == 201
        problem(self.redeem(subscription), "already_redeemed", 409)
        assert Coupon.objects.get().redemption_count == 1

    def test_says_why_not(self, subscription: Subscription) -> None:
        coupon(applicable_plan_ids=["free"])
        assert problem(self.redeem(subscription), "coupon_not_applicable", 422)["reason"] == "plan_not_eligible"
        assert problem(self.redeem(subscription, "NOPE"), "coupon_not_applicable", 422)["reason"] == "unknown_code"

    def test_needs_a_subscription_of_the_account(self, subscription: Subscription) -> None:
        coupon()
        make_account("globex")
        problem(self.redeem(subscription, account="globex"), "not_found", 404)
        body = {"code": "LAUNCH", "subscription_id": encode_id("sub", new_uuid())}
        problem(make_client().post(REDEEM, body), "not_found", 404)

    def test_a_customer_uses_it_for_an_own_subscription(self, account: Account, subscription: Subscription) -> None:
        coupon()
        body = {"code": "LAUNCH", "subscription_id": subscription.public_id}
        make_member(account, "mallory", role="viewer")
        problem(make_client("public", "stranger").post(REDEEM, body), "not_found", 404)
        problem(make_client("public", "mallory").post(REDEEM, body), "account_forbidden", 403)
        assert make_client("public", "alice").post(REDEEM, body).status_code == 201

    def test_with_the_same_key_is_used_once(self, subscription: Subscription) -> None:
        coupon()
        client = make_client()
        body = {"code": "LAUNCH", "subscription_id": subscription.public_id}
        answers = [client.post(REDEEM, body, HTTP_IDEMPOTENCY_KEY="k-1").json() for _ in range(2)]
        assert answers[0] == answers[1]
        assert Coupon.objects.get().redemption_count == 1


class TestSubscriptionCreate:
    def test_uses_a_coupon_on_the_first_invoice(self, account: Account) -> None:
        coupon(duration_months=2)
        body = {"account": "acme/shop", "plan_id": "pro", "coupon_code": "Launch"}
        shown = make_client().post("/api/v1/billing/subscriptions", body).json()
        # 20 % of 49.00 = 9.80
        invoice = make_client().get(f"/api/v1/billing/invoices/{shown['current_invoice_id']}").json()
        assert (invoice["subtotal"], invoice["discount"], invoice["discount_name"]) == (4900, 980, "LAUNCH")
        assert invoice["amount_due"] == 3920
        assert shown["discount"] == {
            "percent_off": "20",
            "amount_off": None,
            "name": "LAUNCH",
            "ends_at": "2026-05-15T00:00:00Z",
            "months_left": 1,
        }

    def test_with_a_code_that_cannot_be_used_starts_nothing(self, account: Account) -> None:
        body = {"account": "acme/shop", "plan_id": "pro", "coupon_code": "NOPE"}
        problem(make_client().post("/api/v1/billing/subscriptions", body), "coupon_not_applicable", 422)
        assert not Subscription.objects.exists()
        assert not Invoice.objects.exists()


class TestDiscount:
    def give(self, subscription: Subscription, **body: Any) -> Any:
        return make_client().post(f"/api/v1/billing/subscriptions/{subscription.public_id}/discount", body)

    def test_gives_one_in_place_of_another(self, subscription: Subscription) -> None:
        assert self.give(subscription, amount_off=500, name="Sorry").json()["discount"] == {
            "percent_off": None,
            "amount_off": 500,
            "name": "Sorry",
            "ends_at": None,
            "months_left": None,
        }
        shown = self.give(subscription, percent_off="12.5", duration_months=3).json()["discount"]
        assert (shown["percent_off"], shown["amount_off"], shown["months_left"]) == ("12.5", None, 3)
        assert SubscriptionDiscount.objects.filter(ended_at__isnull=True).count() == 1
        event = Event.objects.filter(type="subscription.updated").order_by("-sequence").first()
        assert event is not None
        assert event.previous_data is not None
        assert (event.previous_data["discount"]["amount_off"], event.data["discount"]["percent_off"]) == (500, "12.5")

    def test_uses_a_coupon(self, subscription: Subscription) -> None:
        coupon()
        assert self.give(subscription, coupon_code="launch").json()["discount"]["name"] == "LAUNCH"
        assert Coupon.objects.get().redemption_count == 1

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/percent_off"),
            ({"percent_off": "10", "amount_off": 100}, "/percent_off"),
            ({"percent_off": "100.1"}, "/percent_off"),
            ({"percent_off": "0"}, "/percent_off"),
            ({"percent_off": "10", "duration_months": 0}, "/duration_months"),
            ({"percent_off": "10", "coupon_code": "LAUNCH"}, "/coupon_code"),
        ],
    )
    def test_says_what_is_wrong(self, subscription: Subscription, body: dict[str, Any], pointer: str) -> None:
        refused = problem(self.give(subscription, **body), "validation_failed", 400)
        assert [pointer] == [where for where, _ in findings(refused)]
        assert not SubscriptionDiscount.objects.exists()

    def test_is_refused_for_an_ended_subscription(self, subscription: Subscription) -> None:
        Subscription.objects.filter(pk=subscription.pk).update(
            status="canceled", ended_at=AT, next_billing_at=None, canceled_at=AT
        )
        problem(self.give(subscription, percent_off="10"), "invalid_state", 409)

    def test_is_for_services_only(self, subscription: Subscription) -> None:
        path = f"/api/v1/billing/subscriptions/{subscription.public_id}/discount"
        assert make_client("public", "alice").post(path, {"percent_off": "10"}).status_code == 403
