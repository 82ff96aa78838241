"""What all accounts used of each meter in each month."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import connection


class MonthTotal(NamedTuple):
    """A meter in a UTC month: the sum of what was told, how many events, how many accounts."""

    starts_at: datetime
    meter_id: UUID
    total: Decimal
    events: int
    accounts: int


_MONTHS = """
    SELECT counter.starts_at, counter.meter_id, sum(counter.total), sum(counter.events)::bigint,
        count(DISTINCT counter.account_id)
    FROM usage_counters AS counter JOIN accounts AS account ON account.id = counter.account_id
    WHERE counter.span = 'month' AND counter.starts_at >= %(start)s AND counter.starts_at < %(end)s
        AND (%(org)s::text IS NULL OR account.org_id = %(org)s)
    GROUP BY counter.starts_at, counter.meter_id HAVING sum(counter.events) > 0
    ORDER BY counter.starts_at, counter.meter_id
"""


def sum_months(*, org_id: str | None, start: datetime, end: datetime) -> list[MonthTotal]:
    """Return the totals of the UTC months that begin in `[start, end)`, of one organization or all. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(_MONTHS, {"org": org_id, "start": start, "end": end})
        return [MonthTotal(*row) for row in cursor.fetchall()]
