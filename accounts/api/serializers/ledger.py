"""Balances, movements and deposits as callers send and see them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import LedgerEntry
from accounts.queries.ledger import Balance, Movement
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

MOVEMENT_TYPES = ("deposit", "withdraw", "transfer", "hold", "hold_removed")
ACCOUNT_HELP = "Id or external id; public callers default to their own account."


class BalanceAllQuery(serializers.Serializer[dict[str, Any]]):
    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)


class BalanceQuery(BalanceAllQuery):
    currency = CurrencyField(default="usd")


class TransactionQuery(BalanceAllQuery):
    limit = serializers.IntegerField(default=100, min_value=1, max_value=1000)
    offset = serializers.IntegerField(default=0, min_value=0, max_value=2**31 - 1)
    currency = CurrencyField(required=False)


class CurrencyBalanceSerializer(serializers.Serializer[Balance]):
    currency = serializers.CharField()
    balance = SignedMoneyField(help_text="Posted; below zero when usage was charged past it.")
    holds = MoneyField()
    available = MoneyField(help_text="Balance less holds, never below zero.")


class BalanceSerializer(CurrencyBalanceSerializer):
    account_id = serializers.CharField()


class BalanceAllSerializer(serializers.Serializer[dict[str, Any]]):
    account_id = serializers.CharField()
    balances = CurrencyBalanceSerializer(many=True)


class TransactionSerializer(serializers.Serializer[Movement]):
    id = serializers.CharField()
    type = serializers.ChoiceField(choices=MOVEMENT_TYPES)
    amount = MoneyField()
    currency = serializers.CharField()
    tags = serializers.CharField()
    notes = serializers.CharField()
    metadata = MetadataField()
    created_at = TimestampField()
    expires_at = TimestampField(allow_null=True, help_text="When a deposit lapses or a hold ends.")


class TransactionPageSerializer(serializers.Serializer[dict[str, Any]]):
    transactions = TransactionSerializer(many=True, help_text="Newest first.")
    count = serializers.IntegerField(help_text="How many there are in all.")
    account_id = serializers.CharField()


class DepositInput(StrictSerializer):
    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text="Id or external id. Needed.")
    amount = MoneyField(positive=True)
    currency = CurrencyField(default="usd")
    notes = serializers.CharField(required=False, allow_blank=True, max_length=5000)
    tags = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        help_text="Separated by commas or spaces. `promotion` marks money given away, which is never paid out.",
    )
    expires_in = serializers.IntegerField(required=False, min_value=0, max_value=36_500, help_text="Days; 0 is never.")
    expires_at = TimestampField(required=False, end=True, help_text="Instead of `expires_in`.")
    metadata = MetadataField(required=False)


class WithdrawInput(StrictSerializer):
    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    amount = MoneyField(positive=True)
    currency = CurrencyField(default="usd")
    notes = serializers.CharField(required=False, allow_blank=True, max_length=5000)
    tags = serializers.CharField(required=False, allow_blank=True, max_length=255)


class RefundInput(StrictSerializer):
    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text="Id or external id. Needed.")
    amount = MoneyField(positive=True)
    currency = CurrencyField(default="usd")
    original_transaction_id = serializers.CharField(max_length=100, help_text="The movement that took too much.")
    notes = serializers.CharField(required=False, allow_blank=True, max_length=5000)


class TransactionResultSerializer(serializers.Serializer[LedgerEntry]):
    """An entry as the answer to the call that made it; `amount` and `currency` come in the context."""

    transaction_id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    amount = serializers.SerializerMethodField()
    currency = serializers.SerializerMethodField()
    type = serializers.SerializerMethodField()
    tags = serializers.CharField()
    expires_at = TimestampField(allow_null=True, help_text="When the credit lapses.")
    original_transaction_id = serializers.SerializerMethodField(help_text="Refunds only.")

    def get_amount(self, entry: LedgerEntry) -> int:
        return int(self.context["amount"])

    def get_currency(self, entry: LedgerEntry) -> str:
        return str(self.context["currency"])

    @extend_schema_field(serializers.ChoiceField(choices=("deposit", "withdraw")))
    def get_type(self, entry: LedgerEntry) -> str:
        return "withdraw" if entry.type == "withdraw" else "deposit"

    def get_original_transaction_id(self, entry: LedgerEntry) -> str | None:
        return entry.metadata.get("original_transaction_id") if entry.type == "refund" else None
