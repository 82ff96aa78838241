"""Payouts as the API takes and shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.models import Account, PaymentMethod
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, CurrencyField, MetadataField, MoneyField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS
from billing_site.kernel.ids import encode_id
from invoicing.models import DestinationType, Payout, PayoutStatus


class PayoutInput(StrictSerializer):
    """Money to send to a verified payment method."""

    also_known = ACCOUNT_SYNONYMS

    amount = MoneyField(positive=True, help_text="Above zero.")
    currency = CurrencyField(default="usd")
    destination_type = serializers.ChoiceField(choices=DestinationType.choices)
    destination_id = serializers.CharField(max_length=100, help_text="A verified payment method of the payee.")
    account = AccountRefField(required=False, help_text="The payee. Left out: we pay out to ourselves.")
    description = serializers.CharField(required=False, allow_blank=True, max_length=500, default="")
    metadata = MetadataField(required=False)


class PayoutQuery(serializers.Serializer[dict[str, Any]]):
    account = AccountRefField(required=False, help_text="Id or external id of the payee.")
    status = serializers.ChoiceField(choices=PayoutStatus.choices, required=False)


class PayoutSerializer(serializers.Serializer[Payout]):
    id = serializers.CharField(source="public_id")
    account_id = serializers.SerializerMethodField()
    amount = MoneyField()
    currency = serializers.CharField()
    destination_type = serializers.ChoiceField(choices=DestinationType.choices)
    destination_id = serializers.SerializerMethodField()
    status = serializers.ChoiceField(choices=PayoutStatus.choices)
    description = serializers.CharField()
    provider_ref = serializers.CharField()
    failure_code = serializers.CharField()
    failure_message = serializers.CharField()
    arrival_date = serializers.DateField(allow_null=True)
    metadata = MetadataField()
    created_at = TimestampField()

    def get_account_id(self, payout: Payout) -> str | None:
        return None if payout.account_id is None else encode_id(Account.id_prefix, payout.account_id)

    def get_destination_id(self, payout: Payout) -> str | None:
        return None if payout.destination_id is None else encode_id(PaymentMethod.id_prefix, payout.destination_id)
