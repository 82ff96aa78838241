"""Events one looks for: by id, by key, by what they name; and what was taken back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.db.models.fields.json import KeyTextTransform

from billing_site.kernel.periods import Period
from metering.models import UsageEvent
from metering.stores.events import list_events
from metering.stores.rows import Claim, make_event_id, write_uuids

# The key tells the time, the counter of that hour tells the few accounts and meters that had events then, and those
# three are what events are indexed by.
_LOCATE: Final = """
    SELECT e.id, e.account_id, e.meter_id, e.timestamp
    FROM unnest(%s::uuid[]) AS i (id)
    JOIN usage_keys k ON k.id = i.id
    CROSS JOIN LATERAL (
        SELECT DISTINCT account_id, meter_id FROM usage_counters c
        WHERE c.span = 'hour' AND c.starts_at = date_trunc('hour', k.timestamp, 'UTC')
    ) c
    JOIN usage_events e ON e.account_id = c.account_id AND e.meter_id = c.meter_id AND e.timestamp = k.timestamp
        AND e.id = i.id
"""


@dataclass(frozen=True, slots=True)
class EventSearch:
    """
    What events of an account one looks for; what is not given does not narrow.

    Half-open `start <= timestamp < end`; `dimension` is a name and its value as text.
    """

    account_id: UUID
    meter_ids: Sequence[UUID] | None = None
    start: datetime | None = None
    end: datetime | None = None
    cost_center_id: UUID | None = None
    dimension: tuple[str, str] | None = None
    resource_id: str = ""
    actor_id: str = ""


def search_events(search: EventSearch) -> QuerySet[UsageEvent]:
    """Return the events that fit, newest first, with meters; of one account, by its index."""
    events = list_events(
        account_id=search.account_id,
        meter_ids=search.meter_ids,
        start=search.start,
        end=search.end,
        cost_center_id=search.cost_center_id,
    )
    if search.dimension is not None:
        name, value = search.dimension
        events = events.alias(named=KeyTextTransform(name, "dimensions")).filter(named=value)
    if search.resource_id:
        events = events.filter(resource_id=search.resource_id)
    if search.actor_id:
        events = events.filter(actor_id=search.actor_id)
    return events


def locate_events(ids: Collection[UUID]) -> list[UsageEvent]:
    """
    Return the events with these ids, newest first, with account, clock, meter and cost center. Two statements.

    Of events whose keys are no longer kept (`BILLING_USAGE_LOOKBACK_DAYS`) nothing is found.
    """
    if not ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_LOCATE, [write_uuids(ids)])
        places = cursor.fetchall()
    return _load(places)


def find_by_keys(claims: Iterable[Claim]) -> list[UsageEvent]:
    """Return the events that hold these keys, like `locate_events`."""
    return locate_events({make_event_id(*claim) for claim in claims})


def find_within_account(event_id: UUID, *, account_id: UUID) -> UsageEvent | None:
    """Return an event of any age by its id, read from the index of its account. One statement."""
    return _with_details().filter(account_id=account_id, pk=event_id).order_by("-timestamp").first()


def list_voidings(*, account_id: UUID, meter_id: UUID, period: Period, since: datetime) -> list[UsageEvent]:
    """Return the rows recorded after `since` that take back events of a half-open period. One statement."""
    rows = UsageEvent.objects.filter(
        account_id=account_id,
        meter_id=meter_id,
        timestamp__gte=period.start,
        timestamp__lt=period.end,
        corrects__isnull=False,
        recorded_at__gt=since,
    )
    return list(rows.order_by("timestamp", "id"))


def _load(places: Sequence[tuple[UUID, UUID, UUID, datetime]]) -> list[UsageEvent]:
    if not places:
        return []
    ids, accounts, meters, moments = (set(column) for column in zip(*places, strict=True))
    rows = _with_details().filter(account_id__in=accounts, meter_id__in=meters, timestamp__in=moments, pk__in=ids)
    return list(rows.order_by("-timestamp", "-id"))


def _with_details() -> QuerySet[UsageEvent]:
    return UsageEvent.objects.select_related("account__test_clock", "meter", "cost_center")
