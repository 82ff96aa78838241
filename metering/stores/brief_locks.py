"""
Changing the tables of usage beside running writers: whoever does it gives up soon when somebody is in the way.

A lock on a table that is waited for makes everybody behind it wait too. Half a second is less than PostgreSQL waits
before it looks for deadlocks, so it is always the upkeep that gives way, never the usage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg.errors import DeadlockDetected, LockNotAvailable

from billing_site.kernel.locks import try_lock
from metering.stores.writing import KEYS_LOCK

_PATIENCE: Final = "500ms"


class StorageBusy(Exception):
    """Others hold what was to be changed. Nothing was; try again later."""


@contextmanager
def brief_locks() -> Iterator[CursorWrapper]:
    """
    Run the block in a transaction (a savepoint, inside of one) that waits for no lock longer than half a second.

    :raises StorageBusy: when it would have to, or when another process does upkeep. Nothing of the block remains.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            if not try_lock("usage-storage"):
                raise StorageBusy("other upkeep is running")
            cursor.execute("SET LOCAL lock_timeout = %s", [_PATIENCE])
            yield cursor
            cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
            raise StorageBusy(str(error)) from error
        raise


def keep_writers_out(cursor: CursorWrapper) -> None:
    """Wait until nobody writes usage, and let nobody begin to until the transaction ends."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s::bigint)", [KEYS_LOCK])
