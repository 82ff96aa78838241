"""Quotas as callers send and see them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from rest_framework import serializers

from accounts.models import Account
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, ContractField, DecimalStringField, TimestampField, format_instant
from billing_site.api.params import ACCOUNT_SYNONYMS
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.ids import encode_id
from catalog.documents.vocabulary import WINDOW_ALIASES
from catalog.models import QuotaWindow
from metering.queries.quotas import QuotaUse
from metering.rating import UnitNotConvertible, convert_quantity
from metering.rating.quotas import LEVELS
from metering.services.quotas import MAX_RECIPIENTS

# What callers call the columns of a quota.
COLUMNS: Final = {
    "quota_limit": "limit",
    "warning_threshold_percent": "warning_percent",
    "enforce_hard_limit": "is_hard",
    "upgrade_plan_id": "upgrade_plan_key",
}
_DECIMAL: Final = DecimalStringField()


class WindowField(ContractField, serializers.Field[str, Any, str, Any]):
    """A window in any of its words; the plain one out."""

    default_error_messages = {"invalid_choice": "There is no window {given}; one of: " + ", ".join(QuotaWindow.values)}

    def to_internal_value(self, data: Any) -> str:
        window = WINDOW_ALIASES.get(data.strip().lower()) if isinstance(data, str) else None
        if window is None:
            self.fail("invalid_choice", given=repr(str(data)[:50]))
        return window

    def to_representation(self, value: str) -> str:
        return value

    def get_openapi(self, *, output: bool) -> dict[str, Any]:
        return {"type": "string", "enum": list(QuotaWindow.values) if output else sorted(WINDOW_ALIASES)}


class LimitField(DecimalStringField):
    """Zero or more; -1 and null are no limit."""

    default_error_messages = {"negative": "A limit is zero or more; -1 or null is unlimited."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        value = super().to_internal_value(data)
        if value < 0 and value != -1:
            self.fail("negative")
        return value


class QuotaInput(StrictSerializer):
    """What both making and replacing a quota take."""

    quota_limit = LimitField(help_text="In `unit`. -1 or null: unlimited.")
    resource_name = serializers.CharField(required=False, allow_blank=True, max_length=255)
    unit = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=50,
        help_text="Default: the resource's.",
    )
    window = WindowField(required=False)
    warning_threshold_percent = DecimalStringField(required=False, help_text="Above 0, at most 100; 80 at first.")
    enforce_hard_limit = serializers.BooleanField(required=False, help_text="False: warns, and never blocks.")
    overage_price = DecimalStringField(
        required=False, allow_null=True, minimum=0, help_text="Minor units per unit, kept with the quota for display."
    )
    upgrade_plan_id = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=100)
    alert_recipients = serializers.ListField(
        required=False, child=serializers.EmailField(max_length=254), max_length=MAX_RECIPIENTS
    )
    is_active = serializers.BooleanField(required=False)

    def to_columns(self) -> dict[str, Any]:
        """Return what was given, under the names of the columns."""
        values = {COLUMNS.get(name, name): value for name, value in self.validated_data.items()}
        for name in ("upgrade_plan_key", "feature"):
            if name in values:
                values[name] = values[name] or ""
        return values


class QuotaCreateInput(QuotaInput):
    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text="Id or external id.")
    resource_type = serializers.CharField(
        max_length=100, help_text="One of the fixed resource types, a service name or a meter's event name."
    )
    feature = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=100, help_text="Scope that it limits."
    )
    window = WindowField(default=QuotaWindow.BILLING_PERIOD)


class QuotaReplaceInput(QuotaInput):
    """What is left out stays as it is; the limit must be given."""


class QuotaListQuery(serializers.Serializer[dict[str, Any]]):
    service = serializers.CharField(required=False, max_length=100, help_text="Resource type, service or event name.")
    window = WindowField(required=False)
    source = serializers.ChoiceField(choices=["account", "plan"], required=False)  # type: ignore[assignment]


class QuotaCheckQuery(serializers.Serializer[dict[str, Any]]):
    resource_type = serializers.CharField(required=False, max_length=100)
    service = serializers.CharField(required=False, max_length=100, help_text="Another word for resource_type.")
    feature = serializers.CharField(required=False, max_length=100)
    requested = DecimalStringField(default=Decimal(0), minimum=0, help_text="Quantity about to be used.")
    unit = serializers.CharField(required=False, max_length=50, help_text="Of `requested`; default: the meter's.")
    alerts_only = serializers.BooleanField(default=False, help_text="Only items at warning or worse.")


class AccountQuotaSerializer(serializers.Serializer[QuotaUse]):
    """A limit in force, or one of the account's own that is switched off. Quantities are in `unit`."""

    id = serializers.CharField(source="quota.public_id")
    account_id = serializers.SerializerMethodField()
    resource_type = serializers.CharField(source="quota.resource_type")
    resource_name = serializers.CharField(source="quota.resource_name")
    meter_event_name = serializers.CharField(source="quota.meter_event_name")
    feature = serializers.CharField(source="quota.feature")
    quota_limit = DecimalStringField(source="quota.stated_limit", allow_null=True, help_text="Null: unlimited.")
    current_usage = serializers.SerializerMethodField()
    reserved = serializers.SerializerMethodField()
    unit = serializers.CharField(source="quota.stated_unit")
    window = WindowField(source="quota.window")
    warning_threshold_percent = DecimalStringField(source="quota.warning_percent")
    enforce_hard_limit = serializers.BooleanField(source="quota.is_hard")
    overage_price = DecimalStringField(source="quota.overage_price", allow_null=True)
    upgrade_plan_id = serializers.CharField(
        source="quota.upgrade_plan_id", help_text="Configured, else the cheapest plan that allows more; may be empty."
    )
    alert_recipients = serializers.ListField(source="quota.alert_recipients", child=serializers.EmailField())
    is_active = serializers.BooleanField(source="quota.is_active")
    source = serializers.ChoiceField(source="quota.source", choices=["account", "plan"])  # type: ignore[assignment]
    created_at = TimestampField(source="quota.created_at")
    updated_at = TimestampField(source="quota.updated_at")

    def get_account_id(self, use: QuotaUse) -> str:
        return encode_id(Account.id_prefix, use.quota.account_id)

    def get_current_usage(self, use: QuotaUse) -> str:
        """What the present bucket counts, in `unit`."""
        return _restate(use, use.used)

    def get_reserved(self, use: QuotaUse) -> str:
        """What open reservations hold, in `unit`."""
        return _restate(use, use.reserved)


