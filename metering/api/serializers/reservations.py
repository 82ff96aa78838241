"""Reservations of quota as callers send and see them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from rest_framework import serializers

from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, DecimalStringField, MetadataField, TimestampField
from billing_site.api.params import ACCOUNT_SYNONYMS
from billing_site.kernel.ids import encode_id
from metering.models import QuotaReservation, ReservationStatus, UsageEvent
from metering.services.reservations import MAX_LIFETIME

_MAX_SECONDS: Final = int(MAX_LIFETIME.total_seconds())


class ReservationInput(StrictSerializer):
    """Room to take."""

    also_known = ACCOUNT_SYNONYMS

    account = AccountRefField(required=False, help_text="Id or external id.")
    resource_type = serializers.CharField(max_length=100, help_text="A resource type, service or meter's event name.")
    quantity = DecimalStringField(minimum=Decimal(0), help_text="Above zero; of what counts events a whole number.")
    unit = serializers.CharField(required=False, max_length=50, help_text="Default: that of the resource.")
    expires_in = serializers.IntegerField(
        required=False, min_value=1, max_value=_MAX_SECONDS, help_text="Seconds until the room is free by itself."
    )
    metadata = MetadataField(required=False)


class ReservationCommitInput(StrictSerializer):
    """What was really used."""

    quantity = DecimalStringField(required=False, minimum=Decimal(0), help_text="Default: what was reserved.")
    unit = serializers.CharField(required=False, max_length=50, help_text="Default: the meter's.")
    resource_id = serializers.CharField(required=False, allow_blank=True, max_length=255)
    actor_id = serializers.CharField(required=False, allow_blank=True, max_length=255)
    cost_center = serializers.CharField(required=False, allow_blank=True, max_length=100, help_text="Id or code.")
    dimensions = MetadataField(required=False)
    metadata = MetadataField(required=False)


class NothingInput(StrictSerializer):
    """A body is not needed; an empty object is taken."""


class ReservationSerializer(serializers.Serializer[QuotaReservation]):
    """Room under the hard limits of a meter. Quantities are in the meter's `unit`."""

    id = serializers.CharField(source="public_id")
    account_id = serializers.CharField(source="account.public_id")
    meter_event_name = serializers.CharField(source="meter.event_name")
    unit = serializers.CharField(source="meter.unit")
    quantity = DecimalStringField()
    status = serializers.ChoiceField(choices=ReservationStatus.choices)
    committed_quantity = DecimalStringField(allow_null=True, help_text="What was really used.")
    usage_event_id = serializers.SerializerMethodField()
    metadata = MetadataField()
    created_at = TimestampField()
    expires_at = TimestampField(help_text="From here on the room is free.")
    ended_at = TimestampField(allow_null=True)

    def get_usage_event_id(self, row: QuotaReservation) -> str | None:
        """The first event of the commit."""
        return None if row.event_id is None else encode_id(UsageEvent.id_prefix, row.event_id)


def render_reservation(row: QuotaReservation, *, at: datetime) -> dict[str, Any]:
    """Return a reservation as it stands at `at`, whether or not its end was noted."""
    return {**ReservationSerializer(row).data, "status": row.get_status(at)}
