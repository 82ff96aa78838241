"""Who used something of late."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import connection

_ACTIVE = """
    SELECT DISTINCT account_id FROM usage_counters
    WHERE span = 'hour' AND starts_at >= date_trunc('hour', %s::timestamptz, 'UTC')
      AND (%s::uuid IS NULL OR account_id > %s::uuid)
    ORDER BY account_id LIMIT %s
"""


def list_active_accounts(*, since: datetime, limit: int, after: UUID | None = None) -> list[UUID]:
    """Return accounts with an event in the UTC hour around `since` or later, in the order of their keys. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_ACTIVE, [since, after, after, limit])
        return [key for (key,) in cursor.fetchall()]
