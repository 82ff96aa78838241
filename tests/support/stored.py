"""What is stored, all of it: to tell that nothing was, or that the same was."""

from __future__ import annotations

import re

from django.db import connection, transaction
from psycopg import sql

_VOLATILE = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b[a-z]{2,8}_[0-9A-Za-z]{20,}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"\b20(?:2[5-9]|[3-9]\d)-\d\d-\d\d[T ][0-9:.+]*"), "<now>"),  # stories are from 2023
)


def hash_database() -> dict[str, str]:
    """Return a hash of the rows of every table that has some: two equal answers mean that nothing was stored."""
    with transaction.atomic(), connection.cursor() as cursor:
        # A billing run forbids scans for the rest of its transaction; they would look costly enough to be compiled.
        cursor.execute("SET LOCAL enable_seqscan TO on")
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
            "AND NOT relispartition"
        )
        parts = [
            sql.SQL("SELECT {}, md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM {} AS t").format(
                sql.Literal(table), sql.Identifier("public", table)
            )
            for (table,) in cursor.fetchall()
        ]
        cursor.execute(sql.SQL(" UNION ALL ").join(parts).as_string(connection.connection))
        return {table: value for table, value in cursor.fetchall() if value}


def describe_rows(*, without: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """
    Return the rows of every table as text, without what differs between two runs of the same action.

    Ids, hashes and the time of the wall clock (not that of the story) are replaced by a word.
    """
    stored = {}
    with connection.cursor() as cursor:
        for table in hash_database().keys() - set(without):
            cursor.execute(
                sql.SQL("SELECT (to_jsonb(t) - 'id')::text FROM {} AS t")
                .format(sql.Identifier("public", table))
                .as_string(connection.connection)
            )
            rows = [row for (row,) in cursor.fetchall()]
            for pattern, word in _VOLATILE:
                rows = [pattern.sub(word, row) for row in rows]
            stored[table] = sorted(rows)
    return stored
