"""What was published, as the API shows it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import TimestampField
from catalog.models import CatalogRevision


class RevisionSerializer(serializers.Serializer[CatalogRevision]):
    """One publication, without its document."""

    id = serializers.CharField(source="public_id")
    revision = serializers.IntegerField()
    active = serializers.BooleanField(source="is_active")
    document_hash = serializers.CharField(help_text="SHA-256 of the canonical document; equal for equal catalogs.")
    published_at = TimestampField()
    published_by = serializers.CharField()
    reason = serializers.CharField(allow_blank=True)


class CompareQuery(serializers.Serializer[dict[str, Any]]):
    """Which two revisions to compare."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `from` is a word of the language, so it cannot be an attribute.
        limits: dict[str, Any] = {"min_value": 1, "max_value": 2**31 - 1}
        return {
            "from": serializers.IntegerField(**limits, help_text="The revision to start from."),
            "to": serializers.IntegerField(**limits, required=False, help_text="The active one if absent."),
        }


class ComparisonSerializer(serializers.Serializer[dict[str, Any]]):
    """What one revision changes against another."""

    old = serializers.IntegerField(help_text="The revision that `from` named.")
    new = serializers.IntegerField(help_text="The revision that `to` named, or the active one.")
    difference = serializers.DictField(
        help_text="Added, removed and changed entries by section; pointers into the newer document."
    )


class RepublishInput(StrictSerializer):
    """Why an older catalog comes back."""

    reason = serializers.CharField(max_length=1_000)
