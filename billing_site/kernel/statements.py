"""
Prepared statements for the few queries that run all the time.

Django's cursors write values into the text of a query, which the server then reads, parses and plans every time. These
send values apart, and the server keeps the plan. They take part in the transaction, the query log and the query counts
of Django's connection like any other.
"""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.db.backends.utils import CursorWrapper


class _PreparedCursor(psycopg.Cursor[Any]):
    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        if not settings.BILLING_DB_PREPARE:
            return super().execute(query, params, prepare=False, **options)
        # Django turns preparing off for its connections; it is on for this statement only, because the count of what
        # was run how often keeps the text of every query.
        self.connection.prepare_threshold = 0
        try:
            return super().execute(query, params, prepare=True, **options)
        finally:
            self.connection.prepare_threshold = None


def prepared_cursor() -> CursorWrapper:
    """
    Return a cursor whose statements are prepared on the current connection. Close it, or use it in a `with`.

    Values go to the server as they are: name their types in the statement (`%s::uuid[]`).
    """
    connection.ensure_connection()
    raw: Any = _PreparedCursor(connection.connection)
    if connection.queries_logged:
        return connection.make_debug_cursor(raw)
    return connection.make_cursor(raw)
