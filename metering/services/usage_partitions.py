"""Upkeep of the tables of usage: days made ahead, strays moved, keys rotated and merged, old minutes cleared away."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from django.conf import settings

from metering.models import ArchivedUsageDay
from metering.stores.brief_locks import StorageBusy
from metering.stores.counters import delete_minutes_before
from metering.stores.keys import drop_expired_keys, merge_keys, rotate_keys
from metering.stores.partitions import add_day, list_days, list_stray_days

logger = logging.getLogger(__name__)

DAYS_BACK: Final = 2
WORTH_A_DAY: Final = 10_000
"""So many events of a day outside the running ones get it a partition; fewer stay in the default one."""
_MOVED_IN_A_RUN: Final = 500_000
_MINUTES_KEPT: Final = timedelta(hours=1)
_ATTEMPTS: Final = 3


@dataclass(slots=True)
class PartitionUpkeep:
    """What a run did: days that got a partition, events that were moved into them, and what stays in the default."""

    added: list[date] = field(default_factory=list)
    moved: int = 0
    strays: int = 0
    waiting: list[date] = field(default_factory=list)


def keep_partitions(*, at: datetime) -> PartitionUpkeep:
    """
    Make the partitions of the days around `at` and of every other day with many events, oldest strays first.

    From two days back to `BILLING_USAGE_DAYS_AHEAD` days ahead. A day that others are in the way of waits for the next
    run, and so does the rest when half a million events were moved. Events of archived and odd days stay in place.
    """
    upkeep = PartitionUpkeep()
    today = at.date()
    wanted = {today + timedelta(days=offset) for offset in range(-DAYS_BACK, settings.BILLING_USAGE_DAYS_AHEAD + 1)}
    strays = {stray.day: stray.events for stray in list_stray_days()}
    archived = set(ArchivedUsageDay.objects.filter(restored_at=None, day__in=strays).values_list("day", flat=True))
    wanted |= {day for day, events in strays.items() if events >= WORTH_A_DAY and day not in archived}
    missing = wanted - set(list_days())
    # Days without strays cost nothing, and tomorrow must not wait for the past.
    for day in sorted(missing, key=lambda day: (strays.get(day, 0) > 0, day)):
        if upkeep.moved >= _MOVED_IN_A_RUN or not _add_day(day, upkeep):
            upkeep.waiting.append(day)
    upkeep.strays = max(0, sum(strays.values()) - upkeep.moved)
    if upkeep.moved or upkeep.waiting:
        logger.warning(
            "usage events without a day of their own: %d moved, %d left, days waiting: %s",
            upkeep.moved,
            upkeep.strays,
            ", ".join(map(str, upkeep.waiting)) or "none",
        )
    return upkeep


def _add_day(day: date, upkeep: PartitionUpkeep) -> bool:
    for _ in range(_ATTEMPTS):
        try:
            upkeep.moved += add_day(day)
        except StorageBusy as busy:
            logger.info("the partition of %s has to wait: %s", day, busy)
        else:
            upkeep.added.append(day)
            return True
    return False


def keep_keys(*, at: datetime) -> str:
    """Open a new generation of keys where one is due, drop and merge old ones; return what was done, for the log."""
    done = []
    try:
        if (number := rotate_keys(at)) is not None:
            done.append(f"opened {number}")
        if dropped := drop_expired_keys(at):
            done.append(f"dropped {dropped}")
        if (merge := merge_keys(at)) is not None:
            done.append(f"merged {list(merge.merged)} into {merge.number}: {merge.keys} keys")
    except StorageBusy as busy:
        done.append(f"waiting: {busy}")
    if done:
        logger.info("usage keys: %s", "; ".join(done))
    return "; ".join(done)


def purge_minutes(*, at: datetime) -> int:
    """Delete the counters of minutes that are more than an hour old and return how many rows there were."""
    return delete_minutes_before(at - _MINUTES_KEPT)
