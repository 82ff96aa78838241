"""
Rows of a model read by hand-written SQL, as instances that Django would have made.

The ORM builds the text of a query anew each time, which takes longer than the server needs to answer it. Queries that
run thousands of times a second are written once, with these columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

from django.db import connection
from django.db.models import Model

M = TypeVar("M", bound=Model)


class ModelRows(Generic[M]):
    """The columns of `model`, all of them and in order, and the way back from them."""

    def __init__(self, model: type[M], alias: str) -> None:
        fields = model._meta.concrete_fields
        self._model = model
        self._names: Final = [field.attname for field in fields]
        quote = connection.ops.quote_name
        self.columns: Final = ", ".join(f"{alias}.{quote(str(field.column))}" for field in fields)
        self.width: Final = len(fields)
        self._converters: Final = [
            (place, convert, field.get_col(model._meta.db_table))
            for place, field in enumerate(fields)
            for convert in [
                *connection.ops.get_db_converters(field.get_col(model._meta.db_table)),
                *field.get_db_converters(connection),
            ]
        ]

    def read(self, row: Sequence[Any]) -> M:
        """Return the instance of a row of `columns`."""
        values = list(row)
        for place, convert, column in self._converters:
            values[place] = convert(values[place], column, connection)
        return self._model.from_db(connection.alias, self._names, values)
