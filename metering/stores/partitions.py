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
from metering.stores.brief_locks import brief_locks

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

    Writers of days without a partition wait while events are moved; all other writers do not.
    :raises StorageBusy: when somebody reads or writes the default partition all the time. Nothing was done then.
    """
    with brief_locks() as cursor:
        make_day_table(cursor, day)
        # Nothing of the day may arrive in the default partition from here on.
        cursor.execute("LOCK TABLE usage_events_default IN SHARE ROW EXCLUSIVE MODE")
        moved = _move_strays(cursor, day)
        attach_day(cursor, day)
    return moved


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


def attach_day(cursor: CursorWrapper, day: date) -> None:
    period = span_day(day)
    statement = _write("ALTER TABLE usage_events ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})", day, period)
    cursor.execute(statement)


def _move_strays(cursor: CursorWrapper, day: date) -> int:
    """Move the events of a day out of the default partition. Its owner lifts the guard for that, and only for that."""
    period = span_day(day)
    bounds = [period.start, period.end]
    cursor.execute(
        _write("INSERT INTO {} SELECT * FROM usage_events_default WHERE timestamp >= %s AND timestamp < %s", day),
        bounds,
    )
    moved: int = cursor.rowcount
    if moved:
        cursor.execute(f"ALTER TABLE usage_events_default DISABLE TRIGGER {_ROW_GUARD}")
        cursor.execute("DELETE FROM usage_events_default WHERE timestamp >= %s AND timestamp < %s", bounds)
        deleted = cursor.rowcount
        cursor.execute(f"ALTER TABLE usage_events_default ENABLE TRIGGER {_ROW_GUARD}")
        if deleted != moved:
            raise PartitionWrong(f"{day}: {moved} events were copied and {deleted} removed")
    return moved


def _write(text: str, day: date, period: Period | None = None) -> str:
    values: list[sql.Composable] = [sql.Identifier(name_day(day))]
    if period is not None:
        values += [sql.Literal(period.start.isoformat()), sql.Literal(period.end.isoformat())]
    return sql.SQL(text).format(*values).as_string(connection.connection)
