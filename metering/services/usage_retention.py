"""
Old days of events leave the database for files, when nothing needs them any more.

Totals stay for ever: roll-ups, counters, members. Source: contract chapter Meters and usage; ADR 0030.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from django.conf import settings

from metering.models import ArchivedUsageDay
from metering.stores.archive import DayChanged, drop_day, read_last_recorded, write_day_file
from metering.stores.brief_locks import StorageBusy
from metering.stores.partitions import list_days, span_day

logger = logging.getLogger(__name__)

LATE_DAYS: Final = 62
"""Late usage is billed for two periods back: no day leaves that a late event could still be billed with."""
_RESTORED_STAYS: Final = timedelta(days=30)
_DAYS_IN_A_RUN: Final = 31


@dataclass(slots=True)
class Retention:
    """The days that left, and those that are old enough but have to stay, with the reason."""

    archived: list[date] = field(default_factory=list)
    kept: dict[date, str] = field(default_factory=dict)


def find_horizon(at: datetime) -> date | None:
    """Return the first day that is too young to leave; None when events are kept for ever."""
    if not settings.BILLING_USAGE_RETENTION_DAYS:
        return None
    days = max(settings.BILLING_USAGE_RETENTION_DAYS, settings.BILLING_USAGE_LOOKBACK_DAYS + LATE_DAYS)
    return at.date() - timedelta(days=days)


def archive_days(*, at: datetime, unbilled_from: datetime | None) -> Retention:
    """
    Let the days leave that are older than `BILLING_USAGE_RETENTION_DAYS`, and never younger than late usage is billed.

    A day stays while usage since before its end is not invoiced (`unbilled_from` is the earliest such moment), while
    the key of one of its events is known, and for a month after it was restored. At most a month of days.
    """
    retention = Retention()
    horizon = find_horizon(at)
    if horizon is None:
        return retention
    old = [day for day in list_days() if day < horizon]
    restored = dict(
        ArchivedUsageDay.objects.filter(day__in=old, restored_at__gt=at - _RESTORED_STAYS).values_list(
            "day", "restored_at"
        )
    )
    for day in old:
        if len(retention.archived) >= _DAYS_IN_A_RUN:
            retention.kept[day] = "the next run's"
        elif day in restored:
            retention.kept[day] = f"restored at {restored[day]:%Y-%m-%d}"
        elif unbilled_from is not None and span_day(day).end > unbilled_from:
            retention.kept[day] = f"usage since {unbilled_from:%Y-%m-%d} is not invoiced everywhere"
        elif reason := _archive(day, at):
            retention.kept[day] = reason
        else:
            retention.archived.append(day)
    if retention.archived or retention.kept:
        logger.info(
            "usage archived: %s; kept: %s",
            ", ".join(map(str, retention.archived)) or "nothing",
            "; ".join(f"{day} ({reason})" for day, reason in retention.kept.items()) or "nothing",
        )
    return retention


def _archive(day: date, at: datetime) -> str:
    """Let one day leave and return nothing, or why it has to stay."""
    recorded = read_last_recorded(day)
    if recorded is not None and recorded > at - timedelta(days=settings.BILLING_USAGE_LOOKBACK_DAYS):
        return f"usage came in at {recorded:%Y-%m-%d}"
    path = Path(settings.BILLING_USAGE_ARCHIVE_DIR) / f"usage-events-{day}.jsonl.gz"
    try:
        drop_day(write_day_file(day, path), path=path, at=at)
    except (DayChanged, StorageBusy) as reason:
        return str(reason)
    return ""
