"""What an event stores of an object of this app: its state after the change, with public ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts.models import Account, Member, Subscription

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
    "currency",
    "timezone",
    "tier",
    "status",
    "net_terms_days",
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
    version = subscription.plan_version
    return {
        "id": subscription.public_id,
        "plan_id": version.plan.key,
        "plan_version": version.version,
        "status": subscription.status,
        "quantity": subscription.quantity,
        "currency": subscription.currency,
        "interval": subscription.interval,
        "interval_count": subscription.interval_count,
        "timezone": subscription.timezone,
        "anchor_date": subscription.anchor_date,
        "current_period_start": subscription.current_period_start,
        "current_period_end": subscription.current_period_end,
        "started_at": subscription.started_at,
        "trial_end": subscription.trial_end,
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "canceled_at": subscription.canceled_at,
        "ended_at": subscription.ended_at,
        "collection_method": subscription.collection_method,
        "billing_threshold": subscription.billing_threshold,
        "metadata": subscription.metadata,
    }


def find_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `before` that differ in `after`, as they were."""
    return {name: value for name, value in before.items() if after.get(name) != value}
