"""Calls that are charged when they happen."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.models import LedgerEntry
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import (
    AccountRefField,
    CurrencyField,
    MetadataField,
    MoneyField,
    SignedMoneyField,
    TimestampField,
)
from billing_site.api.params import ACCOUNT_SYNONYMS

MAX_TOKENS = 2**53 - 1
MAX_REQUEST_ID = 200


def _tokens(**options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MAX_TOKENS, **options)


def _text(max_length: int, **options: Any) -> serializers.CharField:
    return serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=max_length, **options)


class UsageChargeInput(StrictSerializer):
    """A call whose cost is known."""

    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text="Id or external id. Needed.")
    amount = SignedMoneyField(required=False, allow_null=True, help_text="Zero or less means nothing to charge.")
    currency = CurrencyField(default="usd")
    model = _text(255)
    provider = _text(255, help_text="Upstream that did the work.")
    prompt_tokens = _tokens()
    completion_tokens = _tokens()
    total_tokens = _tokens(help_text="Default: prompt and completion tokens together.")
    request_id = _text(MAX_REQUEST_ID, help_text="A repeat answers the first charge. Unique over all accounts.")
    premium = serializers.BooleanField(required=False, allow_null=True)
    stream = serializers.BooleanField(required=False, allow_null=True)
    status = _text(50)
    client_ip = _text(100, help_text="Kept for 30 days only.")


class UsageChargeSerializer(serializers.Serializer[dict[str, Any]]):
    """What was taken."""

    transaction_id = serializers.CharField(required=False, help_text="Absent when skipped.")
    account_id = serializers.CharField()
    amount = MoneyField()
    currency = serializers.CharField()
    type = serializers.ChoiceField(choices=["withdraw"])
    daily_credit_used = MoneyField(help_text="The part that the tier's daily credit covered.")
    status = serializers.ChoiceField(choices=["recorded", "skipped", "duplicate"])


class UsageTransactionQuery(serializers.Serializer[dict[str, Any]]):
    account = AccountRefField(required=False, help_text="Id or external id; public callers default to their own.")
    currency = CurrencyField(required=False)
    cursor = serializers.CharField(required=False, help_text="The `next_cursor` of the page before.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=200, default=50, help_text="Page size.")


class UsageTransactionSerializer(serializers.Serializer[LedgerEntry]):
    """What one charged call took."""

    transaction_id = serializers.CharField(source="public_id")
    amount = serializers.SerializerMethodField(help_text="Minor units.")
    currency = serializers.SerializerMethodField()
    notes = serializers.CharField(source="description")
    metadata = MetadataField()
    created_at = TimestampField()

    def get_amount(self, entry: Any) -> int:
        return sum(leg.amount for leg in entry.taken)

    def get_currency(self, entry: Any) -> str:
        return str(entry.taken[0].currency)


class UsageTransactionListSerializer(serializers.Serializer[dict[str, Any]]):
    account_id = serializers.CharField()
    count = serializers.IntegerField(help_text="How many there are in all.")
    usage = UsageTransactionSerializer(many=True, help_text="Newest first.")
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()
