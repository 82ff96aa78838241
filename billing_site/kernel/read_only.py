"""Looking without touching: a block in which the database refuses to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def read_only() -> Iterator[None]:
    """
    Run the block in a read-only transaction: whatever it does, nothing is written and no row is locked.

    Inside another transaction it holds for the block alone.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        yield
