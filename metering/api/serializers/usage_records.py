"""Single usage events as the inspector shows them, and what corrects them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers

from billing_site.api.fields import (
    AccountRefField,
    DecimalStringField,
    TimestampField,
    format_instant,
    format_plain,
)
from billing_site.kernel.ids import encode_id
from invoicing.queries.usage_inspection import EventBilling, UsageInspection
from metering.models import UsageCorrection, UsageEvent
from metering.queries.quotas import QuotaUse

MAX_REASON = 500
BILLING_STATES = {
    "charged": "taken from the prepaid balance when it happened",
    "invoiced": "on an issued invoice",
    "drafted": "on a draft",
    "after_invoice": "recorded after the invoice of its time; with `due_at` the next invoice bills it, else none does",
    "next_invoice": "goes on the next invoice of the subscription",
    "later_invoice": "goes on an invoice after that",
    "trial": "happened in a trial: not billed",
    "billed_elsewhere": "the subscription is not billed here",
    "not_priced": "no running subscription prices its meter",
    "no_subscription": "the account has no running subscription",
    "closed": "its time was billed without its meter",
}


class UsageRecordQuery(serializers.Serializer[Any]):
    account = AccountRefField(required=False, help_text="Needed unless a key or an id is given.")
    key = serializers.CharField(required=False, max_length=255, help_text="Idempotency key, exactly as it was sent.")
    id = serializers.CharField(required=False, max_length=40, help_text="Id of an event, such as evu_….")
    meter = serializers.CharField(required=False, max_length=100, help_text="Event name, metric type or id.")
    start = TimestampField(required=False)
    end = TimestampField(required=False, end=True, help_text="Exclusive; a plain date means the end of that day.")
    dimension = serializers.CharField(required=False, max_length=400, help_text="A name and a value: `model:large`.")
    resource_id = serializers.CharField(required=False, max_length=255)
    actor_id = serializers.CharField(required=False, max_length=255)
    cost_center = serializers.CharField(required=False, max_length=100, help_text="Id or code.")


class FoundUsageSerializer(serializers.Serializer[Any]):
    """One stored usage event. A voiding has weight -1, a negative quantity, and names what it takes back."""

    id = serializers.CharField()
    account_id = serializers.CharField()
    meter = serializers.CharField(help_text="Event name.")
    meter_id = serializers.CharField()
    quantity = DecimalStringField()
    unit = serializers.CharField()
    timestamp = TimestampField()
    recorded_at = TimestampField()
    idempotency_key = serializers.CharField()
    resource_id = serializers.CharField(allow_null=True)
    resource_type = serializers.CharField(allow_null=True)
    actor_id = serializers.CharField(allow_null=True)
    cost_center_id = serializers.CharField(allow_null=True)
    dimensions = serializers.DictField(child=serializers.JSONField())
    metadata = serializers.DictField(child=serializers.JSONField())
    charged = serializers.BooleanField(help_text="Taken from the prepaid balance when it happened.")
    weight = serializers.ChoiceField(choices=[1, -1])
    corrects = serializers.CharField(allow_null=True, help_text="The event that a voiding takes back.")


class UsageCorrectionSerializer(serializers.Serializer[Any]):
    """How an event was corrected."""

    id = serializers.CharField()
    event_id = serializers.CharField()
    void_id = serializers.CharField(help_text="The row that takes the event back.")
    replacement_id = serializers.CharField(allow_null=True, help_text="The event that counts instead.")
    quantity = DecimalStringField(help_text="What the event said.")
    replacement_quantity = DecimalStringField(allow_null=True)
    reason = serializers.CharField()
    actor = serializers.CharField()
    corrected_at = TimestampField()


class EventBucketSerializer(serializers.Serializer[Any]):
    """A UTC bucket of the event's meter, and what it says now."""

    span = serializers.ChoiceField(choices=["hour", "day"])
    start = TimestampField()
    end = TimestampField()
    quantity = DecimalStringField()
    event_count = serializers.IntegerField()


class EventQuotaSerializer(serializers.Serializer[Any]):
    """A quota in force that counts the event's meter, in the bucket the event is in."""

    id = serializers.CharField()
    window = serializers.CharField()
    start = TimestampField()
    end = TimestampField()
    used = DecimalStringField()
    limit = DecimalStringField(allow_null=True, help_text="Null: unlimited.")
    percent = serializers.IntegerField()
    level = serializers.CharField()


class EventBillingSerializer(serializers.Serializer[Any]):
    """How the event is billed."""

    state = serializers.ChoiceField(
        choices=list(BILLING_STATES),
        help_text="; ".join(f"{state}: {meaning}" for state, meaning in BILLING_STATES.items()),
    )
    invoice_id = serializers.CharField(allow_null=True)
    invoice_number = serializers.CharField(allow_null=True)
    invoice_line_id = serializers.CharField(allow_null=True)
    subscription_id = serializers.CharField(allow_null=True)
    due_at = TimestampField(allow_null=True, help_text="When the next invoice of the subscription is due.")


