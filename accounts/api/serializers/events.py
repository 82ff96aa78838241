"""Billing events as callers see them."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import Account
from billing_site.api.fields import AccountRefField, MetadataField, TimestampField
from billing_site.kernel.ids import encode_id
from billing_site.platform.models import Event


class EventQuerySerializer(serializers.Serializer[dict[str, Any]]):
    type = serializers.CharField(required=False, max_length=100, help_text="Exact, or `prefix.*`.")
    object_id = serializers.CharField(required=False, max_length=100)
    account = AccountRefField(required=False, help_text="Public callers default to their own account.")
    start = TimestampField(required=False)
    end = TimestampField(required=False, end=True)


class BillingEventSerializer(serializers.Serializer[Event]):
    id = serializers.CharField(source="public_id")
    type = serializers.CharField()
    object_type = serializers.CharField()
    object_id = serializers.CharField()
    account_id = serializers.SerializerMethodField()
    data = MetadataField(help_text="Snapshot after the change.")  # type: ignore[assignment]  # DRF moves fields away
    previous_data = MetadataField(allow_null=True, help_text="Changed fields before.")
    pending = serializers.SerializerMethodField(help_text="Whether deliveries are still open.")
    livemode = serializers.BooleanField()
    created_at = TimestampField()

    @extend_schema_field({"type": ["string", "null"]})
    def get_account_id(self, event: Event) -> str | None:
        key: uuid.UUID | None = event.account_id
        return None if key is None else encode_id(Account.id_prefix, key)

    def get_pending(self, event: Event) -> bool:
        return False  # nothing is delivered outside yet
