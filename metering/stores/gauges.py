"""The last value that was reported on a meter: what a gauge shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import connection

from metering.stores.quantities import STANDS

_LAST_VALUES = f"""
    SELECT r.account_id, r.meter_id, newest.value
    FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[]) AS r (account_id, meter_id, ends_at)
    CROSS JOIN LATERAL (
        SELECT e.value FROM usage_events e
        WHERE e.account_id = r.account_id AND e.meter_id = r.meter_id AND e.timestamp < r.ends_at AND {STANDS}
        ORDER BY e.timestamp DESC, e.id DESC LIMIT 1
    ) newest
"""  # noqa: S608 - a constant of the package


def read_last_values(wanted: Mapping[tuple[UUID, UUID], datetime]) -> dict[tuple[UUID, UUID], Decimal]:
    """
    Return the newest value before an instant of every account and meter that has one, whatever the meter aggregates.

    One statement, which reads one row of each from the index. Newest is by timestamp, then id.
    """
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        places = list(wanted)
        cursor.execute(
            _LAST_VALUES, [[place[0] for place in places], [place[1] for place in places], list(wanted.values())]
        )
        return {(account_id, meter_id): Decimal(value) for account_id, meter_id, value in cursor.fetchall()}
