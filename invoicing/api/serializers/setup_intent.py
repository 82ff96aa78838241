"""Setups as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, MetadataField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS
from invoicing.models import SetupIntent, SetupStatus, SetupUsage

_ACCOUNT_HELP = "Id or external id; default: the caller's own."
_METHOD_HELP = "Id of an attached payment method, or the provider's reference of a new one."


class SetupIntentInput(StrictSerializer):
    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text=_ACCOUNT_HELP)
    payment_method_id = serializers.CharField(required=False, max_length=255, help_text=_METHOD_HELP)
    usage = serializers.ChoiceField(choices=SetupUsage.choices, default=SetupUsage.OFF_SESSION)
    metadata = MetadataField(required=False)


class SetupIntentConfirmInput(StrictSerializer):
    payment_method_id = serializers.CharField(required=False, max_length=255, help_text=_METHOD_HELP)


class SetupIntentCancelInput(StrictSerializer):
    cancellation_reason = serializers.CharField(required=False, allow_blank=True, max_length=255)


class SetupIntentSerializer(serializers.Serializer[SetupIntent]):
    """`client_secret` is for the owner in a browser, `provider_ref` for internal callers: the view says who asks."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    status = serializers.ChoiceField(choices=SetupStatus.choices)
    usage = serializers.ChoiceField(choices=SetupUsage.choices)
    payment_method_id = serializers.CharField(source="payment_method.public_id", default=None, allow_null=True)
    client_secret = serializers.CharField(required=False, help_text="To the owner only, while it is not done.")
    provider_ref = serializers.CharField(required=False, help_text="Internal callers only.")
    last_error = serializers.CharField(help_text="One sentence; empty for none.")
    cancellation_reason = serializers.CharField()
    canceled_at = TimestampField(allow_null=True)
    metadata = MetadataField()
    created_at = TimestampField()

    def to_representation(self, instance: SetupIntent) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        if not self.context.get("is_internal"):
            del shown["provider_ref"]
        if not self.context.get("is_owner") or instance.status in (SetupStatus.SUCCEEDED, SetupStatus.CANCELED):
            del shown["client_secret"]
        return shown
