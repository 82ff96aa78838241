"""Writing totals anew from the events, while nobody else writes usage."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from metering.stores import recomputing
from metering.stores.proof import Span, bind_long
from metering.stores.writing import KEYS_LOCK


def rewrite_totals(
    *, account_id: UUID, meter_id: UUID, days: Iterable[date], longer: Iterable[tuple[Span, datetime]]
) -> None:
    """
    Replace the roll-ups, counters and members of these days, and these weeks, months and totals, by what events make.

    In the caller's transaction, until whose end all writers of usage wait. Days whose events have left stay as they
    are.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s::bigint)", [KEYS_LOCK])
        for day in sorted(set(days)):
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
            values: dict[str, Any] = {
                "accounts": [account_id],
                "meter": meter_id,
                "start": start,
                "end": start + timedelta(days=1),
            }
            for span in ("hour", "day"):
                bound = {**values, "span": span}
                cursor.execute(recomputing.CLEAR_ROLLUPS, bound)
                cursor.execute(recomputing.WRITE_ROLLUPS, bound)
                cursor.execute(recomputing.CLEAR_COUNTERS, bound)
                cursor.execute(recomputing.WRITE_COUNTERS, bound)
            cursor.execute(recomputing.CLEAR_MEMBERS, values)
            cursor.execute(recomputing.WRITE_MEMBERS, values)
        for span_name, bucket in sorted(set(longer)):
            bound = bind_long(account_id, meter_id, span_name, bucket)
            cursor.execute(recomputing.CLEAR_LONG, bound)
            cursor.execute(recomputing.WRITE_LONG, bound)
