"""Credit grants and balances as callers send and see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from accounts.api.serializers.durations import DurationField
from accounts.api.serializers.ledger import ACCOUNT_HELP
from accounts.models import CreditGrant
from accounts.queries.credit_grants import CreditAvailable
from accounts.terms.burning import is_usable
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, CurrencyField, MetadataField, MoneyField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS
from billing_site.kernel import clock


class CreditGrantInput(StrictSerializer):
    """Credit to give to an account."""

    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text="Id or external id. Needed.")
    name = serializers.CharField(required=False, allow_blank=True, max_length=255)
    amount_cents = MoneyField(positive=True, help_text="Minor units of the currency.")
    currency = CurrencyField(default="usd")
    expires_in = DurationField(required=False, help_text="`720h`, `90m` or ISO 8601 `P30D`, from its start.")
    expires_at = TimestampField(required=False, end=True, help_text="Instead of `expires_in`.")
    effective_at = TimestampField(required=False, help_text="When it can be used. Default: now.")
    priority = serializers.IntegerField(
        default=0, min_value=-1_000_000, max_value=1_000_000, help_text="Lower burns first."
    )
    eligibility = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        max_length=100,
        help_text="Meters (id or event name) whose usage alone it pays; empty: every line and tax.",
    )
    tags = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        help_text="Separated by commas or spaces. `paid` or `purchased` marks credit that was paid for.",
    )
    metadata = MetadataField(required=False)


class CreditGrantVoidInput(StrictSerializer):
    """Why credit is taken back."""

    reason = serializers.CharField(required=False, allow_blank=True, max_length=500)


class SubscriptionCreditInput(StrictSerializer):
    """Credit for the next invoices of a subscription."""

    amount = MoneyField(positive=True)
    currency = CurrencyField(required=False, help_text="Default: that of the subscription.")
    reason = serializers.CharField(max_length=500)
    expires_at = TimestampField(required=False, end=True)


class StarterCreditInput(StrictSerializer):
    """Who claims."""

    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)


class CreditBalanceQuery(serializers.Serializer[dict[str, Any]]):
    """Whose credit."""

    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)


class CreditGrantQuery(CreditBalanceQuery):
    """What grants are filtered by."""

    active = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Only usable ones, or only the others."
    )
    tags = serializers.CharField(required=False, max_length=255, help_text="Exactly these.")


class CreditGrantSerializer(serializers.Serializer[CreditGrant]):
    """Credit of an account. It can be used in `[effective_at, expires_at)` until it is spent or void."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    subscription_id = serializers.CharField(
        source="subscription_public_id", allow_null=True, help_text="The only subscription it pays for."
    )
    name = serializers.CharField()
    amount_cents = MoneyField(source="amount")
    remaining_cents = MoneyField(source="remaining")
    currency = serializers.CharField()
    priority = serializers.IntegerField(help_text="Lower burns first.")
    promotional = serializers.BooleanField(help_text="Given away; burns before what was paid for.")
    effective_at = TimestampField()
    expires_at = TimestampField(allow_null=True)
    eligibility = serializers.SerializerMethodField(help_text="Meter ids; empty: every meter, fees and tax.")
    tags = serializers.CharField()
    voided = serializers.BooleanField(source="is_voided")
    active = serializers.SerializerMethodField(help_text="Whether it can pay now.")
    metadata = MetadataField()
    created_at = TimestampField()

    def get_eligibility(self, grant: CreditGrant) -> list[str]:
        return [limit.meter.public_id for limit in grant.limits.all()]

    def get_active(self, grant: CreditGrant) -> bool:
        at: datetime = clock.now(grant.account)
        return is_usable(grant.as_burnable(), at)


class CurrencyCreditSerializer(serializers.Serializer[CreditAvailable]):
    """Usable credit in one currency."""

    currency = serializers.CharField()
    available = MoneyField()


class CreditBalanceSerializer(serializers.Serializer[dict[str, Any]]):
    """Usable credit per currency."""

    account_id = serializers.CharField()
    balances = CurrencyCreditSerializer(many=True)


class CreditGroupSerializer(serializers.Serializer[dict[str, Any]]):
    """Usable credit of one tag."""

    cents = MoneyField()
    currency = serializers.CharField()
    expires_at = TimestampField(allow_null=True, help_text="The earliest end in the group.")


class CreditTotalSerializer(serializers.Serializer[dict[str, Any]]):
    """All usable credit in the account's currency."""

    cents = MoneyField()
    currency = serializers.CharField()


class CreditBreakdownSerializer(serializers.Serializer[dict[str, Any]]):
    """Usable credit by tag."""

    account_id = serializers.CharField()
    breakdown = serializers.DictField(
        child=CreditGroupSerializer(),
        help_text="By tag, `other` when untagged. Credit in another currency than the account's has the currency "
        "behind its tag: `trial:eur`.",
    )
    total = CreditTotalSerializer()
