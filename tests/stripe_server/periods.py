"""Billing periods by the calendar: always counted from the anchor, clamped to the end of short months."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta


def add_intervals(anchor: int, *, interval: str, count: int) -> int:
    """Return the instant `count` intervals (`day`, `week`, `month`, `year`) after an anchor, in Unix seconds, UTC."""
    at = datetime.fromtimestamp(anchor, UTC)
    if interval in {"day", "week"}:
        return int((at + timedelta(days=count * (7 if interval == "week" else 1))).timestamp())
    months = at.year * 12 + at.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(at.day, calendar.monthrange(year, month + 1)[1])
    return int(at.replace(year=year, month=month + 1, day=day).timestamp())


def next_boundary(anchor: int, after: int, *, interval: str, count: int) -> int:
    """Return the first boundary later than an instant."""
    number = 1
    while (boundary := add_intervals(anchor, interval=interval, count=number * count)) <= after:
        number += 1
    return boundary
