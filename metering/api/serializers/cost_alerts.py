"""Cost alerts and spend alerts as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, CurrencyField, DecimalStringField, MoneyField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS
from metering.models import AlertStatus, CostAlert, ThresholdType

_MAX_TITLE = 255
_ACCOUNT_HELP = "Id or external id; public callers default to their own account."


class CostAlertInput(StrictSerializer):
    """What to be told about, and how."""

    threshold_type = serializers.ChoiceField(choices=ThresholdType.values, default=ThresholdType.ABSOLUTE)
    threshold_amount = MoneyField(
        required=False, allow_null=True, positive=True, help_text="For absolute and daily_rate. Minor units."
    )
    threshold_percent = DecimalStringField(
        required=False, allow_null=True, help_text="For percentage_of_budget, and for anomaly: 200 unless given."
    )
    currency = CurrencyField(required=False, help_text="Default: the account's.")
    notify_email = serializers.EmailField(required=False, allow_null=True, allow_blank=True, max_length=254)
    notify_slack = serializers.BooleanField(default=False, help_text="Also tell the chat room of the installation.")


class CostAlertQuery(serializers.Serializer[dict[str, Any]]):
    status = serializers.ChoiceField(choices=AlertStatus.values, required=False)


class _AlertSerializer(serializers.Serializer[CostAlert]):
    """`at` in the context is the account's present: what fired in an earlier period has not fired in this one."""

    def to_representation(self, instance: CostAlert) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        status = instance.get_status(self.context["at"])
        if status == AlertStatus.ARMED:
            shown |= {name: None for name in ("triggered_at", "triggered_value") if name in shown}
        if "status" in shown:
            shown["status"] = str(status)
        return shown


class CostAlertSerializer(_AlertSerializer):
    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    threshold_type = serializers.ChoiceField(choices=ThresholdType.values)
    threshold_amount = MoneyField(allow_null=True, help_text="Of absolute and daily_rate. Minor units.")
    threshold_percent = DecimalStringField(allow_null=True, help_text="Of percentage_of_budget and anomaly.")
    currency = serializers.CharField()
    notify_email = serializers.CharField()
    notify_slack = serializers.BooleanField()
    status = serializers.ChoiceField(choices=AlertStatus.values)
    triggered_at = TimestampField(allow_null=True, help_text="Null: has not fired in the running period.")
    triggered_value = MoneyField(allow_null=True, help_text="The cost at which it fired. Minor units.")
    created_at = TimestampField()


class SpendAlertQuery(serializers.Serializer[dict[str, Any]]):
    account = AccountRefField(required=False, help_text=_ACCOUNT_HELP)


class SpendAlertInput(StrictSerializer):
    """An amount of a UTC calendar month to be told about."""

    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text=_ACCOUNT_HELP)
    title = serializers.CharField(required=False, allow_blank=True, max_length=_MAX_TITLE)
    threshold = MoneyField(positive=True)
    currency = CurrencyField(default="usd")


class SpendAlertChange(StrictSerializer):
    """Another threshold arms the alert again."""

    needs_one = True

    title = serializers.CharField(required=False, allow_blank=True, max_length=_MAX_TITLE)
    threshold = MoneyField(required=False, positive=True)


class SpendAlertSerializer(_AlertSerializer):
    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    title = serializers.CharField()
    threshold = MoneyField(source="threshold_amount")
    currency = serializers.CharField()
    triggered_at = TimestampField(allow_null=True, help_text="Null: has not fired in this month.")
    created_at = TimestampField()
    updated_at = TimestampField()
