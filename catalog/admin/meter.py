"""Meters."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import json_display, timestamp_display
from billing_site.backoffice.history import timeline_display
from catalog.admin.once import leave_to_list, warn_of_references
from catalog.models import Meter
from catalog.services.meters import archive_meter, delete_meter, restore_meter


@admin.register(Meter)
class MeterAdmin(BackOfficeAdmin):
    """What is counted. Meters come from the catalog document, or are made through the API."""

    nav_order = 60
    empty_title = "No meter yet"
    empty_text = "A meter says what is counted and how. Name it in a catalog draft and publish that."
    list_display = ("display_name", "event_name", "unit", "aggregation", "managed_by", "org_id", "is_active")
    list_filter = ("is_active", "aggregation", "managed_by", "org_id")
    search_fields = ("event_name", "display_name")
    ordering = ("org_id", "event_name")
    actions = ("archive", "restore")
    actions_detail = ("archive", "restore", "remove")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("display_name", "event_name"),
                    ("unit", "aggregation"),
                    ("managed_by", "currency"),
                    ("lookup_key", "org_id"),
                    ("is_active", "public_id"),
                    ("since", "changed"),
                    "shown_dimensions",
                    "shown_settings",
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = ("public_id", "since", "changed", "shown_dimensions", "shown_settings", "timeline")
    since = timestamp_display("created_at", zone="timezone", description="Created")
    changed = timestamp_display("updated_at", zone="timezone", description="Changed")
    shown_dimensions = json_display("dimensions")
    shown_settings = json_display("provider_settings", description="Provider settings")
    timeline = timeline_display(zone="")

    @service_action(
        description="Archive",
        permission="catalog.archive_meter",
        effect="It leaves the lists, and no new rule finds it by name. Its usage is still taken and billed. A catalog "
        "document that names it brings it back when it is published.",
        allowed=lambda meter: meter.is_active,
        icon="archive",
    )
    def archive(self, request: HttpRequest, meter: Meter, call: Call) -> str:
        archive_meter(meter_id=meter.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{meter} is archived."

    @service_action(
        description="Restore",
        permission="catalog.restore_meter",
        effect="It is listed again.",
        allowed=lambda meter: not meter.is_active,
        icon="unarchive",
    )
    def restore(self, request: HttpRequest, meter: Meter, call: Call) -> str:
        restore_meter(meter_id=meter.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{meter} is back."

    @service_action(
        description="Remove",
        permission="catalog.delete_meter",
        effect="It is removed as if it had never been made. Possible only while nothing was priced by it or counted on "
        "it and no published document names it.",
        warnings=warn_of_references,
        icon="delete",
        variant="danger",
    )
    def remove(self, request: HttpRequest, meter: Meter, call: Call) -> HttpResponse:
        delete_meter(meter_id=meter.pk, at=call.at, actor=call.actor, reason=call.reason)
        return leave_to_list(self, request, f"{meter} was removed.")
