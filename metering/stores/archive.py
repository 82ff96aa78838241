"""
Days that leave the database: written to a file, read back, and only then dropped.

A file is gzip: a line that says which day it is, a line of JSON for each event, and a line with their number and the
SHA-256 over their lines. Whatever fails or is interrupted, the day is in the database until a whole file was read.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from django.db import connection, transaction

from metering.models import ArchivedUsageDay
from metering.stores.brief_locks import brief_locks, keep_writers_out
from metering.stores.partitions import attach_day, make_day_table, name_day
from metering.stores.quantities import STANDS

FORMAT: Final = "countinghouse-usage-day/1"
_CHUNK: Final = 2_000


class ArchiveUnreadable(Exception):
    """A file is not what was written, or not the file of this day."""


class DayChanged(Exception):
    """Usage of the day has arrived since it was written to a file. Nothing was dropped."""


@dataclass(frozen=True, slots=True)
class DayFile:
    """What a file holds: the events of a UTC day, and the SHA-256 over their lines."""

    day: date
    events: int
    checksum: str


def read_last_recorded(day: date) -> datetime | None:
    """Return when the last event of a day was recorded; None when it has none. Reads its partition."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(recorded_at) FROM {name_day(day)}")  # noqa: S608 - a name of our own
        row = cursor.fetchone()
    return row[0] if row else None


def write_day_file(day: date, path: Path) -> DayFile:
    """
    Write the events of a day to `path` and return what was written, read back from the disk.

    It appears under its name when it is whole.
    :raises ArchiveUnreadable: if what is read back is not what was written. :raises OSError: if the disk refuses.
    """
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, events = sha256(), 0
    with part.open("wb") as raw:
        part.chmod(0o600)
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
            packed.write(_as_line({"format": FORMAT, "day": str(day)}))
            for line in _read_events(day):
                digest.update(line)
                packed.write(line)
                events += 1
            packed.write(_as_line({"events": events, "sha256": digest.hexdigest()}))
        raw.flush()
        os.fsync(raw.fileno())
    written = DayFile(day, events, digest.hexdigest())
    if read_day_file(part) != written:
        raise ArchiveUnreadable(f"{part} reads back as something else")
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return written


def read_day_file(path: Path, take: Callable[[list[bytes]], None] | None = None) -> DayFile:
    """
    Read a file to its end and return what it holds; `take` gets its lines, some thousands at a time.

    :raises ArchiveUnreadable: if it is cut off, damaged, or nothing of ours; `take` may have got lines by then.
    """
    digest, events, lines = sha256(), 0, list[bytes]()
    try:
        with gzip.open(path, "rb") as packed:
            head = json.loads(packed.readline())
            last = b""
            for line in packed:
                if last:
                    digest.update(last)
                    events += 1
                    lines.append(last)
                    if take is not None and len(lines) >= _CHUNK:
                        take(lines)
                    if len(lines) >= _CHUNK:
                        lines = []
                last = line
            tail = json.loads(last)
        found = DayFile(date.fromisoformat(head["day"]), events, digest.hexdigest())
        is_right = (head["format"], tail["events"], tail["sha256"]) == (FORMAT, events, found.checksum)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise ArchiveUnreadable(f"{path} cannot be read: {error}") from error
    if not is_right:
        raise ArchiveUnreadable(f"{path} does not hold what its last line says")
    if take is not None and lines:
        take(lines)
    return found


def drop_day(file: DayFile, *, path: Path, at: datetime) -> None:
    """
    Drop the partition of a day that `path` holds, and keep what it came to. One transaction.

    :raises DayChanged: if the day holds other events than the file. :raises StorageBusy: when others are in the way.
    """
    table = name_day(file.day)
    with brief_locks() as cursor:
        cursor.execute("DELETE FROM archived_usage_totals WHERE day = %s", [file.day])
        cursor.execute(_KEEP_TOTALS.format(table=table), [file.day])
        keep_writers_out(cursor)
        cursor.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - a name of our own
        events = cursor.fetchone()[0]
        if events != file.events:
            raise DayChanged(f"{file.day}: {file.events} events are in the file, {events} in the database")
        ArchivedUsageDay.objects.update_or_create(
            day=file.day,
            defaults={
                "events": file.events,
                "checksum": file.checksum,
                "file": path.name,
                "archived_at": at,
                "restored_at": None,
            },
        )
        cursor.execute(f"DROP TABLE {table}")


def restore_day(path: Path, *, at: datetime) -> DayFile:
    """
    Read a day back into the database, where its totals have stayed, and return what it holds. One transaction.

    Events that came late meanwhile stay.
    :raises ArchiveUnreadable: if the file is damaged, or not the one that this database wrote of the day.
    :raises StorageBusy: when others are in the way.
    """
    file = read_day_file(path)
    with brief_locks() as cursor:
        archived = ArchivedUsageDay.objects.filter(day=file.day, restored_at=None).first()
        if archived is None:
            raise ArchiveUnreadable(f"{file.day} is not away from this database")
        if (archived.events, archived.checksum) != (file.events, file.checksum):
            raise ArchiveUnreadable(f"{path} is not the file that {file.day} was written to")
        make_day_table(cursor, file.day)
        insert = _RESTORE.format(table=name_day(file.day))
        again = read_day_file(path, lambda lines: cursor.execute(insert, [f"[{b','.join(lines).decode()}]"]))
        if again != file:
            raise ArchiveUnreadable(f"{path} has changed while it was read")
        attach_day(cursor, file.day)
        archived.restored_at = at
        archived.save(update_fields=["restored_at"])
    return file


# Numbers and times keep every digit as text of PostgreSQL's own.
_READ: Final = "SELECT row_to_json(e)::text FROM {table} e ORDER BY account_id, meter_id, timestamp, id"
_RESTORE: Final = "INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::usage_events, %s::json)"
_KEEP_TOTALS: Final = f"""
    INSERT INTO archived_usage_totals (day, meter_id, rows, total, events, charged_total, charged_events, highest)
    SELECT %s, e.meter_id, count(*), sum(e.value), sum(e.weight),
           coalesce(sum(e.value) FILTER (WHERE e.charged), 0), coalesce(sum(e.weight) FILTER (WHERE e.charged), 0),
           coalesce(max(e.value) FILTER (WHERE m.aggregation = 'max' AND {STANDS}), 0)
    FROM {{table}} e JOIN meters m ON m.id = e.meter_id
    GROUP BY e.meter_id, m.aggregation
"""  # noqa: S608 - constants of this module


def _read_events(day: date) -> Iterator[bytes]:
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute(_READ.format(table=name_day(day)))
        while rows := cursor.fetchmany(_CHUNK):
            for (text,) in rows:
                yield f"{text}\n".encode()


def _as_line(content: dict[str, Any]) -> bytes:
    return f"{json.dumps(content)}\n".encode()
