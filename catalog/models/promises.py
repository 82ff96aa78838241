"""Triggers for rows that promise something: what was promised stays, only the named columns may still change."""

from __future__ import annotations

from collections.abc import Sequence

import pgtrigger

from billing_site.platform.models.triggers import StrictTrigger


def kept_promise_triggers(
    table: str, *, may_change: Sequence[str], once: str = "", deletable: str = "false"
) -> list[pgtrigger.Trigger]:
    """
    Return triggers for `Meta.triggers`: only the columns in `may_change` change after the insert.

    `once` is a condition over OLD and NEW that is refused too; `deletable` one over OLD under which the row may be
    deleted. Violations raise SQLSTATE 23001 (`restrict_violation`) with constraint `<table>_promise_kept`.
    """
    refusal = (
        f"RAISE EXCEPTION USING ERRCODE = 'restrict_violation', "
        f"MESSAGE = format('%s keep what they promised: %s refused', TG_TABLE_NAME, TG_OP), "
        f"TABLE = '{table}', CONSTRAINT = '{table}_promise_kept';"
    )
    columns = ", ".join(f"'{name}'" for name in (*may_change, "updated_at"))
    fixed = f"to_jsonb({{row}}) - ARRAY[{columns}]"
    changed = f"{fixed.format(row='NEW')} IS DISTINCT FROM {fixed.format(row='OLD')}"
    condition = f"{changed} OR ({once})" if once else changed
    return [
        StrictTrigger(
            name="promise_kept",
            when=pgtrigger.Before,
            operation=pgtrigger.Update,
            level=pgtrigger.Row,
            func=f"IF {condition} THEN {refusal} END IF; RETURN NEW;",
        ),
        StrictTrigger(
            name="keep_rows",
            when=pgtrigger.Before,
            operation=pgtrigger.Delete,
            level=pgtrigger.Row,
            func=f"IF NOT ({deletable}) THEN {refusal} END IF; RETURN OLD;",
        ),
        StrictTrigger(
            name="keep_table",
            when=pgtrigger.Before,
            operation=pgtrigger.Truncate,
            level=pgtrigger.Statement,
            func=refusal,
        ),
    ]
