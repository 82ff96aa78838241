"""Triggers of tables whose rows stay, whose facts never change, and whose status goes known ways only."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pgtrigger

from billing_site.platform.models.triggers import StrictTrigger


def _refuse(table: str, rule: str, what: str) -> str:
    return (
        f"RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = '{table}: {what}', "
        f"TABLE = '{table}', CONSTRAINT = '{table}_{rule}';"
    )


def kept_row_triggers(
    table: str, *, mutable: Collection[str], begins: str, transitions: Mapping[str, Collection[str]]
) -> list[pgtrigger.Trigger]:
    """
    Return triggers for `Meta.triggers`: no DELETE or TRUNCATE, no change but of the `mutable` columns (`updated_at`
    besides), a first status `begins`, and after it only the ways of `transitions`. In a state that nothing follows,
    only the `metadata` still changes.

    Violations raise SQLSTATE 23001 (`restrict_violation`) with constraint `<table>_kept` or `<table>_known_ways`.
    """
    columns = ", ".join(f"'{name}'" for name in sorted({*mutable, "status", "updated_at"}))
    ways = " OR ".join(
        f"(OLD.status = '{before}' AND NEW.status IN ({', '.join(repr(after) for after in sorted(afters))}))"
        for before, afters in transitions.items()
        if afters
    )
    ends = ", ".join(repr(state) for state, afters in transitions.items() if not afters)
    kept, known = (
        _refuse(table, "kept", "rows stay as written"),
        _refuse(table, "known_ways", "the status cannot go there"),
    )
    return [
        StrictTrigger(
            name="kept_rows",
            when=pgtrigger.Before,
            operation=pgtrigger.Delete,
            level=pgtrigger.Row,
            func=kept,
        ),
        StrictTrigger(
            name="kept_table",
            when=pgtrigger.Before,
            operation=pgtrigger.Truncate,
            level=pgtrigger.Statement,
            func=kept,
        ),
        StrictTrigger(
            name="begins_so",
            when=pgtrigger.Before,
            operation=pgtrigger.Insert,
            level=pgtrigger.Row,
            func=f"IF NEW.status <> '{begins}' THEN {known} END IF; RETURN NEW;",
        ),
        StrictTrigger(
            name="known_ways",
            when=pgtrigger.Before,
            operation=pgtrigger.Update,
            level=pgtrigger.Row,
            func=f"""
                IF NEW.status <> OLD.status AND NOT ({ways}) THEN {known} END IF;
                IF (to_jsonb(OLD) - ARRAY[{columns}]) IS DISTINCT FROM (to_jsonb(NEW) - ARRAY[{columns}]) THEN
                    {kept}
                END IF;
                IF OLD.status IN ({ends}) AND (to_jsonb(OLD) - ARRAY['metadata', 'updated_at'])
                    IS DISTINCT FROM (to_jsonb(NEW) - ARRAY['metadata', 'updated_at']) THEN
                    {kept}
                END IF;
                RETURN NEW;
            """,
        ),
    ]
