"""The audit trail: every event, to read."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from billing_site.backoffice.admin.base import BackOfficeAdmin
from billing_site.backoffice.display import instant, json_display, timestamp_display
from billing_site.backoffice.pagination import COUNT_LIMIT
from billing_site.backoffice.panels import Cell, Metric, Panel, PanelContext, TablePanel, register_panel
from billing_site.platform.models import Event

SHOWN_ON_INDEX = 6


@admin.register(Event)
class EventAdmin(BackOfficeAdmin):
    """Events are append-only; the database refuses anything else too."""

    financial = True
    nav_title = "Audit trail"
    nav_order = 10
    empty_title = "Nothing has happened yet"
    empty_text = "Publishing a catalog, opening an account or issuing an invoice writes the first event."
    list_display = ("type", "object_id", "who", "why", "at")
    list_filter = ("actor_type", "object_type")
    search_fields = ("=object_id", "=type", "=actor_id")
    search_help_text = "An exact object id, event type or actor"
    date_hierarchy = None
    fieldsets = (
        (None, {"fields": ("public_id", "type", "object_type", "object_id", "who", "reason", "at", "written_at")}),
        ("What changed", {"fields": ("data_shown", "previous_shown")}),
        ("Chain", {"fields": ("chain", "sequence", "previous_hash", "hash")}),
    )
    readonly_fields = ("public_id", "who", "at", "written_at", "data_shown", "previous_shown")
    at = timestamp_display("created_at", description="At", ordering="id")
    data_shown = json_display("data", description="Data")
    previous_shown = json_display("previous_data", description="Before")

    @admin.display(description="By", ordering="actor_id")
    def who(self, event: Event) -> str:
        return f"{event.actor_id} ({event.actor_type})"

    @admin.display(description="Reason")
    def why(self, event: Event) -> str:
        return event.reason if len(event.reason) <= 60 else f"{event.reason[:59]}…"

    @admin.display(description="Written")
    def written_at(self, event: Event) -> SafeString | str:
        return instant(event.recorded_at)


def first_id_at(instant: datetime) -> uuid.UUID:
    """Return the smallest key a row made at `instant` can have; keys are in the order of time, so the index serves."""
    return uuid.UUID(int=int(instant.timestamp()) * 1000 << 80)


def build_event_panels(context: PanelContext) -> Iterable[Panel]:
    """Events of the last 24 hours, and the newest ones."""
    changelist = reverse("admin:platform_event_changelist")
    since = first_id_at(context.at - timedelta(hours=24))
    recent = Event.objects.filter(id__gte=since).order_by()[:COUNT_LIMIT].count()
    shown = f"{recent:,}" if recent < COUNT_LIMIT else f"{COUNT_LIMIT:,} or more"
    yield Metric("Events, last 24 hours", [shown], caption="audit trail", url=changelist, icon="history", order=90)
    rows: list[list[Cell | str]] = [
        [
            Cell(event.type, reverse("admin:platform_event_change", args=[event.pk])),
            event.actor_id,
            f"{event.created_at:%d %b %H:%M}",
        ]
        for event in Event.objects.order_by("-id").only("type", "actor_id", "created_at")[:SHOWN_ON_INDEX]
    ]
    if rows:
        yield TablePanel("Latest events", ["Event", "By", "At (UTC)"], rows, url=changelist, order=90)


register_panel("platform.events", build_event_panels, order=90, permission="platform.view_event")
