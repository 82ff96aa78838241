"""Schedules as callers send and see them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.api.serializers.ledger import ACCOUNT_HELP
from accounts.models import EndBehavior, PhaseProration, SchedulePhase, ScheduleStatus, SubscriptionSchedule
from accounts.services.schedule_phases import NewItem, NewPhase
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, MetadataField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS

MAX_PHASES = 100


class PhaseItemInput(StrictSerializer):
    """A price of the plan, and how many."""

    price_id = serializers.CharField(required=False, max_length=100, help_text="Default: the plan's fee.")
    quantity = serializers.IntegerField(
        required=False, min_value=0, max_value=2_147_483_647, help_text="Default 1; usage prices take none."
    )


class PhaseInput(StrictSerializer):
    """One phase, `start_date` included, `end_date` not."""

    plan_id = serializers.CharField(max_length=100)
    items = PhaseItemInput(many=True, required=False, help_text="Left out: the quantity stays as it is, 1 at first.")
    start_date = TimestampField(required=False, allow_null=True, help_text="Default: the end of the phase before.")
    end_date = TimestampField(
        required=False, allow_null=True, end=True, help_text="Default: the start of the next; the last may be open."
    )
    trial_end = TimestampField(
        required=False,
        allow_null=True,
        end=True,
        help_text="Free until then. Internal callers only, for the phase that starts the subscription.",
    )
    proration_behavior = serializers.ChoiceField(
        required=False, choices=PhaseProration.choices, help_text="Default: create_prorations."
    )


class ScheduleInput(StrictSerializer):
    """A schedule to be made."""

    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    subscription_id = serializers.CharField(
        required=False, allow_null=True, max_length=100, help_text="A running one to take over."
    )
    start_date = TimestampField(required=False, allow_null=True, help_text="Default: now. A past one is caught up.")
    end_behavior = serializers.ChoiceField(choices=EndBehavior.choices, default=EndBehavior.RELEASE)
    phases = PhaseInput(many=True, allow_empty=False, max_length=MAX_PHASES)  # type: ignore[call-arg]  # a list's own
    metadata = MetadataField(required=False)


class ScheduleChangeInput(StrictSerializer):
    """What can be changed of a schedule; phases that are sent are all of them."""

    needs_one = True

    end_behavior = serializers.ChoiceField(choices=EndBehavior.choices, required=False)
    phases = PhaseInput(
        many=True,
        allow_empty=False,
        max_length=MAX_PHASES,  # type: ignore[call-arg]  # a list's own
        required=False,
    )
    metadata = MetadataField(required=False)


class ScheduleCancelInput(StrictSerializer):
    cancel_subscription = serializers.BooleanField(default=True)


class ScheduleQuery(serializers.Serializer[dict[str, Any]]):
    account = AccountRefField(required=False, help_text=ACCOUNT_HELP)
    status = serializers.ChoiceField(required=False, choices=ScheduleStatus.choices)


class PhaseItemSerializer(serializers.Serializer[dict[str, Any]]):
    """A price and how many, as it was asked for."""

    price_id = serializers.SerializerMethodField(help_text="Null: the plan's fee.")
    quantity = serializers.SerializerMethodField()

    def get_price_id(self, item: dict[str, Any]) -> str | None:
        found: str | None = item.get("price_id")
        return found

    def get_quantity(self, item: dict[str, Any]) -> int | None:
        found: int | None = item.get("quantity")
        return found


class PhaseSerializer(serializers.Serializer[SchedulePhase]):
    """A phase holds in `[start_date, end_date)`."""

    plan_id = serializers.CharField(source="plan_key")
    items = PhaseItemSerializer(many=True)
    start_date = TimestampField(source="start")
    end_date = TimestampField(source="end", allow_null=True, help_text="Null: open-ended.")
    trial_end = TimestampField(allow_null=True)
    proration_behavior = serializers.ChoiceField(choices=PhaseProration.choices)


class ScheduleSerializer(serializers.Serializer[SubscriptionSchedule]):
    """The phases a subscription goes through."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    subscription_id = serializers.SerializerMethodField(help_text="Null until a phase starts it.")
    status = serializers.ChoiceField(choices=ScheduleStatus.choices)
    start_date = TimestampField()
    end_behavior = serializers.ChoiceField(choices=EndBehavior.choices)
    phases = PhaseSerializer(many=True)
    current_phase = serializers.IntegerField(
        source="entered", allow_null=True, help_text="Number of the phase entered last, from 0; null before the first."
    )
    metadata = MetadataField()
    created_at = TimestampField()

    def get_subscription_id(self, schedule: SubscriptionSchedule) -> str | None:
        return None if schedule.subscription is None else schedule.subscription.public_id


def read_phases(phases: list[dict[str, Any]] | None) -> list[NewPhase] | None:
    """Return validated phases as the service takes them."""
    return None if phases is None else [_read_phase(phase) for phase in phases]


def _read_phase(phase: dict[str, Any]) -> NewPhase:
    items = phase.get("items")
    return NewPhase(
        plan_key=phase["plan_id"],
        items=None if items is None else [NewItem(item.get("price_id", ""), item.get("quantity")) for item in items],
        start=phase.get("start_date"),
        end=phase.get("end_date"),
        trial_end=phase.get("trial_end"),
        proration_behavior=phase.get("proration_behavior", ""),
    )
