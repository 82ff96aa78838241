"""Whether a coupon can be used, and who used it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import QuerySet

from accounts.models import Account, CouponRedemption
from catalog.models import Coupon, DiscountType
from catalog.queries.coupons import find_coupon

MESSAGES: Final = {
    "unknown_code": "There is no such code.",
    "inactive": "This code is not in use any more.",
    "not_started": "This code cannot be used yet.",
    "expired": "This code has expired.",
    "exhausted": "This code has been used as often as it may be.",
    "plan_not_eligible": "This code is not for this plan.",
    "already_redeemed": "This account used the code before.",
    "currency_mismatch": "This code is for another currency.",
}


@dataclass(frozen=True, slots=True)
class CouponCheck:
    """A coupon, if there is one, and why it cannot be used; no reason when it can."""

    coupon: Coupon | None
    reason: str = ""

    @property
    def is_valid(self) -> bool:
        return not self.reason

    @property
    def message(self) -> str:
        """A sentence for people."""
        return MESSAGES.get(self.reason, "This code can be used.")


def check_code(
    *,
    org_id: str,
    code: str,
    at: datetime,
    account: Account | None = None,
    plan_key: str | None = None,
    currency: str | None = None,
) -> CouponCheck:
    """
    Tell whether the organization's accounts, or this one, can use a code now; what is not given is not checked.

    `currency` is that of the subscription; by default the account's.
    """
    coupon = find_coupon(org_id=org_id, code=code)
    if coupon is None:
        return CouponCheck(None, "unknown_code")
    if currency is None and account is not None:
        currency = account.currency
    reason = find_obstacle(coupon, at=at, account=account, plan_key=plan_key, currency=currency)
    return CouponCheck(coupon, reason)


def find_obstacle(
    coupon: Coupon, *, at: datetime, account: Account | None, plan_key: str | None, currency: str | None
) -> str:
    """
    Return the first reason why a coupon cannot be used, or nothing.

    Source: contract chapter Coupons and discounts, checks in order.
    """
    if not coupon.is_active:
        return "inactive"
    if coupon.starts_at is not None and at < coupon.starts_at:
        return "not_started"
    if coupon.expires_at is not None and coupon.expires_at <= at:
        return "expired"
    if coupon.max_redemptions is not None and coupon.redemption_count >= coupon.max_redemptions:
        return "exhausted"
    if plan_key is not None and coupon.applicable_plan_ids and plan_key not in coupon.applicable_plan_ids:
        return "plan_not_eligible"
    if account is not None and CouponRedemption.objects.filter(coupon=coupon, account=account).exists():
        return "already_redeemed"
    if coupon.discount_type != DiscountType.PERCENTAGE and currency is not None and coupon.currency != currency:
        return "currency_mismatch"
    return ""


def list_redemptions(coupon: Coupon) -> QuerySet[CouponRedemption]:
    """Return who used a coupon, the newest first."""
    return CouponRedemption.objects.filter(coupon=coupon).select_related("account", "subscription", "discount")
