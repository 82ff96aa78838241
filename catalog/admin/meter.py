"""Meters."""

from __future__ import annotations

from django.contrib import admin

from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import json_display, timestamp_display
from catalog.models import Meter


@admin.register(Meter)
class MeterAdmin(BackOfficeAdmin):
    """What is counted. Meters come from the catalog document."""

    nav_order = 60
    empty_title = "No meter yet"
    empty_text = "A meter says what is counted and how. Name it in a catalog draft and publish that."
    list_display = ("display_name", "event_name", "unit", "aggregation", "org_id", "is_active")
    list_filter = ("is_active", "aggregation", "org_id")
    search_fields = ("event_name", "display_name")
    ordering = ("org_id", "event_name")
    fields = (
        ("display_name", "event_name"),
        ("unit", "aggregation"),
        ("lookup_key", "org_id"),
        ("is_active", "public_id"),
        ("since", "changed"),
        "shown_dimensions",
        "shown_settings",
    )
    readonly_fields = ("public_id", "since", "changed", "shown_dimensions", "shown_settings")
    since = timestamp_display("created_at", zone="timezone", description="Created")
    changed = timestamp_display("updated_at", zone="timezone", description="Changed")
    shown_dimensions = json_display("dimensions")
    shown_settings = json_display("provider_settings", description="Provider settings")
