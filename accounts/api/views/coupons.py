"""Using coupons, and discounts of subscriptions."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from accounts.api.serializers.coupons import (
    CouponCheckInput,
    CouponCheckSerializer,
    CouponRedeemInput,
    CouponRedemptionSerializer,
    DiscountInput,
)
from accounts.api.serializers.subscriptions import SubscriptionSerializer
from accounts.api.views.subscriptions import answer_subscription
from accounts.models import Account
from accounts.queries.access import resolve_account
from accounts.queries.coupons import check_code
from accounts.queries.subscriptions import find_subscription
from accounts.services.coupons import AlreadyRedeemed, CouponNotApplicable, redeem_coupon
from accounts.services.discounts import give_discount
from billing_site.api.params import account_reference
from billing_site.api.permissions import BOTH_READ, both, internal
from billing_site.api.throttles import GuessThrottle
from billing_site.api.views import BillingAPIView, BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, AmountNotPositive, InvalidState, NotFound
from catalog.queries.revisions import DEFAULT_ORG


class CouponUseViewSet(BillingViewSet):
    """Codes, as customers use them."""

    scopes = {"validate": BOTH_READ, "redeem": both("billing:subscription:write")}
    problems = {
        "validate": [AccountForbidden, NotFound],
        "redeem": [AccountForbidden, NotFound, CouponNotApplicable, AlreadyRedeemed, InvalidState],
    }
    operation_ids = {"validate": "coupon_validate", "redeem": "coupon_redeem"}

    def get_throttles(self) -> list[BaseThrottle]:
        """Checking is slow for everybody; a customer cannot guess by redeeming instead."""
        checks = self.action == "validate" or not self.principal.is_internal
        return [GuessThrottle()] if checks else []

    @extend_schema(request=CouponCheckInput, responses=CouponCheckSerializer)
    def validate(self, request: Request) -> Response:
        """Ask whether a code can be used by an account on a plan, without using it."""
        body = CouponCheckInput(data=request.data)
        body.is_valid(raise_exception=True)
        account = self._find_account(request)
        check = check_code(
            org_id=(self.principal.org or DEFAULT_ORG) if account is None else account.org_id,
            code=body.validated_data["code"],
            at=clock.now(account),
            account=account,
            plan_key=body.validated_data.get("plan_id"),
        )
        return Response(CouponCheckSerializer(check).data)

    @extend_schema(request=CouponRedeemInput, responses={201: CouponRedemptionSerializer})
    def redeem(self, request: Request) -> Response:
        """Use a code on a subscription: a discount of its next invoices, or credit."""
        body = CouponRedeemInput(data=request.data)
        body.is_valid(raise_exception=True)
        subscription = find_subscription(self.principal, body.validated_data["subscription_id"], write=True)
        if account_reference(request) is not None:
            named = resolve_account(self.principal, account_reference(request), write=True)
            if named.pk != subscription.account_id:
                raise NotFound("subscription")
        redemption = redeem_coupon(
            subscription_id=subscription.pk,
            code=body.validated_data["code"],
            at=clock.now(subscription.account),
            actor=self.actor,
        )
        return Response(CouponRedemptionSerializer(redemption).data, status=201)

    def _find_account(self, request: Request) -> Account | None:
        """Return the account that is named, a customer's own by default, none for a service that names none."""
        reference = account_reference(request)
        if reference is None and self.principal.is_internal:
            return None
        return resolve_account(self.principal, reference)


class SubscriptionDiscountView(BillingAPIView):
    """What a subscription gets taken off."""

    scopes = {"post": internal("billing:coupon:write")}
    problems = {"post": [NotFound, InvalidState, AmountNotPositive, CouponNotApplicable, AlreadyRedeemed]}
    operation_ids = {"post": "subscription_discount"}

    @extend_schema(request=DiscountInput, responses=SubscriptionSerializer)
    def post(self, request: Request, subscription_id: str) -> Response:
        """Give a subscription a discount for some months, in place of the one it has."""
        body = DiscountInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = dict(body.validated_data)
        subscription = find_subscription(self.principal, subscription_id, write=True)
        at = clock.now(subscription.account)
        code = values.pop("coupon_code", "")
        if code:
            redeem_coupon(subscription_id=subscription.pk, code=code, at=at, actor=self.actor)
        else:
            give_discount(subscription_id=subscription.pk, **values, at=at, actor=self.actor)
        return answer_subscription(subscription.pk, internal=self.principal.is_internal)
