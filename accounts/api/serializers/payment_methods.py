"""Payment methods as callers send and see them: display data only, never a card number."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from accounts.api.serializers.accounts import AddressInput
from accounts.api.serializers.ledger import ACCOUNT_HELP
from accounts.models import PaymentMethod, PaymentMethodType
from accounts.queries.snapshots import ADDRESS_FIELDS
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, MetadataField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS

_FUNDINGS = ("credit", "debit", "prepaid", "unknown")


class CardInput(StrictSerializer):
    """What may be shown of a card; the provider's own words win where it has them."""

    brand = serializers.CharField(required=False, max_length=30)
    last4 = serializers.RegexField(r"^[0-9]{4}$", required=False, help_text="The last four digits.")
    exp_month = serializers.IntegerField(required=False, min_value=1, max_value=12)
    exp_year = serializers.IntegerField(required=False, min_value=2000, max_value=2100)
    funding = serializers.ChoiceField(choices=_FUNDINGS, required=False)
    country = serializers.RegexField(r"^[A-Za-z]{2}$", required=False, help_text="Of the bank; ISO 3166-1 alpha-2.")


class BankAccountInput(StrictSerializer):
    bank_name = serializers.CharField(required=False, max_length=100)
    last4 = serializers.RegexField(r"^[0-9A-Za-z]{4}$", required=False, help_text="The last four characters.")
    account_type = serializers.CharField(required=False, max_length=30, help_text="Such as checking or savings.")


class PaymentMethodCreateInput(StrictSerializer):
    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    type = serializers.ChoiceField(choices=PaymentMethodType.choices, default=PaymentMethodType.CARD)
    provider_ref = serializers.CharField(
        required=False, max_length=255, help_text="Token or reference from the provider; needed but for the balance."
    )
    provider_type = serializers.CharField(
        required=False, max_length=20, help_text="The payment provider; default: the configured one."
    )
    card = CardInput(required=False, help_text="Display data only.")
    bank_account = BankAccountInput(required=False, help_text="Display data only.")
    billing_address = AddressInput(required=False)
    metadata = MetadataField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse display data of another type than the method's."""
        wrong = [
            name
            for name in (PaymentMethodType.CARD, PaymentMethodType.BANK_ACCOUNT)
            if attrs.get(name) and attrs["type"] != name
        ]
        if wrong:
            raise serializers.ValidationError(
                {name: ErrorDetail(f"This is no {name}.", "not_applicable") for name in wrong}
            )
        return attrs


class PaymentMethodUpdateInput(StrictSerializer):
    needs_one = True

    billing_address = AddressInput(required=False)
    metadata = MetadataField(required=False, help_text="Replaces what was there.")


class DefaultPaymentMethodInput(StrictSerializer):
    payment_method_id = serializers.CharField(max_length=100)


class PaymentMethodQuery(serializers.Serializer[dict[str, Any]]):
    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    type = serializers.ChoiceField(required=False, choices=PaymentMethodType.choices)


class DetachQuery(serializers.Serializer[dict[str, Any]]):
    force = serializers.BooleanField(
        default=False, help_text="Also the only method of a paying account. Internal callers only."
    )
    new_default = serializers.CharField(
        required=False, max_length=100, help_text="Which method becomes the default; else the newest that is left."
    )


class CardSerializer(serializers.Serializer[dict[str, Any]]):
    brand = serializers.CharField(required=False)
    last4 = serializers.CharField(required=False)
    exp_month = serializers.IntegerField(required=False)
    exp_year = serializers.IntegerField(required=False)
    funding = serializers.CharField(required=False)
    country = serializers.CharField(required=False)


class BankAccountSerializer(serializers.Serializer[dict[str, Any]]):
    bank_name = serializers.CharField(required=False)
    last4 = serializers.CharField(required=False)
    account_type = serializers.CharField(required=False)


class BillingAddressSerializer(serializers.Serializer[dict[str, Any]]):
    line1 = serializers.CharField()
    line2 = serializers.CharField()
    city = serializers.CharField()
    state = serializers.CharField()
    postal_code = serializers.CharField()
    country = serializers.CharField()

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        return {name: instance.get(name, "") for name in ADDRESS_FIELDS}


class PaymentMethodSerializer(serializers.Serializer[PaymentMethod]):
    """`provider_ref` is for internal callers: the view says `is_internal` in the context."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    type = serializers.ChoiceField(choices=PaymentMethodType.choices)
    is_default = serializers.BooleanField()
    name = serializers.CharField(help_text="How people tell it from others.")
    card = CardSerializer(allow_null=True)
    bank_account = BankAccountSerializer(allow_null=True)
    billing_address = BillingAddressSerializer()
    provider_type = serializers.CharField()
    provider_ref = serializers.CharField(required=False, help_text="Internal callers only.")
    metadata = MetadataField()
    created_at = TimestampField()

    def to_representation(self, instance: PaymentMethod) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        for name in (PaymentMethodType.CARD, PaymentMethodType.BANK_ACCOUNT):
            if instance.type != name:
                shown[name] = None
        if not self.context.get("is_internal"):
            del shown["provider_ref"]
        return shown
