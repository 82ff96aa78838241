"""Cost centers as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.api.serializers.ledger import ACCOUNT_HELP
from accounts.models import CostCenter
from accounts.services.cost_centers import MAX_DESCRIPTION
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, CurrencyField, MoneyField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS


class CostCenterInput(StrictSerializer):
    """What both making and replacing a center take."""

    name = serializers.CharField(max_length=255)
    code = serializers.CharField(max_length=100, help_text="What usage names it by; once per account, in any case.")
    description = serializers.CharField(required=False, allow_blank=True, max_length=MAX_DESCRIPTION)
    parent_id = serializers.CharField(required=False, allow_null=True, help_text="Left out or null: at the top.")
    budget = MoneyField(required=False, allow_null=True, help_text="Minor units per calendar month; null: no limit.")
    currency = CurrencyField(required=False, help_text="Of the budget; default: the account's.")

    def validate_parent_id(self, value: str | None) -> Any:
        """Return the key behind the id. :raises serializers.ValidationError: when it is none."""
        if value is None:
            return None
        key = CostCenter.parse_id(value)
        if key is None:
            raise serializers.ValidationError("This is not the id of a cost center.", "not_found")
        return key


class CostCenterCreateInput(CostCenterInput):
    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    is_active = serializers.BooleanField(default=True)


class CostCenterReplaceInput(CostCenterInput):
    """Description, parent and budget are emptied when left out; the currency and `is_active` stay."""

    is_active = serializers.BooleanField(required=False, help_text="Left out: as it is.")


class CostCenterQuery(serializers.Serializer[dict[str, Any]]):
    active = serializers.BooleanField(required=False, allow_null=True, default=None)
    parent_id = serializers.CharField(required=False, help_text="Only those directly below this center.")


class CostCenterSerializer(serializers.Serializer[CostCenter]):
    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    name = serializers.CharField()
    code = serializers.CharField()
    description = serializers.CharField()
    parent_id = serializers.CharField(source="parent.public_id", allow_null=True, default=None)
    budget = MoneyField(allow_null=True, help_text="Minor units of `currency` per calendar month.")
    currency = serializers.CharField()
    is_active = serializers.BooleanField()
    created_at = TimestampField()
    updated_at = TimestampField()
