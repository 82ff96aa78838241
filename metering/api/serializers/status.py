"""The billing state of an account."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.models import Tier
from billing_site.api.fields import AccountRefField, DecimalStringField, MoneyField
from catalog.models import QuotaWindow
from metering.queries.quotas import QuotaUse
from metering.queries.status import BillingStatus

STATUSES = ("missing", "incomplete", "active", "past_due", "paused", "canceled")
SETUP_COMMAND = "billing setup"


class StatusQuery(serializers.Serializer[dict[str, Any]]):
    account = AccountRefField(required=False, help_text="Id or external id; public callers default to their own.")


class QuotaUsageSerializer(serializers.Serializer[QuotaUse]):
    """How much of a quota is used."""

    feature = serializers.CharField(source="quota.feature")
    meter_event_name = serializers.CharField(source="quota.meter_event_name")
    window = serializers.ChoiceField(source="quota.window", choices=QuotaWindow.choices)
    used = DecimalStringField()
    limit = DecimalStringField(source="quota.limit")
    remaining = DecimalStringField(help_text="Never below zero.")
    exceeded = serializers.BooleanField()
    upgrade_plan_id = serializers.CharField(source="quota.upgrade_plan_id", required=False)

    def to_representation(self, instance: QuotaUse) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        return {name: value for name, value in shown.items() if name != "upgrade_plan_id" or value}


class BillingStatusSerializer(serializers.Serializer[Any]):
    """One answer for those who gate and those who show."""

    account_id = serializers.CharField()
    status = serializers.ChoiceField(choices=STATUSES)
    provider = serializers.CharField(allow_null=True, help_text="Who runs the subscription, such as stripe or local.")
    plan_id = serializers.CharField(allow_null=True)
    features = serializers.ListField(child=serializers.CharField(), help_text="Feature scopes usable now.")
    usage = QuotaUsageSerializer(many=True, help_text="Empty when no quota applies.")
    setup_required = serializers.BooleanField()
    upgrade_required = serializers.BooleanField()
    next_action = serializers.ChoiceField(
        choices=["setup_billing", "upgrade_plan"], required=False, help_text="Absent when there is nothing to do."
    )
    recommended_plan = serializers.CharField(required=False)
    command = serializers.CharField(required=False, help_text="Command that helps.")
    has_payment_method = serializers.BooleanField()
    credit_balance = MoneyField(help_text="Prepaid money available, in the account's currency.")
    tier = serializers.ChoiceField(choices=Tier.values)


def render_status(status: BillingStatus, *, tier: str) -> dict[str, Any]:
    """Return the answer: the state, and what to do next."""
    exhausted = status.exhausted
    shown: dict[str, Any] = {
        "account_id": status.account.public_id,
        "status": status.status,
        "provider": status.provider,
        "plan_id": status.plan_id,
        "features": status.features,
        "usage": status.usage,
        "setup_required": not status.is_running,
        "upgrade_required": exhausted is not None,
        "has_payment_method": status.has_payment_method,
        "credit_balance": status.credit_balance,
        "tier": tier,
    }
    if not status.is_running:
        shown |= {"next_action": "setup_billing", "command": SETUP_COMMAND}
    elif exhausted is not None:
        shown["next_action"] = "upgrade_plan"
        if exhausted.quota.upgrade_plan_id:
            shown["recommended_plan"] = exhausted.quota.upgrade_plan_id
    return dict(BillingStatusSerializer(shown).data)
