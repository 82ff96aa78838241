"""Bank transfers as the API takes and shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.models import Account
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, CurrencyField, MetadataField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS
from billing_site.kernel.ids import encode_id
from invoicing.models import BankTransferInstruction, InstructionStatus, TransferType


class BankInstructionInput(StrictSerializer):
    """Bank details to issue; the account number is given whole and kept as its last four characters."""

    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text="Id or external id. Needed.")
    currency = CurrencyField(default="usd")
    type = serializers.ChoiceField(choices=TransferType.choices)
    bank_name = serializers.CharField(max_length=255)
    account_holder = serializers.CharField(required=False, allow_blank=True, max_length=255, default="")
    account_number = serializers.CharField(max_length=60, help_text="Only the last four characters are kept.")
    routing_number = serializers.CharField(required=False, allow_blank=True, max_length=40, default="")
    iban = serializers.CharField(required=False, allow_blank=True, max_length=60, default="")
    bic = serializers.CharField(required=False, allow_blank=True, max_length=20, default="")
    metadata = MetadataField(required=False)


class BankInstructionQuery(serializers.Serializer[dict[str, Any]]):
    account = AccountRefField(required=False, help_text="Id or external id of the account.")
    status = serializers.ChoiceField(choices=InstructionStatus.choices, required=False)


class BankInstructionSerializer(serializers.Serializer[BankTransferInstruction]):
    id = serializers.CharField(source="public_id")
    account_id = serializers.SerializerMethodField()
    reference = serializers.CharField(help_text="8 hex characters the payer quotes.")
    currency = serializers.CharField()
    type = serializers.ChoiceField(choices=TransferType.choices)
    bank_name = serializers.CharField()
    account_holder = serializers.CharField()
    account_number = serializers.CharField(help_text="Masked: **** and the last four characters.")
    routing_number = serializers.CharField()
    iban = serializers.CharField()
    bic = serializers.CharField()
    status = serializers.ChoiceField(choices=InstructionStatus.choices)
    metadata = MetadataField()
    created_at = TimestampField()
    updated_at = TimestampField()

    def get_account_id(self, instruction: BankTransferInstruction) -> str:
        return encode_id(Account.id_prefix, instruction.account_id)
