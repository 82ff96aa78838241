"""How the inbox of webhooks is doing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Min

from invoicing.models import InboundEvent, InboundEventStatus


@dataclass(frozen=True, slots=True)
class InboxHealth:
    """How many events wait and since when the oldest does, how many of them failed before, and how many are parked."""

    pending: int
    failing: int
    parked: int
    oldest: datetime | None


def compute_health() -> InboxHealth:
    """Return the numbers of now; three index scans."""
    waiting = InboundEvent.objects.filter(status=InboundEventStatus.PENDING).aggregate(
        count=Count("pk"), oldest=Min("received_at")
    )
    failing = InboundEvent.objects.filter(status=InboundEventStatus.PENDING).exclude(last_error="").count()
    parked = InboundEvent.objects.filter(status=InboundEventStatus.PARKED).count()
    return InboxHealth(pending=waiting["count"], failing=failing, parked=parked, oldest=waiting["oldest"])


def list_parked() -> list[UUID]:
    """Return the parked events, longest waiting first."""
    return list(
        InboundEvent.objects.filter(status=InboundEventStatus.PARKED).order_by("id").values_list("pk", flat=True)
    )
