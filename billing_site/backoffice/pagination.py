"""A paginator that never counts a large table to the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db import connections
from django.db.models import QuerySet
from django.utils.functional import cached_property

COUNT_LIMIT = 10_000


if TYPE_CHECKING:
    BasePaginator = Paginator[Any]
else:
    BasePaginator = Paginator


class CappedPaginator(BasePaginator):
    """
    Counts exactly up to `COUNT_LIMIT` rows; beyond, answers PostgreSQL's estimate.

    The work of opening a list therefore does not grow with the table.
    """

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        if rows.query.is_sliced:
            return rows.count()
        capped = rows.order_by()[: COUNT_LIMIT + 1].count()
        return capped if capped <= COUNT_LIMIT else max(capped, _estimate_rows(rows))


def _estimate_rows(rows: QuerySet[Any]) -> int:
    """Return the planner's row estimate of the query."""
    sql, parameters = rows.order_by().values("pk").query.sql_with_params()
    with connections[rows.db].cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
        row = cursor.fetchone()
    plan = json.loads(row[0]) if isinstance(row[0], str) else row[0]
    return int(plan[0]["Plan"]["Plan Rows"])
