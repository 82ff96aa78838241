"""What an entitlement check asks and answers."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final, NamedTuple

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, DecimalStringField, format_plain
from billing_site.api.lean import LeanCall
from billing_site.api.params import ACCOUNT_SYNONYMS, account_reference
from billing_site.kernel.errors import ValidationFailed
from catalog.models import QuotaWindow
from metering.api.serializers.status import SETUP_COMMAND
from metering.queries.entitlements import CheckedEntitlement
from metering.rating.entitlements import HardLimit

REASONS: Final = ("billing_active", "billing_required", "quota_exceeded")
_MAX_NAME: Final = 100
_ACCOUNT: Final = re.compile(r"[!-~]{1,255}")
_NAME: Final = re.compile(r"[!-~]{1,100}")
_WHOLE: Final = re.compile(r"[1-9][0-9]{0,25}")


class EntitlementCheck(NamedTuple):
    """The question: may this account work under this scope, and use so much of a meter, in the meter's unit."""

    account: str
    scope: str
    meter_event_name: str | None = None
    quantity: Decimal = Decimal(0)


class PlannedUsageSerializer(StrictSerializer):
    """What the work is going to use."""

    meter_event_name = serializers.CharField(max_length=_MAX_NAME)
    quantity = DecimalStringField(help_text="Above zero, in the meter's unit.")

    def validate_quantity(self, value: Decimal) -> Decimal:
        if value <= 0:
            raise serializers.ValidationError("The quantity must be above zero.", code="quantity_not_positive")
        return value


class EntitlementCheckSerializer(StrictSerializer):
    """The question."""

    also_known = ACCOUNT_SYNONYMS

    account_id = AccountRefField(help_text="Id or external id.")
    scope = serializers.CharField(max_length=_MAX_NAME, help_text="Feature scope, such as llm:proxy.")
    usage = PlannedUsageSerializer(required=False, allow_null=True)


class ExhaustedQuotaSerializer(serializers.Serializer[HardLimit]):
    """The quota that stops the work."""

    feature = serializers.CharField(help_text="The scope; empty where the limit belongs to its meter alone.")
    meter_event_name = serializers.CharField()
    window = serializers.ChoiceField(choices=QuotaWindow.choices)
    used = DecimalStringField(help_text="What was used, and what open reservations hold.")
    limit = DecimalStringField()
    remaining = DecimalStringField(help_text="Never below zero; less than was asked for.")
    exceeded = serializers.BooleanField(help_text="Always true here.")
    upgrade_plan_id = serializers.CharField(required=False)


class EntitlementDecisionSerializer(serializers.Serializer[CheckedEntitlement]):
    """The answer. A denial is an answer too."""

    allowed = serializers.BooleanField()
    reason = serializers.ChoiceField(choices=REASONS)
    command = serializers.CharField(required=False, help_text="Command that helps; only where billing is not set up.")
    plan_id = serializers.CharField(allow_null=True, help_text="Plan that grants the scope, else the one that runs.")
    recommended_plan = serializers.CharField(required=False, help_text="Plan that would help; only when denied.")
    usage = ExhaustedQuotaSerializer(required=False, help_text="The exhausted quota.")


def read_check(call: LeanCall) -> EntitlementCheck:
    """
    Return the question in the body.

    :raises ValidationFailed: naming everything that is wrong with it.
    """
    return _read_plain(call) or _read_closely(call)


def _read_plain(call: LeanCall) -> EntitlementCheck | None:
    """Return what the usual body asks; None for one that has to be looked at closely."""
    body = call.data
    if type(body) is not dict or call.query_params:
        return None
    account, scope, usage = body.get("account_id"), body.get("scope"), body.get("usage")
    if not isinstance(account, str) or not isinstance(scope, str):
        return None
    if not _ACCOUNT.fullmatch(account) or not _NAME.fullmatch(scope):
        return None
    if len(body) == 2:
        return EntitlementCheck(account.lower(), scope)
    if len(body) != 3 or type(usage) is not dict or len(usage) != 2:
        return None
    meter, quantity = usage.get("meter_event_name"), usage.get("quantity")
    if not isinstance(meter, str) or not _NAME.fullmatch(meter) or type(quantity) not in (int, str):
        return None
    if not _WHOLE.fullmatch(text := str(quantity)):
        return None
    return EntitlementCheck(account.lower(), scope, meter, Decimal(text))


def _read_closely(call: LeanCall) -> EntitlementCheck:
    body = call.data
    reference = account_reference(call)
    if isinstance(body, dict) and reference is not None:
        body = {**body, "account_id": reference}
    serializer = EntitlementCheckSerializer(data=body)
    serializer.is_valid(raise_exception=True)
    values: dict[str, Any] = serializer.validated_data
    usage = values.get("usage")
    if not values["account_id"]:
        raise ValidationFailed.of("/account_id", "blank", "Name the account.")
    if usage is None:
        return EntitlementCheck(values["account_id"], values["scope"])
    return EntitlementCheck(values["account_id"], values["scope"], usage["meter_event_name"], usage["quantity"])


def render_decision(checked: CheckedEntitlement) -> dict[str, Any]:
    """Return the answer; what does not apply is left out."""
    decision = checked.decision
    shown: dict[str, Any] = {"allowed": decision.is_allowed, "reason": decision.reason}
    if decision.plan_id is None:
        shown["command"] = SETUP_COMMAND
    shown["plan_id"] = decision.plan_id
    if checked.recommended_plan:
        shown["recommended_plan"] = checked.recommended_plan
    if decision.limit is not None:
        shown["usage"] = _render_limit(decision.limit, checked.recommended_plan)
    return shown


def _render_limit(limit: HardLimit, upgrade_plan: str | None) -> dict[str, Any]:
    return {
        "feature": limit.feature,
        "meter_event_name": limit.meter_event_name,
        "window": limit.window,
        "used": format_plain(limit.taken),
        "limit": format_plain(limit.limit),
        "remaining": format_plain(limit.remaining),
        "exceeded": True,
        **({"upgrade_plan_id": upgrade_plan} if upgrade_plan else {}),
    }
