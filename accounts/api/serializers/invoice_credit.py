"""Invoice credit as callers send and see it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.api.serializers.ledger import ACCOUNT_HELP, BalanceQuery
from accounts.queries.invoice_credit import BALANCE_TRANSACTION_TYPES, BalanceTransaction
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, CurrencyField, MetadataField, SignedMoneyField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS


class CustomerBalanceQuery(BalanceQuery):
    pass


class CustomerBalanceSerializer(serializers.Serializer[dict[str, Any]]):
    account_id = serializers.CharField()
    currency = serializers.CharField()
    balance = SignedMoneyField(help_text="Positive: credit to be used on invoices.")


class AdjustmentInput(StrictSerializer):
    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text="Id or external id. Needed.")
    amount = SignedMoneyField(help_text="Above zero credits, below zero debits; never zero.")
    currency = CurrencyField(default="usd")
    description = serializers.CharField(max_length=5000, help_text="Why; kept with the entry.")
    allow_negative = serializers.BooleanField(default=False, help_text="Let the balance go below zero.")


class BalanceTransactionQuery(serializers.Serializer[dict[str, Any]]):
    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    type = serializers.ChoiceField(choices=BALANCE_TRANSACTION_TYPES, required=False)
    invoice_id = serializers.CharField(required=False, max_length=100)
    currency = CurrencyField(required=False)


class BalanceTransactionSerializer(serializers.Serializer[BalanceTransaction]):
    id = serializers.CharField()
    account_id = serializers.CharField()
    amount = SignedMoneyField(help_text="Above zero is credit.")
    currency = serializers.CharField()
    type = serializers.ChoiceField(choices=BALANCE_TRANSACTION_TYPES)
    description = serializers.CharField()
    ending_balance = SignedMoneyField(help_text="The balance after this movement.")
    invoice_id = serializers.CharField(allow_null=True)
    credit_note_id = serializers.CharField(allow_null=True)
    source_ref = serializers.CharField(help_text="What caused it: the key of the ledger entry.")
    metadata = MetadataField()
    created_at = TimestampField()
