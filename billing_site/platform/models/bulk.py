"""Writing many rows at once: COPY for inserts, one UPDATE … FROM unnest for changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from django.db import connection, models
from django.db.models.base import ModelState
from django.utils import timezone

from billing_site.platform.models.copy_format import SIGNATURE, TRAILER, JsonText, encode_rows, write_array

M = TypeVar("M", bound=models.Model)
_BLOCK: Final = 500  # rows that are encoded at a time, so that memory does not grow with the number of rows


def copy_rows(rows: Sequence[models.Model]) -> None:
    """
    Insert unsaved rows of one model with COPY, in the caller's transaction.

    Constraints, defaults set in Python and triggers work as with any insert; `auto_now` columns are filled. Several
    times faster than `bulk_create`, which sends arrays of text. A value of JSON may be given as `JsonText`; the row
    reads it back from the database when somebody asks for it.
    """
    if not rows:
        return
    fields = rows[0]._meta.concrete_fields
    now = timezone.now()
    for field in fields:
        if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
            for row in rows:
                setattr(row, field.attname, now)
    names = [field.attname for field in fields]
    read = attrgetter(*names)
    columns = ", ".join(_quote(field.column) for field in fields)
    statement = f"COPY {_quote(rows[0]._meta.db_table)} ({columns}) FROM STDIN (FORMAT binary)"
    # COPY reports errors when the block ends, outside of what Django's cursor translates.
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(SIGNATURE)
        for start in range(0, len(rows), _BLOCK):
            copy.write(encode_rows(fields, [read(row) for row in rows[start : start + _BLOCK]]))
        copy.write(TRAILER)
    documents = [field.attname for field in fields if isinstance(field, models.JSONField)]
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias
        for name in documents:
            if type(row.__dict__.get(name)) is JsonText:
                del row.__dict__[name]


def update_rows(rows: Iterable[models.Model], columns: Mapping[str, str]) -> None:
    """
    Write `columns` (column name to PostgreSQL type) of many rows of one model with one statement.

    Rows are matched by primary key. An `updated_at` column is set to the transaction's time.
    """
    rows = list(rows)
    if not rows:
        return
    meta = rows[0]._meta
    table, key = _quote(meta.db_table), _quote(meta.pk.column)
    kinds = {key: str(meta.pk.rel_db_type(connection))}
    arrays: list[Any] = [write_array(kinds[key], [row.pk for row in rows])]
    constants: list[Any] = []
    same, each = [], []
    for name, kind in columns.items():
        values = list(map(attrgetter(name), rows))
        if values.count(values[0]) == len(values):
            same.append(f"{_quote(name)} = %s::{kind}")
            constants.append(values[0])
        else:
            each.append(f"{_quote(name)} = given.{_quote(name)}")
            kinds[_quote(name)] = kind
            arrays.append(write_array(kind, values))
    if any(field.attname == "updated_at" for field in meta.concrete_fields):
        each.append("updated_at = now()")
    statement = (
        f"UPDATE {table} SET {', '.join([*same, *each])}"  # noqa: S608 - names of our own columns, quoted
        f" FROM unnest({', '.join(f'%s::{kind}[]' for kind in kinds.values())})"
        f" AS given ({', '.join(kinds)}) WHERE {table}.{key} = given.{key}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*constants, *arrays])


def insert_rows(rows: Sequence[models.Model]) -> set[Any]:
    """
    Insert unsaved rows of one model, pass over those that a unique key refuses, and return the keys of the new ones.

    One statement. Unlike with COPY, a row that is there already fails nothing.
    """
    if not rows:
        return set()
    meta = rows[0]._meta
    names, kinds, arrays = [], [], []
    for field in meta.concrete_fields:
        kind = str(field.rel_db_type(connection) if field.primary_key else field.db_type(connection))
        base = kind.partition("(")[0].replace("varchar", "text").replace("timestamp with time zone", "timestamptz")
        values: list[Any] = [getattr(row, field.attname) for row in rows]
        if base == "jsonb":
            values = [
                None if value is None else json.dumps(value, cls=getattr(field, "encoder", None)) for value in values
            ]
        names.append(_quote(field.column))
        kinds.append(base)
        arrays.append(write_array("text" if base == "jsonb" else base, values))
    statement = (
        f"INSERT INTO {_quote(meta.db_table)} ({', '.join(names)})"  # noqa: S608 - names of our own columns, quoted
        f" SELECT * FROM unnest({', '.join(f'%s::{kind}[]' for kind in kinds)})"
        f" ON CONFLICT DO NOTHING RETURNING {_quote(meta.pk.column)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, arrays)
        written = {key for (key,) in cursor.fetchall()}
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias
    return written


class RowMaker(Generic[M]):
    """
    Makes many unsaved rows of one model with the same columns given, several times faster than its constructor.

    What is not given has its default; what is given is kept as it is, foreign keys by the name of their column
    (`account_id`). For models without a constructor of their own.
    """

    def __init__(self, model: type[M], *names: str) -> None:
        fields = [field for field in model._meta.concrete_fields if field.attname not in names]
        unknown = {*names} - {field.attname for field in model._meta.concrete_fields}
        if unknown:
            raise TypeError(f"{model.__name__} has no columns {sorted(unknown)}")
        self._model, self._names = model, names
        self._constants = {field.attname: field.get_default() for field in fields if not callable(field.default)}
        self._defaults = [(field.attname, field.get_default) for field in fields if callable(field.default)]

    def make(self, *values: Any) -> M:
        """Return a row with these values, in the order of the names."""
        row = self._model.__new__(self._model)
        row._state = ModelState()
        row.__dict__.update(self._constants)
        for name, get_default in self._defaults:
            row.__dict__[name] = get_default()
        row.__dict__.update(zip(self._names, values, strict=True))
        return row


def attach(row: models.Model, name: str, related: models.Model | None) -> None:
    """
    Let a row's foreign key `name` show `related`, whose key it has already; for thousands of rows just read.

    Assigning does the same, checks what is known here, and takes many times as long.
    """
    row._state.fields_cache[name] = related


def prefer_indexes() -> None:
    """
    Make the rest of the transaction look rows up by index, whatever the statistics say.

    A session plans the checks of foreign keys once. Planned while a table is small they would scan it for each row,
    and filling it would take time by the square of its rows. A scan that is forbidden looks so costly that the server
    would compile the statement around it: that takes longer than running it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan TO off; SET LOCAL jit TO off")


def _quote(name: str | None) -> str:
    return connection.ops.quote_name(name or "")
