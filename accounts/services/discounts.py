"""
Discounts of subscriptions: given, replaced by a newer one, taken away, and given a month back.

Source: contract chapter Coupons and discounts; policies, rule 20; ADR 0022.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from accounts.models import Account, AccountStatus, DiscountEnd, Subscription, SubscriptionDiscount, SubscriptionStatus
from accounts.queries.discounts import find_discount
from accounts.queries.snapshots import describe_discount
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, FieldError, InvalidState, NotFound, ValidationFailed
from billing_site.platform.services import events
from catalog.models import Coupon, Plan
from catalog.queries.meters import MeterNotFound, get_meter
from catalog.queries.revisions import find_catalog_org

MAX_MONTHS: Final = 1200
MAX_AMOUNT: Final = 10**15
_HUNDRED: Final = Decimal(100)
_PLACES: Final = -12


@transaction.atomic
def give_discount(
    *,
    subscription_id: UUID,
    at: datetime,
    actor: Actor,
    percent_off: Decimal | None = None,
    amount_off: int | None = None,
    duration_months: int | None = None,
    name: str = "",
    meters: Sequence[str] = (),
    plans: Sequence[str] = (),
    reason: str = "",
) -> SubscriptionDiscount:
    """
    Take something off the next invoices of a subscription and return the discount; an earlier one ends.

    Either `percent_off` or `amount_off`, minor units of the subscription's currency on each invoice. `duration_months`
    counts invoices, None is until it is removed. `meters` (id or name) and `plans` (keys) limit what it takes from.
    :raises ValidationFailed: for both or none, a value out of range, an unknown meter or plan.
    :raises AmountNotPositive: for an amount of zero or less. :raises NotFound: if there is no such subscription.
    :raises InvalidState: when the subscription has ended or its account is closed.
    """
    check_terms(percent_off, amount_off, duration_months, name)
    subscription = lock_subscription(subscription_id)
    discount = SubscriptionDiscount(
        name=name.strip(),
        percent_off=percent_off,
        amount_off=amount_off,
        currency="" if amount_off is None else subscription.currency,
        meters=_find_meters(subscription, meters),
        plans=_find_plans(subscription, plans),
        duration_months=duration_months,
    )
    before = attach_discount(subscription, discount, at=at, actor=actor)
    _emit(subscription, discount, before, at=at, actor=actor, reason=reason)
    return discount


@transaction.atomic
def remove_discount(*, subscription_id: UUID, at: datetime, actor: Actor, reason: str = "") -> SubscriptionDiscount:
    """
    End the discount of a subscription and return it. Invoices that had it keep it.

    :raises NotFound: if there is no such subscription. :raises InvalidState: when it has no discount.
    """
    subscription = lock_subscription(subscription_id)
    discount = find_discount(subscription)
    if discount is None:
        raise InvalidState("The subscription has no discount.", current_status=subscription.status)
    before = describe_discount(discount)
    _end(discount, DiscountEnd.REMOVED, at)
    _emit(subscription, None, before, at=at, actor=actor, reason=reason)
    return discount


def lock_subscription(subscription_id: UUID) -> Subscription:
    """
    Lock account and subscription for the transaction and return the subscription, with account and clock.

    :raises NotFound: if there is none. :raises InvalidState: when it has ended or its account is closed.
    """
    owners = Account.objects.select_for_update(no_key=True, of=("self",)).order_by()
    owner = owners.filter(subscriptions=subscription_id).first()
    if owner is None:
        raise NotFound("subscription")
    if owner.status != AccountStatus.ACTIVE:
        raise InvalidState("The account is closed.", current_status=owner.status)
    rows = Subscription.objects.select_for_update(of=("self",)).select_related(
        "account__test_clock", "plan_version__plan"
    )
    subscription = rows.get(pk=subscription_id)
    if subscription.status == SubscriptionStatus.CANCELED:
        raise InvalidState("The subscription has ended.", current_status=subscription.status)
    return subscription


def attach_discount(
    subscription: Subscription, discount: SubscriptionDiscount, *, at: datetime, actor: Actor
) -> dict[str, Any] | None:
    """
    Store a discount of a locked subscription in place of the one in force, and describe that one as it was.

    Writes no event: the use case does.
    """
    replaced = find_discount(subscription)
    before = describe_discount(replaced)
    if replaced is not None:
        _end(replaced, DiscountEnd.REPLACED, at)
    discount.subscription = subscription
    discount.months_left = discount.duration_months
    discount.started_at, discount.created_by = at, str(actor)
    discount.save(force_insert=True)
    return before


def make_coupon_discount(coupon: Coupon) -> SubscriptionDiscount:
    """Return what a coupon of type percentage or fixed amount becomes; without a duration it is for one invoice."""
    return SubscriptionDiscount(
        coupon=coupon,
        name=coupon.code,
        percent_off=coupon.percent_off,
        amount_off=coupon.amount_off,
        currency=coupon.currency,
        plans=list(coupon.applicable_plan_ids),
        duration_months=coupon.duration_months or 1,
    )


def give_month_back(discount_id: UUID) -> None:
    """
    Let a discount have one invoice more, because one that had it was voided. The caller holds the subscription's lock.

    One that was used up is in force again, unless another one took its place.
    """
    discount = SubscriptionDiscount.objects.select_for_update().get(pk=discount_id)
    if discount.months_left is None or discount.duration_months is None:
        return
    discount.months_left = min(discount.duration_months, discount.months_left + 1)
    others = SubscriptionDiscount.objects.filter(subscription_id=discount.subscription_id, id__gt=discount.id)
    if discount.end_reason == DiscountEnd.USED_UP and not others.exists():
        discount.ended_at, discount.end_reason = None, ""
    discount.save(update_fields=["months_left", "ended_at", "end_reason", "updated_at"])


def _end(discount: SubscriptionDiscount, why: DiscountEnd, at: datetime) -> None:
    discount.ended_at, discount.end_reason = at, why
    discount.save(update_fields=["ended_at", "end_reason", "updated_at"])


def check_terms(percent_off: Decimal | None, amount_off: int | None, months: int | None, name: str) -> None:
    """
    Refuse a discount that cannot be: a percentage or an amount, months (None for any number) and a name.

    :raises ValidationFailed: for both or none, or a value out of range. :raises AmountNotPositive: for an amount of
        zero or less.
    """
    if (percent_off is None) == (amount_off is None):
        found = "required" if percent_off is None else "ambiguous"
        raise ValidationFailed.of("/percent_off", found, "Give percent_off or amount_off, one of them.")
    findings = []
    if percent_off is not None:
        if not percent_off.is_finite() or not 0 < percent_off <= _HUNDRED:
            findings.append(FieldError("/percent_off", "out_of_range", "A percentage is above 0 and at most 100."))
        elif int(percent_off.normalize().as_tuple().exponent) < _PLACES:
            findings.append(FieldError("/percent_off", "too_precise", "At most 12 decimals."))
    elif amount_off is not None and amount_off <= 0:
        raise AmountNotPositive("The discount must be above zero.")
    elif amount_off is not None and amount_off > MAX_AMOUNT:
        findings.append(FieldError("/amount_off", "out_of_range", f"At most {MAX_AMOUNT} minor units."))
    if months is not None and not 1 <= months <= MAX_MONTHS:
        text = f"1 to {MAX_MONTHS} months; leave it out until it is removed."
        findings.append(FieldError("/duration_months", "out_of_range", text))
    if len(name.strip()) > 255:
        findings.append(FieldError("/name", "max_length", "At most 255 characters."))
    if findings:
        raise ValidationFailed(findings[0].detail, errors=findings)


def _find_meters(subscription: Subscription, references: Sequence[str]) -> list[str]:
    names = []
    for reference in references:
        try:
            meter = get_meter(org_id=subscription.account.org_id, reference=reference)
        except MeterNotFound as error:
            raise ValidationFailed.of("/meters", "unknown", f"There is no meter {reference[:100]!r}.") from error
        names.append(meter.event_name)
    return list(dict.fromkeys(names))


def _find_plans(subscription: Subscription, keys: Sequence[str]) -> list[str]:
    wanted = list(dict.fromkeys(keys))
    owner = find_catalog_org(org_id=subscription.account.org_id) if wanted else None
    known = set(Plan.objects.filter(org_id=owner, key__in=wanted).values_list("key", flat=True)) if wanted else set()
    unknown = [key for key in wanted if key not in known]
    if unknown:
        raise ValidationFailed.of("/plans", "unknown", f"The catalog has no plan {unknown[0][:100]!r}.")
    return wanted


def _emit(
    subscription: Subscription,
    discount: SubscriptionDiscount | None,
    before: dict[str, Any] | None,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
) -> None:
    events.emit(
        "subscription.updated",
        subject=subscription,
        account_id=subscription.account_id,
        at=at,
        actor=actor,
        data={"id": subscription.public_id, "discount": describe_discount(discount)},
        previous={"discount": before},
        reason=reason,
    )
