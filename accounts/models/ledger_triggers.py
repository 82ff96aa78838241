"""What the database itself refuses of the ledger."""

from __future__ import annotations

import pgtrigger

from billing_site.platform.models.triggers import IndexScanTrigger, StrictTrigger


def _refuse(message: str, table: str, constraint: str, code: str = "check_violation") -> str:
    return (
        f"RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = {message}, "
        f"TABLE = '{table}', CONSTRAINT = '{constraint}';"
    )


_WRONG_CURRENCY = _refuse(
    "'posting to a ledger account of another currency'",
    "ledger_postings",
    "ledger_postings_currency_of_account",
)
_UNBALANCED = _refuse(
    "format('ledger entry %s does not balance', NEW.entry_id)", "ledger_postings", "ledger_entries_balance"
)
_NO_POSTINGS = _refuse(
    "format('ledger entry %s has no postings', NEW.id)", "ledger_entries", "ledger_entries_has_postings"
)

# Amounts are never zero, so an entry whose postings sum to zero per currency has at least two of each currency.
POSTING_TRIGGERS = [
    # Once for all postings of a statement; a run writes thousands at a time.
    IndexScanTrigger(
        name="posting_currency",
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        level=pgtrigger.Statement,
        referencing=pgtrigger.Referencing(new="added"),
        func=f"""
            IF EXISTS (
                SELECT FROM (SELECT DISTINCT ledger_account_id, currency FROM added) AS touched
                LEFT JOIN LATERAL (
                    SELECT 1 AS found FROM ledger_accounts
                    WHERE id = touched.ledger_account_id AND currency = touched.currency OFFSET 0
                ) AS pot ON true
                WHERE pot.found IS NULL
            ) THEN
                {_WRONG_CURRENCY}
            END IF;
            RETURN NULL;
        """,  # noqa: S608 - constants only
    ),
    StrictTrigger(
        name="entry_balances",
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        level=pgtrigger.Row,
        timing=pgtrigger.Deferred,
        func=f"""
            IF EXISTS (
                SELECT FROM ledger_postings WHERE entry_id = NEW.entry_id GROUP BY currency HAVING sum(amount) <> 0
            ) THEN
                {_UNBALANCED}
            END IF;
            RETURN NULL;
        """,
    ),
]

ENTRY_TRIGGERS = [
    StrictTrigger(
        name="entry_has_postings",
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        level=pgtrigger.Row,
        timing=pgtrigger.Deferred,
        func=f"""
            IF NOT EXISTS (SELECT FROM ledger_postings WHERE entry_id = NEW.id) THEN
                {_NO_POSTINGS}
            END IF;
            RETURN NULL;
        """,
    ),
]


def kept_triggers(table: str, *columns: str) -> list[pgtrigger.Trigger]:
    """
    Return triggers for `Meta.triggers` that refuse DELETE and TRUNCATE on `table`, and UPDATE of `columns`.

    Violations raise SQLSTATE 23001 (`restrict_violation`) with constraint `<table>_kept`.
    """
    refusal = _refuse(
        "format('%s: %s refused', TG_TABLE_NAME, TG_OP)", table, f"{table}_kept", code="restrict_violation"
    )
    return [
        StrictTrigger(
            name="kept_rows",
            when=pgtrigger.Before,
            operation=pgtrigger.Delete | pgtrigger.UpdateOf(*columns),
            level=pgtrigger.Row,
            func=refusal,
        ),
        StrictTrigger(
            name="kept_table",
            when=pgtrigger.Before,
            operation=pgtrigger.Truncate,
            level=pgtrigger.Statement,
            func=refusal,
        ),
    ]


def hold_triggers() -> list[pgtrigger.Trigger]:
    """
    Return triggers for holds: rows are kept, begin pending, and end once; what was held never changes.

    An end that is not the first raises SQLSTATE 23001 with constraint `holds_final`.
    """
    final = _refuse("format('hold %s: %s is final', OLD.id, OLD.status)", "holds", "holds_final", "restrict_violation")
    begins = _refuse("'a hold begins pending'", "holds", "holds_begin_pending")
    fixed = ("id", "account_id", "key", "currency", "amount", "livemode", "created_at", "expires_at")
    return [
        *kept_triggers("holds", *fixed),
        StrictTrigger(
            name="hold_begins_pending",
            when=pgtrigger.Before,
            operation=pgtrigger.Insert,
            level=pgtrigger.Row,
            func=f"IF NEW.status <> 'pending' THEN {begins} END IF; RETURN NEW;",
        ),
        StrictTrigger(
            name="hold_ends_once",
            when=pgtrigger.Before,
            operation=pgtrigger.Update,
            level=pgtrigger.Row,
            func=f"IF OLD.status <> 'pending' THEN {final} END IF; RETURN NEW;",
        ),
    ]
