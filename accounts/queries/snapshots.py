"""What an event stores of an object of this app: its state after the change, with public ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts.models import Account, Member, PaymentMethod, Subscription, SubscriptionDiscount, SubscriptionItem
from billing_site.kernel.ids import encode_id
from catalog.pricing.breakdown import to_text

ADDRESS_FIELDS = ("line1", "line2", "city", "state", "postal_code", "country")
PROFILE_FIELDS = (
    "external_id",
    "org_id",
    "org_name",
    "name",
    "email",
    "phone",
    "company",
    *ADDRESS_FIELDS,
    "tax_id",
    "tax_exempt",
    "currency",
    "timezone",
    "language",
    "tier",
    "status",
    "net_terms_days",
    "split_by_cost_center",
    "invoice_grouping",
    "grace_hours",
    "billing_threshold",
    "collection_method",
    "metadata",
)


def describe_account(account: Account) -> dict[str, Any]:
    """Return the profile."""
    clock = account.test_clock
    return {
        "id": account.public_id,
        **{name: getattr(account, name) for name in PROFILE_FIELDS},
        "test_clock": None if clock is None else clock.public_id,
    }


def describe_member(member: Member) -> dict[str, Any]:
    """Return who it is and which role they hold."""
    return {
        "id": member.public_id,
        "user_id": member.user_id,
        "email": member.email,
        "name": member.name,
        "role": member.role,
        "added_at": member.added_at,
    }


def describe_subscription(subscription: Subscription) -> dict[str, Any]:
    """Return its terms and where it stands."""
    version, pending = subscription.plan_version, subscription.pending_plan_version
    method_id = subscription.default_payment_method_id
    return {
        "id": subscription.public_id,
        "plan_id": version.plan.key,
        "plan_version": version.version,
        "status": subscription.status,
        "quantity": subscription.quantity,
        "pending_plan_id": pending.plan.key if pending is not None else None,
        "pending_plan_version": pending.version if pending is not None else None,
        "pending_quantity": subscription.pending_quantity,
        "pending_interval": subscription.pending_interval or None,
        "currency": subscription.currency,
        "interval": subscription.interval,
        "interval_count": subscription.interval_count,
        "timezone": subscription.timezone,
        "anchor_date": subscription.anchor_date,
        "alignment": subscription.alignment,
        "billing_cycle_anchor": subscription.billing_cycle_anchor,
        "current_period_start": subscription.current_period_start,
        "current_period_end": subscription.current_period_end,
        "started_at": subscription.started_at,
        "trial_end": subscription.trial_end,
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "canceled_at": subscription.canceled_at,
        "ended_at": subscription.ended_at,
        "collection_method": subscription.collection_method,
        "default_payment_method": None if method_id is None else encode_id(PaymentMethod.id_prefix, method_id),
        "billing_threshold": subscription.billing_threshold,
        "metadata": subscription.metadata,
    }


def describe_item(item: SubscriptionItem, subscription: Subscription) -> dict[str, Any]:
    """Return what a part of `subscription` bills, and from when to when."""
    version = subscription.plan_version if item.price is None else item.price.plan_version
    return {
        "id": item.public_id,
        "subscription_id": subscription.public_id,
        "price_id": None if item.price is None else item.price.public_id,
        "plan_id": version.plan.key,
        "meter_id": None if item.meter is None else item.meter.public_id,
        "billing_mode": item.billing_mode,
        "quantity": item.quantity,
        "started_at": item.started_at,
        "ended_at": item.ended_at,
        "metadata": item.metadata,
    }


def describe_discount(discount: SubscriptionDiscount | None) -> dict[str, Any] | None:
    """Return what a discount takes off, for how long; None when there is none."""
    if discount is None:
        return None
    percent = discount.percent_off
    return {
        "id": discount.public_id,
        "name": discount.name,
        "percent_off": None if percent is None else to_text(percent),
        "amount_off": discount.amount_off,
        "currency": discount.currency or None,
        "meters": discount.meters,
        "plans": discount.plans,
        "duration_months": discount.duration_months,
        "months_left": discount.months_left,
        "ended_at": discount.ended_at,
    }


def find_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `before` that differ in `after`, as they were."""
    return {name: value for name, value in before.items() if after.get(name) != value}
