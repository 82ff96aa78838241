"""Statements that are prepared on the server, on Django's connection."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext

from billing_site.kernel.statements import prepared_cursor

pytestmark = pytest.mark.django_db

SQL = "SELECT %s::int + 1 AS one_more"


def run(number: int) -> int:
    with prepared_cursor() as cursor:
        cursor.execute(SQL, [number])
        [result] = cursor.fetchone()
        return int(result)


def list_prepared() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE statement LIKE %s", ["%one_more%"])
        return [text for (text,) in cursor.fetchall() if "pg_prepared_statements" not in text]


class TestPreparedCursor:
    def test_prepares_a_statement_once(self) -> None:
        assert [run(1), run(2)] == [2, 3]
        assert list_prepared() == ["SELECT $1::int + 1 AS one_more"]

    def test_leaves_other_statements_of_the_connection_alone(self) -> None:
        run(1)
        for _ in range(10):
            with connection.cursor() as cursor:
                cursor.execute(SQL, [1])
        assert len(list_prepared()) == 1
        raw: Any = connection.connection
        assert raw.prepare_threshold is None

    def test_prepares_nothing_where_a_pooler_may_not_allow_it(self, settings: Any) -> None:
        settings.BILLING_DB_PREPARE = False
        assert run(4) == 5
        assert list_prepared() == []

    def test_goes_on_after_a_rollback(self) -> None:
        with pytest.raises(DataError), transaction.atomic():
            run(2**31 - 1)
        assert run(6) == 7

    def test_takes_numbered_placeholders(self) -> None:
        for number in (1, 2):
            with prepared_cursor(numbered=True) as cursor:
                cursor.execute("SELECT $1::int + 1 AS one_more, '%s'", [number])
                assert cursor.fetchone() == (number + 1, "%s")
        assert len(list_prepared()) == 1

    def test_counts_as_a_query(self) -> None:
        with CaptureQueriesContext(connection) as queries:
            run(1)
        assert len(queries) == 1
