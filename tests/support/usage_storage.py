"""What tests need to look behind the stores of usage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from metering.stores import EventRow
from metering.stores.partitions import list_days, name_day


def list_partitions_of(rows: Sequence[EventRow]) -> set[str]:
    """Return the names of the partitions that events lie in."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT tableoid::regclass::text FROM usage_events WHERE id = ANY(%s::uuid[])",
            [[row.id for row in rows]],
        )
        return {name for (name,) in cursor.fetchall()}


def drop_day_partitions() -> None:
    """Leave the tables as the migrations made them: for tests that commit."""
    with transaction.atomic(), connection.cursor() as cursor:
        for day in list_days():
            cursor.execute(f"DROP TABLE {name_day(day)}")


def reset_generations() -> None:
    """Leave the first generation of keys alone, and empty: for tests that commit."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_key_generations")
        for name in list_key_partitions():
            cursor.execute(f"DROP TABLE {name}")
        cursor.execute("CREATE TABLE usage_keys_1 PARTITION OF usage_keys FOR VALUES IN (1)")


def list_key_partitions() -> list[str]:
    """Return the names of the partitions of keys, in order of name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usage_keys'::regclass ORDER BY 1"
        )
        return [name for (name,) in cursor.fetchall()]


@contextmanager
def tampering() -> Iterator[CursorWrapper]:
    """Let a superuser change what triggers guard."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield cursor
        cursor.execute("SET LOCAL session_replication_role = origin")


def midnight(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)
