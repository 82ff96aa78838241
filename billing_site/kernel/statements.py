"""
Prepared statements for the few queries that run all the time.

Django's cursors write values into the text of a query, which the server then reads, parses and plans every time. These
send values apart, and the server keeps the plan. They take part in the transaction, the query log and the query counts
of Django's connection like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper


class _Preparing:
    """Prepares what it executes. Before a cursor of psycopg among the bases."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        cursor: Any = super()
        if not settings.BILLING_DB_PREPARE:
            return cursor.execute(query, params, prepare=False, **options)
        # Django turns preparing off for its connections; it is on for this statement only, because the count of what
        # was run how often keeps the text of every query.
        raw: Any = self.connection  # type: ignore[attr-defined]
        raw.prepare_threshold = 0
        try:
            return cursor.execute(query, params, prepare=True, **options)
        finally:
            raw.prepare_threshold = None


class _PreparedCursor(_Preparing, psycopg.Cursor[Any]):
    pass


class _NumberedCursor(_Preparing, psycopg.RawCursor[Any]):
    pass


class _LoggedCursor(CursorDebugWrapper):
    """Logs statements as they were written: a prepared one is not at hand as the server got it."""

    @contextmanager
    def debug_sql(self, sql: Any = None, *arguments: Any, **options: Any) -> Iterator[None]:
        with super().debug_sql(sql, *arguments, **options):
            yield
        if self.db.queries_log and self.db.queries_log[-1]["sql"] is None:
            self.db.queries_log[-1]["sql"] = str(sql)


def prepared_cursor(*, numbered: bool = False) -> CursorWrapper:
    """
    Return a cursor whose statements are prepared on the current connection. Close it, or use it in a `with`.

    Values go to the server as they are: name their types in the statement (`%s::uuid[]`). With `numbered` a statement
    has the server's own placeholders (`$1::uuid`), and its text is not read again every time: for long ones.
    """
    connection.ensure_connection()
    raw: Any = (_NumberedCursor if numbered else _PreparedCursor)(connection.connection)
    if connection.queries_logged:
        return _LoggedCursor(raw, connection)
    return connection.make_cursor(raw)
