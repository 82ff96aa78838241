"""Cost centers as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.api.serializers.ledger import ACCOUNT_HELP
from accounts.models import CostCenter
from accounts.services.cost_centers import MAX_DESCRIPTION
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import (
    AccountRefField,
    CurrencyField,
    DecimalStringField,
    MoneyField,
    SignedMoneyField,
    TimestampField,
)
from billing_site.api.params import ACCOUNT_SYNONYMS
from billing_site.kernel.ids import encode_id
from invoicing.queries.allocation import CenterCost, CostAllocation, MetricCost


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


class AllocationQuery(serializers.Serializer[dict[str, Any]]):
    start = serializers.DateField(required=False, help_text="First day, where the account lives.")
    end = serializers.DateField(required=False, help_text="Last day, included.")


class AllocationPeriodSerializer(serializers.Serializer[Any]):
    """A half-open period."""

    start = TimestampField()
    end = TimestampField()


class MetricCostSerializer(serializers.Serializer[MetricCost]):
    """What a center used of one meter."""

    metric_type = serializers.CharField(source="meter.event_name")
    unit = serializers.CharField(source="meter.unit")
    quantity = DecimalStringField()
    cost = SignedMoneyField()


class CenterCostSerializer(serializers.Serializer[CenterCost]):
    """One center, in minor units of the account's currency; `budget` is in the center's own."""

    cost_center_id = serializers.CharField(source="center.public_id")
    code = serializers.CharField(source="center.code")
    name = serializers.CharField(source="center.name")
    parent_id = serializers.SerializerMethodField()
    direct_cost = SignedMoneyField(source="direct")
    rolled_up_cost = SignedMoneyField(source="rolled_up", help_text="With everything below it.")
    budget = MoneyField(source="center.budget", allow_null=True, help_text="Per calendar month.")
    budget_currency = CurrencyField(source="center.currency")
    budget_used_percent = serializers.IntegerField(
        allow_null=True,
        help_text="Rolled-up cost in whole percents of the budget times the whole months of the period (at least one).",
    )
    by_metric = MetricCostSerializer(many=True)

    def get_parent_id(self, item: CenterCost) -> str | None:
        parent_id = item.center.parent_id
        return None if parent_id is None else encode_id(CostCenter.id_prefix, parent_id)


class CostAllocationSerializer(serializers.Serializer[CostAllocation]):
    """What each center costs, in the order of the tree. Direct costs and `unallocated` sum to `total`."""

    account_id = serializers.CharField(source="account.public_id")
    period = AllocationPeriodSerializer()
    items = CenterCostSerializer(many=True)
    unallocated = SignedMoneyField()
    total = SignedMoneyField()
    currency = CurrencyField()
