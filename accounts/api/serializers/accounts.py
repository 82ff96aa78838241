"""Accounts and members as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.models import MAX_GRACE_HOURS, Account, AccountStatus, InvoiceGrouping, Member, MemberRole, Tier
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import CurrencyField, MetadataField, MoneyField, TimestampField


class AddressInput(StrictSerializer):
    """Parts that are left out stay as they are."""

    line1 = serializers.CharField(required=False, allow_blank=True, max_length=255)
    line2 = serializers.CharField(required=False, allow_blank=True, max_length=255)
    city = serializers.CharField(required=False, allow_blank=True, max_length=100)
    state = serializers.CharField(
        required=False, allow_blank=True, max_length=100, help_text="Region or province code."
    )
    postal_code = serializers.CharField(required=False, allow_blank=True, max_length=20)
    country = serializers.CharField(required=False, allow_blank=True, max_length=2, help_text="ISO 3166-1 alpha-2.")


class ProfileInput(StrictSerializer):
    """What both opening and changing an account take."""

    email = serializers.EmailField(required=False, allow_blank=True, max_length=254)
    phone = serializers.CharField(required=False, allow_blank=True, max_length=50)
    company = serializers.CharField(required=False, allow_blank=True, max_length=255)
    address = AddressInput(required=False)
    tax_id = serializers.CharField(
        required=False, allow_blank=True, max_length=50, help_text="Form and check digits are those of the country."
    )
    timezone = serializers.CharField(
        required=False,
        max_length=64,
        help_text="IANA zone whose midnights bound periods; UTC unless given, fixed while a subscription runs in it.",
    )
    language = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=35,
        help_text="Of its documents and mails: a tag such as de or en-GB. Words are in en or de, numbers and dates in"
        " the whole tag. Empty: the seller's.",
    )
    split_by_cost_center = serializers.BooleanField(
        required=False, help_text="Invoices show usage lines in parts, one for each cost center. Default false."
    )
    metadata = MetadataField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Lift the parts of the address to where the account keeps them."""
        return {**{name: value for name, value in attrs.items() if name != "address"}, **attrs.get("address", {})}


class AccountCreateInput(ProfileInput):
    name = serializers.CharField(max_length=255)
    external_id = serializers.CharField(
        required=False, max_length=255, help_text="Unique handle; public callers default to their token's subject."
    )
    org_id = serializers.CharField(required=False, max_length=100)
    currency = CurrencyField(default="usd")
    owner_user_id = serializers.CharField(required=False, max_length=255, help_text="Internal callers only.")


class AccountUpdateInput(ProfileInput):
    needs_one = True

    name = serializers.CharField(required=False, max_length=255)
    currency = CurrencyField(
        required=False, help_text="Fixed once money was booked, or while a subscription runs in it."
    )
    tier = serializers.ChoiceField(required=False, choices=Tier.choices, help_text="Internal callers only.")
    invoice_grouping = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        choices=InvoiceGrouping.choices,
        help_text="Whether its subscriptions that fall due together share an invoice; empty: as its seller's. Internal"
        " callers only.",
    )
    grace_hours = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=MAX_GRACE_HOURS,
        help_text="How long invoices of the cycle stay drafts; null: as its seller's. Internal callers only.",
    )
    billing_threshold = MoneyField(
        required=False,
        allow_null=True,
        positive=True,
        help_text="Where subscriptions without one of their own are invoiced early, minor units of the account's"
        " currency. Internal callers only.",
    )


class AccountQuery(serializers.Serializer[dict[str, Any]]):
    external_id = serializers.CharField(required=False, max_length=255, help_text="Exact match, in any case.")
    org_id = serializers.CharField(required=False, max_length=100)
    email = serializers.EmailField(required=False, max_length=254)
    status = serializers.ChoiceField(required=False, choices=AccountStatus.choices)


class AddressSerializer(serializers.Serializer[Account]):
    line1 = serializers.CharField()
    line2 = serializers.CharField()
    city = serializers.CharField()
    state = serializers.CharField()
    postal_code = serializers.CharField()
    country = serializers.CharField()


class AccountSerializer(serializers.Serializer[Account]):
    id = serializers.CharField(source="public_id")
    external_id = serializers.CharField(allow_null=True)
    org_id = serializers.CharField()
    org_name = serializers.CharField()
    name = serializers.CharField()
    email = serializers.CharField()
    phone = serializers.CharField()
    company = serializers.CharField()
    address = AddressSerializer(source="*")
    tax_id = serializers.CharField()
    currency = serializers.CharField()
    timezone = serializers.CharField()
    language = serializers.CharField(help_text="Of its documents and mails, such as de; empty: the seller's.")
    tier = serializers.ChoiceField(choices=Tier.choices)
    status = serializers.ChoiceField(choices=AccountStatus.choices)
    role = serializers.ChoiceField(
        choices=MemberRole.choices,
        source="caller_role",
        required=False,
        help_text="The caller's own role; absent for internal callers.",
    )
    split_by_cost_center = serializers.BooleanField()
    invoice_grouping = serializers.ChoiceField(
        choices=InvoiceGrouping.choices, allow_blank=True, help_text="Empty: as its seller's."
    )
    grace_hours = serializers.IntegerField(allow_null=True, help_text="Null: as its seller's.")
    billing_threshold = MoneyField(allow_null=True)
    metadata = MetadataField()
    created_at = TimestampField()
    updated_at = TimestampField()

    def to_representation(self, instance: Account) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        if shown.get("role") is None:
            shown.pop("role", None)
        return shown


class MemberAddInput(StrictSerializer):
    user_id = serializers.CharField(required=False, max_length=255, help_text="Token subject; this or `email`.")
    email = serializers.EmailField(required=False, max_length=254)
    name = serializers.CharField(required=False, allow_blank=True, max_length=255)
    role = serializers.ChoiceField(choices=MemberRole.choices, default=MemberRole.MEMBER)


class MemberRoleInput(StrictSerializer):
    role = serializers.ChoiceField(choices=MemberRole.choices)


class MemberSerializer(serializers.Serializer[Member]):
    id = serializers.CharField(source="public_id")
    user_id = serializers.CharField()
    email = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=MemberRole.choices)
    added_at = TimestampField()
