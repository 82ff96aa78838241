"""Queries and answers about the cost so far."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.fields import CurrencyField, DecimalStringField, SignedMoneyField, TimestampField
from invoicing.queries.realtime import RealtimeCost, RealtimeResources, ResourceCost, Timeline

FIXED = "fixed"


class RealtimeQuery(serializers.Serializer[dict[str, Any]]):
    currency = CurrencyField(
        required=False,
        help_text="Default: the account's, if it buys anything in it, else that of its oldest subscription.",
    )


class TimelineQuery(serializers.Serializer[dict[str, Any]]):
    granularity = serializers.ChoiceField(choices=["hour", "day"], default="day")
    start = TimestampField(required=False, help_text="Only steps that end after it.")
    end = TimestampField(required=False, end=True, help_text="Exclusive; a plain date means the end of that day.")


class RealtimeCurrentSerializer(serializers.Serializer[Any]):
    """
    The cost of the running billing periods so far, after discounts and before tax: minor units of `currency`.

    With several subscriptions the period reaches from the first start to the last end.
    """

    account_id = serializers.CharField()
    currency = CurrencyField()
    period_start = TimestampField()
    period_end = TimestampField()
    fixed_cost = SignedMoneyField(help_text="Fees, prorations, and what is missing to a minimum.")
    usage_cost = SignedMoneyField()
    total_cost = SignedMoneyField()
    previous_total = SignedMoneyField(
        help_text="The periods before: usage up to the same share of them, and their fees. Zero without any."
    )
    as_of = TimestampField()


class RealtimeResourceSerializer(serializers.Serializer[Any]):
    """One metric, or everything that is fixed."""

    metric_type = serializers.CharField(help_text="The meter; `fixed` for fees and whatever is no usage.")
    current_value = SignedMoneyField(help_text="Cost so far.")
    previous_value = SignedMoneyField(help_text="Cost of the periods before, up to the same share of them.")
    threshold = DecimalStringField(
        allow_null=True, help_text="Quantity that is included; what lies above it costs. Null where nothing is."
    )
    unit = serializers.CharField(allow_null=True)
    quantity = DecimalStringField(allow_null=True)
    share_percent = DecimalStringField(help_text="Of `total`, to two decimals.")
    timestamp = TimestampField(help_text="When its newest usage was recorded; `as_of` where there is none.")


class RealtimeByResourceSerializer(serializers.Serializer[Any]):
    """The cost so far by metric: what is fixed, then the dearest first. Together they are `total`."""

    account_id = serializers.CharField()
    currency = CurrencyField()
    items = RealtimeResourceSerializer(many=True)
    total = SignedMoneyField()
    as_of = TimestampField()


class TimelinePointSerializer(serializers.Serializer[Any]):
    """One step."""

    at = TimestampField(help_text="Where the step begins.")
    cost = SignedMoneyField(help_text="Added in the step; below zero where more usage made all of it cheaper.")
    cumulative = SignedMoneyField(help_text="What the running periods had come to when it ended.")


class RealtimeTimelineSerializer(serializers.Serializer[Any]):
    """The cost over time, the oldest first; the last cumulative amount is the cost so far."""

    account_id = serializers.CharField()
    currency = CurrencyField()
    granularity = serializers.ChoiceField(choices=["hour", "day"])
    points = TimelinePointSerializer(many=True)
    as_of = TimestampField()


def render_current(found: RealtimeCost) -> dict[str, Any]:
    """Return the cost as `RealtimeCurrentSerializer` describes it."""
    running = found.running
    return {
        "account_id": running.account.public_id,
        "currency": running.currency,
        "period_start": running.period.start,
        "period_end": running.period.end,
        "fixed_cost": running.fixed,
        "usage_cost": running.usage,
        "total_cost": running.total,
        "previous_total": found.previous_total,
        "as_of": running.at,
    }


def render_resources(found: RealtimeResources) -> dict[str, Any]:
    """Return the rows as `RealtimeByResourceSerializer` describes them."""
    running = found.running
    return {
        "account_id": running.account.public_id,
        "currency": running.currency,
        "items": [{**_render_item(item), "timestamp": item.last_recorded_at or running.at} for item in found.items],
        "total": running.total,
        "as_of": running.at,
    }


def _render_item(item: ResourceCost) -> dict[str, Any]:
    return {
        "metric_type": FIXED if item.meter is None else item.meter.event_name,
        "current_value": item.cost,
        "previous_value": item.previous_cost,
        "threshold": item.threshold,
        "unit": None if item.meter is None else item.meter.unit,
        "quantity": None if item.meter is None else item.quantity,
        "share_percent": item.share_percent,
    }


def render_timeline(found: Timeline) -> dict[str, Any]:
    """Return the steps as `RealtimeTimelineSerializer` describes them."""
    running = found.running
    return {
        "account_id": running.account.public_id,
        "currency": running.currency,
        "granularity": found.granularity,
        "points": [{"at": each.at, "cost": each.cost, "cumulative": each.cumulative} for each in found.points],
        "as_of": running.at,
    }
