"""Billing cycle doors: what they take and answer."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.fields import AccountRefField, TimestampField


class CycleInput(serializers.Serializer[dict[str, Any]]):
    """What every cycle door takes."""

    at = TimestampField(required=False, help_text="Treat this as now; test mode only.")
    limit = serializers.IntegerField(default=200, min_value=1, max_value=10_000)
    dry_run = serializers.BooleanField(default=False, help_text="Answer what would be issued, write nothing.")


class CycleRunInput(CycleInput):
    """One organization."""

    org_id = serializers.CharField(required=False, max_length=100, help_text="Needed when the token names none.")


class CycleRunUserInput(CycleInput):
    """One account."""

    account = AccountRefField(help_text="Id or external id.")


class CycleResultSerializer(serializers.Serializer[dict[str, Any]]):
    """What became of one subscription."""

    account_id = serializers.CharField()
    subscription_id = serializers.CharField()
    invoice_id = serializers.CharField(allow_null=True, help_text="The newest invoice issued, if any.")
    success = serializers.BooleanField()
    error = serializers.CharField(allow_null=True)
    amount = serializers.IntegerField(required=False, help_text="Dry run: what would be billed, minor units.")
    credit_applied = serializers.IntegerField(
        required=False,
        help_text="Dry run: what credit and prepaid money would pay, minor units.",
    )
    amount_due = serializers.IntegerField(required=False, help_text="Dry run: what would be left to pay, minor units.")
    currency = serializers.CharField(required=False, help_text="Dry run: currency of the amount.")


class CycleRunSerializer(serializers.Serializer[dict[str, Any]]):
    """One run."""

    run_id = serializers.CharField(allow_null=True)
    account_id = serializers.CharField(required=False)
    processed = serializers.IntegerField()
    remaining = serializers.IntegerField(help_text="Due, but left for the next call.")
    results = CycleResultSerializer(many=True)


class OrgCycleSerializer(serializers.Serializer[dict[str, Any]]):
    """One organization of a run over all."""

    org_id = serializers.CharField()
    org_name = serializers.CharField(allow_blank=True)
    processed = serializers.IntegerField()
    results = CycleResultSerializer(many=True)


class CycleRunAllSerializer(serializers.Serializer[dict[str, Any]]):
    """A run over every organization."""

    orgs = serializers.IntegerField()
    total_processed = serializers.IntegerField()
    results = OrgCycleSerializer(many=True)
