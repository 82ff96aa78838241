"""
Days of events: each UTC day of event time has a partition of its own, `usage_events_YYYYMMDD`.

Made ahead of time. What no partition was made for lies in the default one, until its day gets one. Attaching takes a
lock on the default partition and looks through it, so it is kept small. See ADR 0030.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from django.db import connection
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from billing_site.kernel.periods import Period
from metering.stores.brief_locks import brief_locks, keep_writers_out

DEFAULT: Final = "usage_events_default"
_PREFIX: Final = "usage_events_"
_ROW_GUARD: Final = "pgtrigger_append_only_rows_d3c5a"
_TABLE_GUARD: Final = "pgtrigger_append_only_table_30d07"


@dataclass(frozen=True, slots=True)
class StrayDay:
    """A day some of whose events lie in the default partition."""

    day: date
    events: int


class PartitionWrong(Exception):
    """What was copied is not what was there. Nothing was changed."""


def name_day(day: date) -> str:
    """Return the name of the partition of a day."""
    return f"{_PREFIX}{day:%Y%m%d}"


def span_day(day: date) -> Period:
    """Return the half-open period of a UTC day."""
    start = datetime.combine(day, time.min, UTC)
    return Period(start, start + timedelta(days=1))


def list_days() -> list[date]:
    """Return the days that have a partition, ascending."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT right(c.relname, 8)::date FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            r"WHERE i.inhparent = 'usage_events'::regclass AND c.relname ~ '^usage_events_\d{8}$' ORDER BY 1"
        )
        return [day for (day,) in cursor.fetchall()]


def list_stray_days() -> list[StrayDay]:
    """Return the days in the default partition, ascending. Reads all of it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (timestamp AT TIME ZONE 'UTC')::date, count(*) FROM usage_events_default GROUP BY 1 ORDER BY 1"
        )
        return [StrayDay(day, events) for day, events in cursor.fetchall()]


def add_day(day: date) -> int:
    """
    Give a day its partition and return how many events of it were moved there from the default one. One transaction.

    Events are copied beside the writers, who wait while the copies take the place of the originals.
    :raises StorageBusy: when somebody writes, or reads the default partition, all the time. Nothing was done then.
    """
    with brief_locks() as cursor:
        make_day_table(cursor, day)
        return attach_day(cursor, day)


def make_day_table(cursor: CursorWrapper, day: date) -> None:
    """Make the table of a day, with the guard that no partition inherits; it is attached later."""
    cursor.execute(_write("CREATE TABLE {} (LIKE usage_events INCLUDING ALL)", day))
    cursor.execute(
        _write(
            f"CREATE TRIGGER {_TABLE_GUARD} BEFORE TRUNCATE ON {{}} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {_TABLE_GUARD}()",
            day,
        )
    )


def attach_day(cursor: CursorWrapper, day: date) -> int:
    """Make the table of a day its partition, and return how many events were moved there from the default one."""
    copied = _copy_strays(cursor, day)
    if copied:
        cursor.execute(_write("ANALYZE {}", day))  # planned by at once, not only when the server comes round to it
    # A writer that has chosen the default partition already would be refused by it once the day has its own.
    keep_writers_out(cursor)
    copied += _copy_strays(cursor, day)
    if copied:
        _remove_strays(cursor, day, copied)
    cursor.execute(
        _write("ALTER TABLE usage_events ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})", day, span_day(day))
    )
    return copied


def _copy_strays(cursor: CursorWrapper, day: date) -> int:
    """Copy what lies in the default partition of a day and was not copied yet. Events never change."""
    period = span_day(day)
    cursor.execute(
        _write(
            "INSERT INTO {0} SELECT e.* FROM usage_events_default e WHERE e.timestamp >= %s AND e.timestamp < %s "
            "AND NOT EXISTS (SELECT FROM {0} c WHERE c.id = e.id AND c.timestamp = e.timestamp)",
            day,
        ),
        [period.start, period.end],
    )
    copied: int = cursor.rowcount
    return copied


def _remove_strays(cursor: CursorWrapper, day: date, copied: int) -> None:
    """Take the originals away. The owner lifts the guard of the default partition for that, and only for that."""
    period = span_day(day)
    cursor.execute(f"ALTER TABLE usage_events_default DISABLE TRIGGER {_ROW_GUARD}")
    cursor.execute(
        "DELETE FROM usage_events_default WHERE timestamp >= %s AND timestamp < %s", [period.start, period.end]
    )
    removed = cursor.rowcount
    cursor.execute(f"ALTER TABLE usage_events_default ENABLE TRIGGER {_ROW_GUARD}")
    if removed != copied:
        raise PartitionWrong(f"{day}: {copied} events were copied and {removed} removed")


def _write(text: str, day: date, period: Period | None = None) -> str:
    values: list[sql.Composable] = [sql.Identifier(name_day(day))]
    if period is not None:
        values += [sql.Literal(period.start.isoformat()), sql.Literal(period.end.isoformat())]
    return sql.SQL(text).format(*values).as_string(connection.connection)