def _restate(use: QuotaUse, quantity: Decimal) -> str:
    try:
        shown = convert_quantity(quantity, unit=use.quota.unit, target=use.quota.stated_unit)
    except UnitNotConvertible:  # the catalog gave the meter another unit since
        shown = quantity
    return _DECIMAL.to_representation(shown)


class QuotaCheckItemSerializer(serializers.Serializer[Any]):
    """One limit against use, in the meter's `unit`."""

    quota_id = serializers.CharField()
    source = serializers.ChoiceField(choices=["account", "plan"])  # type: ignore[assignment]
    resource_type = serializers.CharField()
    service = serializers.CharField(help_text="Event name of the meter.")
    feature = serializers.CharField()
    unit = serializers.CharField()
    window = WindowField()
    limit = DecimalStringField(allow_null=True)
    unlimited = serializers.BooleanField()
    used = DecimalStringField()
    reserved = DecimalStringField(help_text="Held by open reservations; counts as used for `allowed`.")
    requested = DecimalStringField()
    remaining = DecimalStringField(allow_null=True, help_text="Of neither use nor reservations; null: unlimited.")
    utilization_percent = serializers.IntegerField(help_text="Use as a share of the limit, cut to an integer.")
    status = serializers.ChoiceField(choices=list(LEVELS))
    mode = serializers.ChoiceField(choices=["soft", "hard"])
    allowed = serializers.BooleanField()
    resets_at = TimestampField(allow_null=True, help_text="Null: never.")
    upgrade_plan_id = serializers.CharField()


class QuotaCheckSerializer(serializers.Serializer[Any]):
    """Whether a quantity fits every hard limit. The gate that answers 429 is the caller."""

    account_id = serializers.CharField()
    allowed = serializers.BooleanField(help_text="False when any hard quota would be passed.")
    items = QuotaCheckItemSerializer(many=True)


def render_check(
    account: Account, uses: Iterable[QuotaUse], *, requested: Decimal, unit: str, alerts_only: bool
) -> dict[str, Any]:
    """
    Return the answer about `requested` of `unit` (empty: of each meter's own) against all `uses`.

    :raises ValidationFailed: when the unit does not convert to that of a meter.
    """
    allowed, items = True, []
    for use in uses:
        quantity = _convert_requested(requested, unit, use)
        fits = not use.stops(quantity)
        allowed = allowed and fits
        if not alerts_only or use.level != "ok":
            items.append(_render_item(use, quantity, fits))
    return {"account_id": account.public_id, "allowed": allowed, "items": items}


def _convert_requested(requested: Decimal, unit: str, use: QuotaUse) -> Decimal:
    if not unit or not requested:
        return requested
    try:
        return convert_quantity(requested, unit=unit, target=use.quota.unit)
    except UnitNotConvertible as error:
        raise ValidationFailed.of("unit", "unit_not_convertible", f"{error}.") from error


def _render_item(use: QuotaUse, requested: Decimal, fits: bool) -> dict[str, Any]:
    quota, remaining = use.quota, use.remaining
    return {
        "quota_id": quota.public_id,
        "source": quota.source,
        "resource_type": quota.resource_type,
        "service": quota.meter_event_name,
        "feature": quota.feature,
        "unit": quota.unit,
        "window": quota.window,
        "limit": None if quota.limit is None else _DECIMAL.to_representation(quota.limit),
        "unlimited": quota.limit is None,
        "used": _DECIMAL.to_representation(use.used),
        "reserved": _DECIMAL.to_representation(use.reserved),
        "requested": _DECIMAL.to_representation(requested),
        "remaining": None if remaining is None else _DECIMAL.to_representation(remaining),
        "utilization_percent": use.percent,
        "status": use.level,
        "mode": "hard" if quota.is_hard else "soft",
        "allowed": fits,
        "resets_at": None if use.resets_at is None else format_instant(use.resets_at),
        "upgrade_plan_id": quota.upgrade_plan_id,
    }
