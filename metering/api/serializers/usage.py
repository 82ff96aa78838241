"""Queries and answers about usage."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.fields import CurrencyField, DecimalStringField, MoneyField, TimestampField, format_instant
from metering.queries.usage import MetricUsage, UsageSummary
from metering.stores import BucketQuantity


class UsageListQuery(serializers.Serializer[Any]):
    start = TimestampField(required=False)
    end = TimestampField(required=False, end=True, help_text="Exclusive; a plain date means the end of that day.")
    metric_type = serializers.CharField(required=False)
    cost_center = serializers.CharField(required=False)


class UsageSummaryQuery(serializers.Serializer[Any]):
    start = TimestampField(required=False, help_text="Default: start of the current billing period.")
    end = TimestampField(required=False, end=True, help_text="Exclusive; a plain date means the end of that day.")
    metric_type = serializers.CharField(required=False)
    group_by = serializers.ChoiceField(choices=["none", "day", "hour"], default="none")


class MeterSummaryQuery(serializers.Serializer[Any]):
    meter_id = serializers.CharField(help_text="Id or event name.")
    account = serializers.CharField(required=False, help_text="Public callers: the own account.")
    period_start = TimestampField(required=False)
    period_end = TimestampField(
        required=False, end=True, help_text="Exclusive; a plain date means the end of that day."
    )


class PeriodSerializer(serializers.Serializer[Any]):
    """A half-open period."""

    start = TimestampField()
    end = TimestampField()


class DailyUsageSerializer(serializers.Serializer[Any]):
    """One UTC day."""

    date = serializers.DateField()
    quantity = DecimalStringField()
    event_count = serializers.IntegerField()


class HourlyUsageSerializer(serializers.Serializer[Any]):
    """One hour."""

    start = TimestampField()
    quantity = DecimalStringField()
    event_count = serializers.IntegerField()


class MetricUsageSerializer(serializers.Serializer[Any]):
    """Usage of one meter."""

    metric_type = serializers.CharField()
    unit = serializers.CharField()
    quantity = DecimalStringField()
    event_count = serializers.IntegerField()
    included = DecimalStringField(allow_null=True, help_text="Part covered by the plan; null without a quota.")
    overage = DecimalStringField(help_text="Part above what is included.")
    cost = MoneyField()
    daily = DailyUsageSerializer(many=True, required=False)
    hourly = HourlyUsageSerializer(many=True, required=False)


class UsageSummarySerializer(serializers.Serializer[Any]):
    """Usage of an account per metric, with costs in minor units of `currency`."""

    account_id = serializers.CharField()
    period = PeriodSerializer()
    metrics = MetricUsageSerializer(many=True)
    total_cost = MoneyField()
    currency = CurrencyField()


class MeterSummarySerializer(serializers.Serializer[Any]):
    """Aggregate of one meter over a period."""

    meter_id = serializers.CharField()
    meter_name = serializers.CharField()
    account_id = serializers.CharField(allow_null=True, help_text="Null: all accounts the caller sees.")
    aggregation_type = serializers.CharField()
    value = DecimalStringField()
    event_count = serializers.IntegerField()
    period_start = TimestampField()
    period_end = TimestampField()


def render_summary(summary: UsageSummary, *, group_by: str) -> dict[str, Any]:
    """Return a summary as `UsageSummarySerializer` describes it."""
    return {
        "account_id": summary.account.public_id,
        "period": {"start": format_instant(summary.period.start), "end": format_instant(summary.period.end)},
        "metrics": [_render_metric(metric, group_by) for metric in summary.metrics],
        "total_cost": summary.total_cost,
        "currency": summary.currency,
    }


_DECIMAL = DecimalStringField()


def _render_metric(metric: MetricUsage, group_by: str) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "metric_type": metric.meter.event_name,
        "unit": metric.meter.unit,
        "quantity": _DECIMAL.to_representation(metric.quantity),
        "event_count": metric.event_count,
        "included": None if metric.included is None else _DECIMAL.to_representation(metric.included),
        "overage": _DECIMAL.to_representation(metric.overage),
        "cost": metric.cost,
    }
    if group_by == "day":
        rendered["daily"] = [
            {"date": f"{bucket.start:%Y-%m-%d}", **_render_bucket(bucket)} for bucket in metric.buckets
        ]
    elif group_by == "hour":
        rendered["hourly"] = [
            {"start": format_instant(bucket.start), **_render_bucket(bucket)} for bucket in metric.buckets
        ]
    return rendered


def _render_bucket(bucket: BucketQuantity) -> dict[str, Any]:
    return {"quantity": _DECIMAL.to_representation(bucket.quantity), "event_count": bucket.event_count}
