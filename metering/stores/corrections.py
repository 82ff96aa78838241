"""
Voiding an event: a further row with the negative value, at the same time, so that the same buckets move back.

Sums and numbers of events follow by themselves. A maximum and a set of members do not: they are read again from the
events of the bucket, while no other writer writes. Source: ADR 0030.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from billing_site.kernel.statements import prepared_cursor
from metering.stores.quantities import STANDS
from metering.stores.rows import EventRow, StoredEvent, project_dimensions
from metering.stores.writing import KEYS_LOCK, insert_events

_BUCKET: Final = "account_id = %(account)s AND meter_id = %(meter)s"
_EVENTS: Final = f"""
    e.account_id = %(account)s AND e.meter_id = %(meter)s AND {STANDS}
    AND e.timestamp >= date_trunc(%(span)s, %(at)s::timestamptz, 'UTC')
    AND e.timestamp < date_trunc(%(span)s, %(at)s::timestamptz, 'UTC') + ('1 ' || %(span)s)::interval
"""
_HIGHEST_BY_DIMENSIONS: Final = f"""
    UPDATE usage_rollups r SET highest = coalesce((
        SELECT max(e.value) FROM usage_events e
        WHERE {_EVENTS} AND e.charged = r.charged
          AND coalesce(e.cost_center_id, '00000000-0000-0000-0000-000000000000'::uuid) = r.cost_center_id
          AND coalesce((SELECT jsonb_object_agg(k, e.dimensions -> k) FROM jsonb_object_keys(r.dimensions) k), '{{}}')
              = r.dimensions
    ), 0)
    WHERE {_BUCKET} AND span = %(span)s AND starts_at = date_trunc(%(span)s, %(at)s::timestamptz, 'UTC')
"""  # noqa: S608 - constants of this module
_HIGHEST: Final = f"""
    UPDATE usage_counters SET highest = coalesce((SELECT max(e.value) FROM usage_events e WHERE {_EVENTS}), 0)
    WHERE {_BUCKET} AND span = %(span)s AND starts_at = date_trunc(%(span)s, %(at)s::timestamptz, 'UTC')
"""  # noqa: S608 - constants of this module
_HIGHEST_OF_DAYS: Final = f"""
    UPDATE usage_counters c SET highest = (
        SELECT max(d.highest) FROM usage_counters d
        WHERE d.account_id = c.account_id AND d.meter_id = c.meter_id AND d.span = 'day'
          AND (c.span = 'total'
               OR (d.starts_at >= c.starts_at AND d.starts_at < c.starts_at + ('1 ' || c.span)::interval))
    )
    WHERE {_BUCKET} AND (span = 'total' OR (span IN ('week', 'month')
          AND starts_at = date_trunc(span, %(at)s::timestamptz, 'UTC')))
"""  # noqa: S608 - constants of this module
_LEAVE: Final = f"""
    DELETE FROM usage_members m
    WHERE {_BUCKET} AND day = (%(at)s::timestamptz AT TIME ZONE 'UTC')::date AND member = %(member)s
      AND NOT EXISTS (SELECT FROM usage_events e
                      WHERE {_EVENTS} AND coalesce(nullif(e.actor_id, ''), e.resource_id) = m.member)
"""  # noqa: S608 - constants of this module
_COARSE: Final = ("hour", "day")


def make_voiding(event: StoredEvent, *, declared: Sequence[str], recorded_at: datetime) -> EventRow:
    """
    Return the row that voids `event`, not written. `declared` are the dimensions of its meter.

    Its key is made of the event's id: an event is voided once.
    """
    return event._replace(
        idempotency_key=f"void:{event.id.hex}",
        value=-event.value,
        recorded_at=recorded_at,
        metadata={},
        weight=-1,
        corrects=event.id,
        rolled_dimensions=project_dimensions(declared, event.dimensions),
    )


def insert_voiding(row: EventRow, *, aggregation: str, at: datetime) -> bool:
    """
    Write the voiding of an event and take it out of every total; tell whether it was written, or was before.

    `aggregation` is that of the meter. For one that takes the maximum or counts distinct members, all other writers of
    usage wait until the transaction ends.
    """
    with transaction.atomic(savepoint=False), prepared_cursor() as cursor:
        if aggregation in ("max", "unique"):
            cursor.execute("SELECT pg_advisory_xact_lock(%s::bigint)", [KEYS_LOCK])
        [written] = insert_events([row], at=at)
        if not written:
            return False
        place: dict[str, Any] = {"account": row.account_id, "meter": row.meter_id, "at": row.timestamp}
        if aggregation == "max":
            for span in _COARSE:
                cursor.execute(_HIGHEST_BY_DIMENSIONS, {**place, "span": span})
            for span in ("minute", *_COARSE):
                cursor.execute(_HIGHEST, {**place, "span": span})
            cursor.execute(_HIGHEST_OF_DAYS, place)
        elif aggregation == "unique" and (member := row.actor_id or row.resource_id):
            cursor.execute(_LEAVE, {**place, "span": "day", "member": member})
    return True