class InspectedUsageSerializer(serializers.Serializer[Any]):
    """What became of one event."""

    event = FoundUsageSerializer()
    counted = serializers.BooleanField(help_text="False for what was voided, and for the voiding.")
    correction = UsageCorrectionSerializer(allow_null=True, help_text="What took it back.")
    part_of_correction = UsageCorrectionSerializer(allow_null=True, help_text="The correction it was stored by.")
    buckets = EventBucketSerializer(many=True)
    quotas = EventQuotaSerializer(many=True)
    billing = EventBillingSerializer()
    voiding_billing = EventBillingSerializer(allow_null=True, help_text="How the taking back is billed.")
    rejected_request_ids = serializers.ListField(
        child=serializers.CharField(), help_text="Refused requests that sent the same key; see rejected-usage."
    )


class VoidUsageInput(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_REASON)
    account = AccountRefField(required=False, help_text="Needed for events older than the keys are kept (35 days).")


class AmendUsageInput(VoidUsageInput):
    quantity = DecimalStringField(help_text="What counts instead, in the meter's unit.")
    idempotency_key = serializers.CharField(
        required=False, max_length=255, help_text="Key of the new event; one is made without."
    )


class CorrectedUsageSerializer(serializers.Serializer[Any]):
    """A correction, and how what it changes is billed."""

    correction = UsageCorrectionSerializer()
    billing = EventBillingSerializer(help_text="How the taking back is billed.")


def render_event(event: UsageEvent) -> dict[str, Any]:
    """Return an event as `FoundUsageSerializer` describes it. Account, meter and center must be loaded."""
    return {
        "id": event.public_id,
        "account_id": event.account.public_id,
        "meter": event.meter.event_name,
        "meter_id": event.meter.public_id,
        "quantity": format_plain(event.value),
        "unit": event.meter.unit,
        "timestamp": format_instant(event.timestamp),
        "recorded_at": format_instant(event.recorded_at),
        "idempotency_key": event.idempotency_key,
        "resource_id": event.resource_id or None,
        "resource_type": event.resource_type or None,
        "actor_id": event.actor_id or None,
        "cost_center_id": event.cost_center.public_id if event.cost_center is not None else None,
        "dimensions": event.dimensions,
        "metadata": event.metadata,
        "charged": event.charged,
        "weight": event.weight,
        "corrects": _name_event(event.corrects),
    }


def render_correction(correction: UsageCorrection | None) -> dict[str, Any] | None:
    """Return a correction as `UsageCorrectionSerializer` describes it."""
    if correction is None:
        return None
    new = correction.replacement_value
    return {
        "id": correction.public_id,
        "event_id": _name_event(correction.event_id),
        "void_id": _name_event(correction.void_id),
        "replacement_id": _name_event(correction.replacement_id),
        "quantity": format_plain(correction.value),
        "replacement_quantity": None if new is None else format_plain(new),
        "reason": correction.reason,
        "actor": correction.actor,
        "corrected_at": format_instant(correction.corrected_at),
    }


def render_billing(billing: EventBilling) -> dict[str, Any]:
    """Return how an event is billed as `EventBillingSerializer` describes it."""
    line, subscription = billing.line, billing.subscription
    return {
        "state": billing.state,
        "invoice_id": line.invoice.public_id if line is not None else None,
        "invoice_number": (line.invoice.number_text or None) if line is not None else None,
        "invoice_line_id": line.public_id if line is not None else None,
        "subscription_id": subscription.public_id if subscription is not None else None,
        "due_at": format_instant(billing.due_at) if billing.due_at is not None else None,
    }


def render_inspection(found: UsageInspection) -> dict[str, Any]:
    """Return an inspection as `InspectedUsageSerializer` describes it."""
    facts = found.facts
    return {
        "event": render_event(facts.event),
        "counted": facts.counts,
        "correction": render_correction(facts.voided_by),
        "part_of_correction": render_correction(facts.made_by),
        "buckets": [
            {
                "span": bucket.span,
                "start": format_instant(bucket.period.start),
                "end": format_instant(bucket.period.end),
                "quantity": format_plain(bucket.now.quantity),
                "event_count": bucket.now.event_count,
            }
            for bucket in facts.buckets
        ],
        "quotas": [_render_quota(use) for use in facts.quotas],
        "billing": render_billing(found.billing),
        "voiding_billing": None if found.voiding is None else render_billing(found.voiding),
        "rejected_request_ids": [refusal.public_id for refusal in facts.refusals],
    }


def _render_quota(use: QuotaUse) -> dict[str, Any]:
    quota = use.quota
    return {
        "id": quota.public_id,
        "window": quota.window,
        "start": format_instant(quota.bucket.start),
        "end": format_instant(quota.bucket.end),
        "used": format_plain(use.used),
        "limit": None if quota.limit is None else format_plain(quota.limit),
        "percent": use.percent,
        "level": use.level,
    }


def _name_event(key: UUID | None) -> str | None:
    return None if key is None else encode_id(UsageEvent.id_prefix, key)
