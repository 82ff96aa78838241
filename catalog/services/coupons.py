"""
Coupons: define a code, stop it, remove one that was never used.

Source: contract chapter Coupons and discounts. Redeeming is not here: it changes accounts.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, NotFound
from billing_site.kernel.locks import acquire_lock
from billing_site.platform.services import events
from catalog.models import Coupon, DiscountType, Plan
from catalog.models.coupon import CODE_PATTERN
from catalog.pricing.terms import to_text
from catalog.queries.coupons import find_coupon, normalise_code
from catalog.queries.plans import PlanNotFound
from catalog.queries.references import require_unused
from catalog.queries.revisions import find_catalog_org
from catalog.services.checks import FieldChecks

_CODE: Final = re.compile(CODE_PATTERN, re.ASCII)
_MAX_COUNT: Final = 2**31 - 1
_MAX_MONTHS: Final = 1200
_MAX_AMOUNT: Final = 2**63 - 1
_MAX_PERCENT: Final = Decimal(100)


class CouponCodeTaken(DomainError):
    code, title, status = "coupon_code_taken", "A coupon with this code exists", 409


@transaction.atomic
def create_coupon(
    *,
    org_id: str,
    code: str,
    discount_type: str,
    discount_value: Decimal,
    at: datetime,
    actor: Actor,
    currency: str = "",
    description: str = "",
    max_redemptions: int | None = None,
    starts_at: datetime | None = None,
    expires_at: datetime | None = None,
    applicable_plan_ids: Sequence[str] = (),
    duration_months: int | None = None,
    reason: str = "",
) -> Coupon:
    """
    Define a promotion code and return it.

    `discount_value` is a percent, or whole minor units of `currency`. The coupon is redeemable in
    `[starts_at, expires_at)`.
    :raises ValidationFailed: with every field that is wrong.
    :raises PlanNotFound: if one of the plans is not on offer.
    :raises CouponCodeTaken: if the code exists, deactivated or not.
    """
    checks = FieldChecks()
    coupon = Coupon(
        org_id=org_id,
        code=normalise_code(code),
        description=checks.read_text("description", description, max_length=5000),
        discount_type=discount_type,
        max_redemptions=max_redemptions,
        starts_at=starts_at,
        expires_at=expires_at,
        applicable_plan_ids=list(dict.fromkeys(applicable_plan_ids)),
        duration_months=duration_months,
    )
    _check_terms(coupon, checks)
    _set_value(coupon, discount_value, currency, checks)
    checks.require_none()
    _require_plans(org_id, coupon.applicable_plan_ids)
    acquire_lock("coupons", org_id)
    if find_coupon(org_id=org_id, code=coupon.code) is not None:
        raise CouponCodeTaken(f"There is a coupon {coupon.code} already.")
    coupon.save(force_insert=True)
    _emit("created", coupon, at=at, actor=actor, reason=reason)
    return coupon


@transaction.atomic
def deactivate_coupon(*, coupon_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Coupon:
    """
    Stop new uses of a coupon and return it; what was redeemed runs on. Repeating it changes nothing.

    :raises NotFound: if there is no such coupon.
    """
    coupon = _lock_coupon(coupon_id)
    if not coupon.is_active:
        return coupon
    coupon.is_active, coupon.deactivated_at = False, at
    coupon.save(update_fields=["is_active", "deactivated_at", "updated_at"])
    _emit("deactivated", coupon, at=at, actor=actor, reason=reason, previous={"is_active": True})
    return coupon


@transaction.atomic
def delete_coupon(*, coupon_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> None:
    """
    Remove a coupon that nobody ever used.

    :raises ObjectInUse: naming what uses it.
    :raises NotFound: if there is no such coupon.
    """
    coupon = _lock_coupon(coupon_id)
    uses = coupon.redemption_count
    require_unused(
        coupon,
        instead="Deactivate it: nobody can use it any more, and what was redeemed runs on.",
        also=[f"{uses} redemption{'' if uses == 1 else 's'}"] if uses else [],
    )
    _emit("deleted", coupon, at=at, actor=actor, reason=reason)
    coupon.delete()


def _check_terms(coupon: Coupon, checks: FieldChecks) -> None:
    if not _CODE.fullmatch(coupon.code):
        checks.add("/code", "invalid", "A code has 3 to 64 letters, digits or dashes.")
    if coupon.max_redemptions is not None and not 1 <= coupon.max_redemptions <= _MAX_COUNT:
        checks.add("/max_redemptions", "out_of_range", "At least one redemption; leave it out for any number.")
    if coupon.duration_months is not None and not 1 <= coupon.duration_months <= _MAX_MONTHS:
        checks.add("/duration_months", "out_of_range", f"1 to {_MAX_MONTHS} months; leave it out for one invoice.")
    elif coupon.duration_months is not None and coupon.discount_type == DiscountType.CREDIT:
        checks.add("/duration_months", "not_allowed", "A credit is granted once: it has no duration.")
    if coupon.starts_at is not None and coupon.expires_at is not None and coupon.starts_at >= coupon.expires_at:
        checks.add("/expires_at", "not_after_start", "The coupon must expire after it starts.")


def _set_value(coupon: Coupon, value: Decimal, currency: str, checks: FieldChecks) -> None:
    is_exact = checks.check_decimal("/discount_value", value)
    if coupon.discount_type not in DiscountType.values:
        checks.add("/discount_type", "invalid_choice", f"One of: {', '.join(DiscountType.values)}.")
    elif coupon.discount_type == DiscountType.PERCENTAGE:
        coupon.percent_off = value
        if is_exact and not 0 < value <= _MAX_PERCENT:
            checks.add("/discount_value", "out_of_range", "A percentage is above 0 and at most 100.")
        if currency.strip():
            checks.add("/currency", "not_allowed", "A percentage has no currency.")
    else:
        if is_exact and (value != value.to_integral_value() or not 0 < value <= _MAX_AMOUNT):
            checks.add("/discount_value", "out_of_range", "An amount is a whole number of minor units above zero.")
        elif is_exact:
            coupon.amount_off = int(value)
        if currency.strip():
            coupon.currency = checks.read_currency("currency", currency)
        else:
            checks.add("/currency", "required", "An amount needs a currency.")


def _require_plans(org_id: str, keys: Sequence[str]) -> None:
    if not keys:
        return
    owner = find_catalog_org(org_id=org_id)
    plans = Plan.objects.filter(org_id=owner, key__in=keys, is_active=True, current_version__isnull=False)
    known = set(plans.values_list("key", flat=True))
    unknown = [key for key in keys if key not in known]
    if unknown:
        shown = ", ".join(repr(key[:100]) for key in unknown[:10])
        raise PlanNotFound(f"The catalog has no plan {shown}.", plan_ids=unknown[:100])


def _lock_coupon(coupon_id: uuid.UUID) -> Coupon:
    coupon = Coupon.objects.select_for_update().filter(pk=coupon_id).first()
    if coupon is None:
        raise NotFound("coupon")
    return coupon


def _emit(
    what: str,
    coupon: Coupon,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: dict[str, Any] | None = None,
) -> None:
    data = {
        "org_id": coupon.org_id,
        "code": coupon.code,
        "discount_type": coupon.discount_type,
        "discount_value": to_text(coupon.discount_value),
        "currency": coupon.currency,
        "max_redemptions": coupon.max_redemptions,
        "redemption_count": coupon.redemption_count,
        "starts_at": coupon.starts_at,
        "expires_at": coupon.expires_at,
        "applicable_plan_ids": coupon.applicable_plan_ids,
        "duration_months": coupon.duration_months,
        "is_active": coupon.is_active,
    }
    events.emit(
        f"coupon.{what}",
        subject=coupon,
        account_id=None,
        at=at,
        actor=actor,
        data=data,
        previous=previous,
        reason=reason,
    )
