"""
Triggers that make a promise of the database, for tables of every app.

Unlike plain pgtrigger triggers these cannot be switched off by a session (`SET pgtrigger.ignore`), and they name
the table they guard. Refusals are integrity errors, so `IntegrityError` handling and constraint names work.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pgtrigger
from django.db import models
from pgtrigger import compiler

_TEMPLATE = """
    CREATE OR REPLACE FUNCTION {pgid}()
    RETURNS TRIGGER AS $$
        {declare}
        BEGIN
            {func}
        END;
    $$ LANGUAGE plpgsql;

    DROP TRIGGER IF EXISTS {pgid} ON {table};
    CREATE {constraint} TRIGGER {pgid}
        {when} {operation} ON {table}
        {timing}
        {referencing}
        FOR EACH {level} {condition}
        EXECUTE PROCEDURE {execute};

    COMMENT ON TRIGGER {pgid} ON {table} IS '{hash}';
"""


class StrictTriggerSql(compiler.UpsertTriggerSql):
    """The installation template without the `pgtrigger.ignore` way out. Migrations refer to this class: keep it."""

    def get_template(self) -> str:
        return _TEMPLATE


class IndexScanTriggerSql(StrictTriggerSql):
    """The same, for a function that looks rows up. Migrations refer to this class: keep it."""

    def get_template(self) -> str:
        return _TEMPLATE.replace("LANGUAGE plpgsql;", "LANGUAGE plpgsql SET enable_seqscan TO off;")


class StrictTrigger(pgtrigger.Trigger):
    """A trigger no session can ask to skip."""

    sql_class: ClassVar[type[StrictTriggerSql]] = StrictTriggerSql

    def compile(self, model: models.Model) -> compiler.Trigger:
        compiled = super().compile(model)
        arguments: dict[str, Any] = {
            name: value for name, value in compiled.sql.kwargs.items() if name != "ignore_func_name"
        }
        return compiler.Trigger(name=compiled.name, sql=self.sql_class(**arguments))


class IndexScanTrigger(StrictTrigger):
    """
    A strict trigger whose queries use indexes whatever the statistics say.

    A session plans a trigger's queries once. Planned while the table is small they would scan it, and a long
    transaction that fills it would take time by the square of its rows.
    """

    sql_class = IndexScanTriggerSql


def _refusal(table: str) -> str:
    return (
        f"RAISE EXCEPTION USING ERRCODE = 'restrict_violation', "
        f"MESSAGE = format('%s is append-only: %s refused', TG_TABLE_NAME, TG_OP), "
        f"TABLE = '{table}', CONSTRAINT = '{table}_append_only';"
    )


def append_only_triggers(table: str) -> list[pgtrigger.Trigger]:
    """
    Return triggers for `Meta.triggers` that refuse UPDATE, DELETE and TRUNCATE on `table`.

    Violations raise SQLSTATE 23001 (`restrict_violation`) with constraint `<table>_append_only`.
    """
    return [
        StrictTrigger(
            name="append_only_rows",
            when=pgtrigger.Before,
            operation=pgtrigger.Update | pgtrigger.Delete,
            level=pgtrigger.Row,
            func=_refusal(table),
        ),
        StrictTrigger(
            name="append_only_table",
            when=pgtrigger.Before,
            operation=pgtrigger.Truncate,
            level=pgtrigger.Statement,
            func=_refusal(table),
        ),
    ]
