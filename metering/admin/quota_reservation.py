"""What is reserved of quotas, to look at and to let go."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import (
    badge,
    format_quantity,
    json_display,
    link_display,
    link_to_id,
    quantity_display,
    timestamp_display,
)
from billing_site.kernel import clock
from billing_site.kernel.ids import encode_id
from metering.models import QuotaReservation, UsageEvent
from metering.services.reservations import release_reservation

_STATE_TONES: Final = {"open": "warning", "committed": "good", "released": "neutral", "expired": "neutral"}


@admin.register(QuotaReservation)
class QuotaReservationAdmin(BackOfficeAdmin):
    """Room that work holds under hard limits. What its holder does not give back is free when its end comes."""

    financial = True
    nav_icon = "lock_clock"
    nav_order = 22
    nav_title = "Reservations"
    empty_title = "Nothing was reserved yet"
    empty_text = "Services reserve quota through the API before parallel work starts."
    list_display = ("since", "account_link", "meter_link", "held", "used", "state", "end")
    list_filter = (("account", AutocompleteSelectFilter), ("meter", RelatedDropdownFilter), "status")
    list_filter_submit = True
    list_select_related = ("account__test_clock", "meter")
    sortable_by = ()
    search_fields = ("account__name", "account__external_id__iexact")
    search_help_text = "Name or external id of the account"
    actions_detail = ("release",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("account_link", "meter_link"),
                    ("held", "used"),
                    ("state", "event"),
                    ("since", "end", "ended"),
                    "shown_metadata",
                    "public_id",
                )
            },
        ),
    )
    readonly_fields = ("event", "ended", "shown_metadata", "public_id")
    account_link = link_display("account", description="Account")
    meter_link = link_display("meter", description="Meter")
    held = quantity_display("quantity", description="Reserved")
    used = quantity_display("committed_quantity", description="Used")
    since = timestamp_display("created_at", zone="account.timezone", description="Reserved at", ordering=False)
    end = timestamp_display("expires_at", zone="account.timezone", description="Free from", ordering=False)
    ended = timestamp_display("ended_at", zone="account.timezone", description="Ended")
    shown_metadata = json_display("metadata", description="Metadata")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("account__test_clock", "meter")

    @admin.display(description="State")
    def state(self, row: QuotaReservation) -> SafeString:
        status = row.get_status(clock.now(row.account))
        return badge(status, _STATE_TONES[status])

    @admin.display(description="Usage event")
    def event(self, row: QuotaReservation) -> SafeString | str:
        if row.event_id is None:
            return "–"
        public_id = encode_id(UsageEvent.id_prefix, row.event_id)
        return link_to_id(public_id, public_id)

    @service_action(
        description="Release",
        permission="metering.release_quotareservation",
        effect="Its room is free at once. A holder that is still at work can no longer commit it.",
        allowed=lambda row: row.status == "open",
        icon="lock_open",
    )
    def release(self, request: HttpRequest, row: QuotaReservation, call: Call) -> str:
        release_reservation(reservation_id=row.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{format_quantity(row.quantity)} {row.meter.unit} of {row.meter} are free."
