"""Counting calls, over all processes, where guessing must be slow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

_COUNT = """
    INSERT INTO call_counts (operation, caller, window_start, calls) VALUES (%(operation)s, %(caller)s, %(at)s, 1)
    ON CONFLICT (operation, caller) DO UPDATE SET
        calls = CASE WHEN call_counts.window_start > %(cutoff)s AND call_counts.window_start <= EXCLUDED.window_start
            THEN LEAST(call_counts.calls, 1000000) + 1 ELSE 1 END,
        window_start = CASE
            WHEN call_counts.window_start > %(cutoff)s AND call_counts.window_start <= EXCLUDED.window_start
            THEN call_counts.window_start ELSE EXCLUDED.window_start END
    RETURNING calls, window_start
"""


@dataclass(frozen=True, slots=True)
class CountedCall:
    """How many calls there were in the window with this one, and when the window ends."""

    calls: int
    window_end: datetime


def count_call(*, operation: str, caller: str, window: timedelta, at: datetime) -> CountedCall:
    """Count a call of `caller` to `operation` and return where it stands; a window begins with its first call."""
    values: dict[str, str | datetime] = {"operation": operation, "caller": caller, "at": at, "cutoff": at - window}
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, values)
        calls, start = cursor.fetchone()
    return CountedCall(calls, start + window)
