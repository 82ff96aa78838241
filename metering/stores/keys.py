"""
Generations of counted keys: opened, closed, merged, dropped.

Keys are random, so an index that does not fit into memory costs a read from disk for each of them. Writers therefore
add to a small open partition, and only look into the closed ones. Those are merged into larger ones, and leave with
the look-back. See ADR 0030.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.backends.utils import CursorWrapper

from metering.models import UsageKeyGeneration
from metering.rating.key_generations import ClosedGeneration, choose_merge
from metering.stores.brief_locks import StorageBusy, brief_locks, keep_writers_out

_KEYS_PER_PAGE: Final = 120  # a key takes 68 of the 8,168 bytes of a page
_STALE: Final = timedelta(days=1)
_WORTH_ROTATING: Final = 10  # a day is over: rotate from this part of the limit on
_SWAPS: Final = 5


@dataclass(frozen=True, slots=True)
class Merge:
    """Generations that became one, or were dropped when `number` is None."""

    merged: tuple[int, ...]
    number: int | None
    keys: int = 0


def first_kept(at: datetime) -> date:
    """Return the first day whose keys are known; a key recorded before it may be counted again."""
    return at.date() - timedelta(days=settings.BILLING_USAGE_LOOKBACK_DAYS - 1)


def rotate_keys(at: datetime) -> int | None:
    """
    Open a new generation when the open one has grown, and return its number; None when it has not.

    It has grown with `BILLING_USAGE_KEYS_PER_GENERATION` keys, or a tenth of them when it is a day old.
    :raises StorageBusy: when writers do not let it. Nothing was done then.
    """
    with brief_locks() as cursor:
        current = _get_open(at)
        keys = _estimate_keys(cursor, current.number)
        limit = settings.BILLING_USAGE_KEYS_PER_GENERATION
        has_aged = at - current.opened_at >= _STALE and keys * _WORTH_ROTATING >= limit
        if keys < limit and not has_aged:
            return None
        number = _next_number()
        # Not `PARTITION OF`, which would lock the whole table.
        cursor.execute(f"CREATE TABLE usage_keys_{number} (LIKE usage_keys INCLUDING ALL)")
        cursor.execute(f"ALTER TABLE usage_keys ATTACH PARTITION usage_keys_{number} FOR VALUES IN ({number})")
        keep_writers_out(cursor)
        current.is_open, current.closed_at, current.keys = False, at, keys
        current.save(update_fields=["is_open", "closed_at", "keys"])
        UsageKeyGeneration.objects.create(number=number, is_open=True, opened_at=at)
    return number


def drop_expired_keys(at: datetime) -> list[int]:
    """
    Drop the closed generations none of whose keys is known any more, and return their numbers.

    :raises StorageBusy: when others read the keys all the time. Nothing was done then.
    """
    dropped = []
    with brief_locks() as cursor:
        closed = UsageKeyGeneration.objects.filter(is_open=False, closed_at__date__lt=first_kept(at))
        for generation in closed.order_by("number"):
            table = f"usage_keys_{generation.number}"
            cursor.execute(f"SELECT EXISTS (SELECT FROM {table} WHERE recorded_on >= %s)", [first_kept(at)])  # noqa: S608
            if not cursor.fetchone()[0]:
                dropped.append(generation.number)
        if dropped:
            _swap(cursor, dropped)
    return dropped


def merge_keys(at: datetime) -> Merge | None:
    """
    Merge closed generations of similar size into one, and return what was done; None when nothing needs it.

    The merged partition is built beside them, from what only is read; writers wait for the swap alone. Keys that are
    older than the look-back are left out. One transaction.
    :raises StorageBusy: when writers or readers do not let the swap happen. Nothing was done then.
    """
    with brief_locks() as cursor:
        closed = {each.number: each for each in UsageKeyGeneration.objects.filter(is_open=False)}
        chosen = choose_merge([ClosedGeneration(each.number, each.keys) for each in closed.values()])
        if not chosen:
            return None
        parts = [closed[number] for number in chosen]
        number = _next_number()
        keys = _build_merged(cursor, number, chosen, first_kept(at))
        for attempt in range(_SWAPS):
            try:
                with brief_locks():
                    _swap(cursor, chosen)
                    cursor.execute(
                        f"ALTER TABLE usage_keys ATTACH PARTITION usage_keys_{number} FOR VALUES IN ({number})"
                    )
                    cursor.execute(f"ALTER TABLE usage_keys_{number} DROP CONSTRAINT usage_keys_{number}_generation")
                    UsageKeyGeneration.objects.create(
                        number=number,
                        is_open=False,
                        keys=keys,
                        opened_at=min(each.opened_at for each in parts),
                        closed_at=max(each.closed_at for each in parts if each.closed_at is not None),
                    )
                break
            except StorageBusy:
                if attempt == _SWAPS - 1:
                    raise
    return Merge(chosen, number, keys)


def _build_merged(cursor: CursorWrapper, number: int, chosen: tuple[int, ...], since: date) -> int:
    """Fill the table of a generation with the keys of others, in order, and return how many; it is attached later."""
    table = f"usage_keys_{number}"
    cursor.execute(f"CREATE TABLE {table} (LIKE usage_keys)")
    parts = " UNION ALL ".join(f"SELECT id, timestamp, recorded_on FROM usage_keys_{part}" for part in chosen)  # noqa: S608
    # Of a key that was counted again after the look-back, the later time: the earlier is not known any more.
    cursor.execute(
        f"INSERT INTO {table} (id, generation, timestamp, recorded_on) "  # noqa: S608 - numbers of our own
        f"SELECT DISTINCT ON (id) id, {number}, timestamp, recorded_on FROM ({parts}) k WHERE recorded_on >= %s "
        "ORDER BY id, recorded_on DESC",
        [since],
    )
    keys: int = cursor.rowcount
    cursor.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id, generation)")
    # Attaching need not look through the rows when a constraint says what they are.
    cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {table}_generation CHECK (generation = {number})")
    cursor.execute(f"ANALYZE {table}")
    return keys


def _swap(cursor: CursorWrapper, leaving: list[int] | tuple[int, ...]) -> None:
    """Let generations leave, while nobody writes."""
    keep_writers_out(cursor)
    for number in leaving:
        cursor.execute(f"DROP TABLE usage_keys_{number}")
    UsageKeyGeneration.objects.filter(number__in=leaving).delete()


def _get_open(at: datetime) -> UsageKeyGeneration:
    """Return the open generation. Without any row it is the first, which is written down then."""
    found = UsageKeyGeneration.objects.filter(is_open=True).first()
    return found or UsageKeyGeneration.objects.create(number=1, is_open=True, opened_at=at)


def _next_number() -> int:
    newest = UsageKeyGeneration.objects.order_by("-number").first()
    return 1 + (newest.number if newest is not None else 1)


def _estimate_keys(cursor: CursorWrapper, number: int) -> int:
    """Return about how many keys a generation has, from the size of its table: all keys are of one size."""
    cursor.execute(
        "SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::bigint", [f"usage_keys_{number}"]
    )
    pages: int = cursor.fetchone()[0]
    return pages * _KEYS_PER_PAGE
