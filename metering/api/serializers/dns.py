"""DNS use as the DNS service sends it and as accounts see it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS


class DnsUsageInput(StrictSerializer):
    """A batch of queries of one zone."""

    also_known = ACCOUNT_SYNONYMS

    zone = serializers.CharField(max_length=256)
    account = AccountRefField(required=False, help_text="Id or external id.")
    queries = serializers.IntegerField(default=0, help_text="Zero or less records nothing.")
    errors = serializers.IntegerField(default=0, min_value=0)  # type: ignore[assignment]
    timestamp = TimestampField(required=False, help_text="Default: now. The day is the UTC day of it.")


class DnsUsageResultSerializer(serializers.Serializer[Any]):
    """What is left of the day."""

    recorded = serializers.BooleanField(help_text="Always true.")
    remaining = serializers.IntegerField(help_text="-1: unlimited.")
    limit = serializers.IntegerField(help_text="Queries a UTC day; -1: unlimited.")


class DnsSummaryQuery(serializers.Serializer[dict[str, Any]]):
    account = AccountRefField(required=False, help_text="Id or external id; public callers default to their own.")
    period = serializers.ChoiceField(choices=["day", "month"], default="day", help_text="The UTC day or month.")


class DnsUsageSummarySerializer(serializers.Serializer[Any]):
    """DNS use of an account in the UTC day or month."""

    account_id = serializers.CharField()
    period = serializers.ChoiceField(choices=["day", "month"])
    queries = serializers.IntegerField()
    zones = serializers.IntegerField(help_text="Different zones seen.")
    records = serializers.IntegerField(help_text="0 unless the DNS service reports them.")
    limit = serializers.IntegerField(help_text="Queries a UTC day; -1: unlimited.")
    plan = serializers.CharField()
