"""The catalog document as the API takes and shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from billing_site.api.fields import TimestampField, format_instant
from catalog.documents.differences import DocumentDifference
from catalog.documents.formatting import order_document
from catalog.models import CatalogRevision


class CatalogQuery(serializers.Serializer[dict[str, Any]]):
    """Which revision to read."""

    revision = serializers.IntegerField(required=False, min_value=1, max_value=2**31 - 1, help_text="An older one.")


class PublishQuery(serializers.Serializer[dict[str, Any]]):
    """How to publish."""

    dry_run = serializers.BooleanField(required=False, default=False, help_text="Check and compare; write nothing.")


class CatalogDocumentSerializer(serializers.Serializer[dict[str, Any]]):
    """Products, meters, plans with prices and quotas. It only describes: the document has checks of its own."""

    version = serializers.IntegerField(required=False, help_text="Version of the schema: 1.")
    revision = serializers.IntegerField(read_only=True, allow_null=True, help_text="Set by the server.")
    products = serializers.ListField(
        child=serializers.DictField(), help_text="id, name, description, lookup_key, metadata"
    )
    meters = serializers.ListField(
        child=serializers.DictField(),
        help_text="name, unit, display_name, event_name, aggregation_type, dimensions, lookup_key, provider settings",
    )
    plans = serializers.ListField(
        child=serializers.DictField(),
        help_text="id, product_id, name, description, category, features (scopes), feature_texts, prices, quotas, "
        "trial_period_days, proration, proration_basis, price_per_seat, limits, contact_sales, popular",
    )
    prices = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        help_text="Flat provider form: lookup_key, product_lookup_key, currency, unit_amount, interval",
    )
    published_at = TimestampField(read_only=True, allow_null=True)
    published_by = serializers.CharField(read_only=True, allow_null=True)
    dry_run = serializers.BooleanField(read_only=True, required=False, help_text="Present when nothing was written.")
    difference = serializers.DictField(
        read_only=True, required=False, help_text="On a dry run: added, removed and changed entries by section."
    )


def render_revision(revision: CatalogRevision) -> dict[str, Any]:
    """Return a published document with what the server knows about it."""
    return {
        **_with_head(order_document(revision.document), revision.revision),
        "published_at": format_instant(revision.published_at),
        "published_by": revision.published_by,
    }


def render_dry_run(
    document: Mapping[str, Any], *, active: CatalogRevision | None, difference: DocumentDifference
) -> dict[str, Any]:
    """Return the document as it would be published, and what that would change."""
    return {
        **_with_head(document, active.revision if active else None),
        "published_at": None,
        "published_by": None,
        "dry_run": True,
        "difference": difference.as_dict(),
    }


def _with_head(document: Mapping[str, Any], revision: int | None) -> dict[str, Any]:
    rest = {key: value for key, value in document.items() if key != "version"}
    return {"version": document["version"], "revision": revision, **rest}
