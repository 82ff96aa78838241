"""Incoming bank transfers as callers tell of them, and what became of them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.api.serializers.invoice_credit import BalanceTransactionSerializer
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import CurrencyField, MoneyField, TimestampField
from invoicing.models import TransferType


class ReconcileInput(StrictSerializer):
    """A transfer that arrived at the bank."""

    reference = serializers.CharField(max_length=1000, help_text="What the payer quoted; case and spaces are nothing.")
    amount = MoneyField(positive=True, help_text="Above zero.")
    currency = CurrencyField(default="usd")
    bank_transaction_id = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        default="",
        help_text="The bank's own id: the strongest guard against booking it twice.",
    )
    received_at = TimestampField(required=False, help_text="Left out: now.")
    apply_to_invoices = serializers.BooleanField(default=False, help_text="Settle open invoices, oldest first.")


class ReconcileSerializer(serializers.Serializer[dict[str, Any]]):
    matched = serializers.BooleanField()
    duplicate = serializers.BooleanField(help_text="The same bank transaction, or request, was booked before.")
    account_id = serializers.CharField()
    amount = MoneyField()
    currency = serializers.CharField()
    reference = serializers.CharField()
    transfer_type = serializers.ChoiceField(choices=TransferType.choices, allow_null=True)
    transaction = BalanceTransactionSerializer()
