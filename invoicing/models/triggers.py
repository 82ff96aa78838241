"""Triggers that keep issued documents as they are and let a period be billed only once."""

from __future__ import annotations

import pgtrigger

from billing_site.platform.models.triggers import IndexScanTrigger, StrictTrigger

# What may still change on an issued invoice: its way through payment and voiding, and the caller's own notes.
MUTABLE_AFTER_ISSUE = (
    "status",
    "amount_paid",
    "paid_at",
    "voided_at",
    "void_reason",
    "payment_method",
    "attempt_count",
    "last_attempt_at",
    "next_attempt_at",
    "metadata",
    "updated_at",
)
_MUTABLE = ", ".join(f"'{column}'" for column in MUTABLE_AFTER_ISSUE)


def _refuse(table: str, rule: str, message: str) -> str:
    """Return the statement that refuses, with a constraint name that interfaces can map. `message` is SQL."""
    return (
        "RAISE EXCEPTION USING ERRCODE = 'restrict_violation', "
        f"MESSAGE = {message}, TABLE = '{table}', CONSTRAINT = '{table}_{rule}';"
    )


def _refuse_invoice(rule: str, what: str, *columns: str) -> str:
    arguments = ", ".join(("OLD.number_text", *columns))
    return _refuse("invoices", rule, f"format('invoice %s {what}', {arguments})")


def _refuse_line(rule: str, what: str) -> str:
    return _refuse("invoice_lines", rule, f"'{what}'")


def _read_parent(row: str) -> str:
    return f"SELECT status INTO parent_status FROM invoices WHERE id = {row}.invoice_id;"  # noqa: S608 - OLD or NEW


def _refuse_truncate(table: str) -> StrictTrigger:
    return StrictTrigger(
        name="no_truncate",
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        level=pgtrigger.Statement,
        func=_refuse(table, "no_truncate", f"'{table} cannot be truncated'"),
    )


_INVOICE_UPDATE = f"""
    IF (to_jsonb(OLD) - ARRAY[{_MUTABLE}]) IS DISTINCT FROM (to_jsonb(NEW) - ARRAY[{_MUTABLE}]) THEN
        {_refuse_invoice("issued_immutable", "is issued and cannot change")}
    END IF;
    IF NEW.status <> OLD.status AND NOT (
        (OLD.status = 'open' AND NEW.status IN ('paid', 'void', 'uncollectible'))
        OR (OLD.status = 'uncollectible' AND NEW.status = 'paid')
        OR (OLD.status = 'paid' AND NEW.status = 'open' AND NEW.amount_paid < NEW.amount_due)
    ) THEN
        {_refuse_invoice("issued_immutable", "cannot go from %s to %s", "OLD.status", "NEW.status")}
    END IF;
    IF OLD.status = 'void' AND (to_jsonb(OLD) - ARRAY['metadata', 'updated_at'])
        IS DISTINCT FROM (to_jsonb(NEW) - ARRAY['metadata', 'updated_at']) THEN
        {_refuse_invoice("issued_immutable", "is void and cannot change")}
    END IF;
    RETURN NEW;
"""

# Checked when it is issued: a draft is written and changed table by table.
_INVOICE_TAX = f"""
    IF NEW.tax <> COALESCE((SELECT sum(amount) FROM invoice_taxes WHERE invoice_id = NEW.id), 0)
        OR NEW.tax <> COALESCE((SELECT sum(tax) FROM invoice_lines WHERE invoice_id = NEW.id), 0)
        OR EXISTS (
            SELECT FROM invoice_lines line WHERE line.invoice_id = NEW.id
                AND line.tax <> (SELECT COALESCE(sum(share), 0) FROM unnest(line.tax_shares) AS share)
        ) THEN
        {_refuse("invoices", "tax_adds_up", "'the tax of an invoice must be that of its rates and of its lines'")}
    END IF;
    RETURN NEW;
"""  # noqa: S608 - constants only

# The unique key knows boundaries that are billed alone; those on an invoice for several are its members'. Whoever bills
# holds the subscription, so the later one sees the earlier one.
_INVOICES_INSERT = f"""
    IF EXISTS (
        SELECT FROM added CROSS JOIN LATERAL (
            SELECT 1 FROM invoice_members AS member WHERE member.subscription_id = added.subscription_id
                AND member.boundary = added.boundary AND NOT member.is_reversed OFFSET 0
        ) AS other WHERE added.status <> 'void'
    ) THEN
        {_refuse("invoices", "period_billed_once", "'this boundary of the subscription is on an invoice for several'")}
    END IF;
    RETURN NULL;
"""  # noqa: S608 - constants only

_INVOICE_DELETE = f"""
    IF OLD.status <> 'draft' THEN
        {_refuse_invoice("issued_not_deleted", "is issued and cannot be deleted")}
    END IF;
    RETURN OLD;
"""

# Once for all lines of a statement: a billing run writes thousands at a time. The items are locked, so two transactions
# that bill one meet here and the later one sees the earlier one's line. Each line looks by itself (OFFSET 0): a plan
# that was made while there were few lines must not read all of them later.
_LINES_INSERT = f"""
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT invoice_id FROM added) AS touched
        CROSS JOIN LATERAL (
            SELECT 1 FROM invoices WHERE id = touched.invoice_id AND status <> 'draft' OFFSET 0
        ) AS issued
    ) THEN
        {_refuse_line("issued_immutable", "an issued invoice takes no further line")}
    END IF;
    PERFORM 1 FROM subscription_items
        WHERE id = ANY (ARRAY(
            SELECT subscription_item_id FROM added
            WHERE subscription_item_id IS NOT NULL AND type IN ('subscription', 'usage') AND NOT is_reversed
                 AND original_line_id IS NULL
        ))
        ORDER BY id FOR NO KEY UPDATE;
    IF EXISTS (
        SELECT FROM added
        CROSS JOIN LATERAL (
            SELECT 1 FROM invoice_lines AS other
            WHERE other.subscription_item_id = added.subscription_item_id
                AND other.type = added.type
                AND other.type IN ('subscription', 'usage')
                AND NOT other.is_reversed
                AND other.original_line_id IS NULL
                AND other.id <> added.id
                AND other.period_start < added.period_end
                AND other.period_end > added.period_start
            OFFSET 0
        ) AS overlapping
        WHERE added.type IN ('subscription', 'usage') AND NOT added.is_reversed AND added.original_line_id IS NULL
    ) THEN
        {_refuse_line("period_billed_once", "this period of the subscription item is billed already")}
    END IF;
    RETURN NULL;
"""  # noqa: S608 - no value comes from outside

_LINE_UPDATE = f"""
    {_read_parent("OLD")}
    IF NEW.invoice_id <> OLD.invoice_id OR (OLD.is_reversed AND NOT NEW.is_reversed) THEN
        {_refuse_line("issued_immutable", "a line stays on its invoice, and a reversed one stays reversed")}
    END IF;
    IF parent_status <> 'draft' AND (
        (to_jsonb(OLD) - 'is_reversed') IS DISTINCT FROM (to_jsonb(NEW) - 'is_reversed')
        OR (NEW.is_reversed AND NOT OLD.is_reversed AND parent_status <> 'void')
    ) THEN
        {_refuse_line("issued_immutable", "a line of an issued invoice cannot change")}
    END IF;
    IF (NEW.subscription_item_id, NEW.type, NEW.period_start, NEW.period_end, NEW.original_line_id, NEW.sequence)
        IS DISTINCT FROM
        (OLD.subscription_item_id, OLD.type, OLD.period_start, OLD.period_end, OLD.original_line_id, OLD.sequence) THEN
        {_refuse_line("claim_fixed", "what a line claims is fixed; remove it and add another")}
    END IF;
    RETURN NEW;
"""

_LINE_DELETE = f"""
    {_read_parent("OLD")}
    IF parent_status <> 'draft' THEN
        {_refuse_line("issued_immutable", "a line of an issued invoice cannot be deleted")}
    END IF;
    RETURN OLD;
"""


def _row_trigger(
    name: str, operation: pgtrigger.Operation, func: str, *, condition: str = "", reads_parent: bool = False
) -> StrictTrigger:
    kind = IndexScanTrigger if reads_parent else StrictTrigger
    return kind(
        name=name,
        when=pgtrigger.Before,
        operation=operation,
        level=pgtrigger.Row,
        func=func,
        condition=pgtrigger.Condition(condition) if condition else None,
        declare=[("parent_status", "text")] if reads_parent else None,
    )


def invoice_triggers() -> list[pgtrigger.Trigger]:
    """Issued invoices: no delete, no change of amounts, dates, number, parties or trace, only the known transitions."""
    return [
        _row_trigger("issued_immutable", pgtrigger.Update, _INVOICE_UPDATE, condition="OLD.status <> 'draft'"),
        _row_trigger("issued_not_deleted", pgtrigger.Delete, _INVOICE_DELETE),
        IndexScanTrigger(
            name="tax_adds_up",
            when=pgtrigger.Before,
            operation=pgtrigger.Update,
            level=pgtrigger.Row,
            func=_INVOICE_TAX,
            condition=pgtrigger.Condition("OLD.status = 'draft' AND NEW.status IN ('open', 'paid') AND NEW.tax <> 0"),
        ),
        # Billing inserts invoices as they are issued, after their lines and tax.
        IndexScanTrigger(
            name="tax_adds_up_at_once",
            when=pgtrigger.Before,
            operation=pgtrigger.Insert,
            level=pgtrigger.Row,
            func=_INVOICE_TAX,
            condition=pgtrigger.Condition("NEW.status IN ('open', 'paid') AND NEW.tax <> 0"),
        ),
        IndexScanTrigger(
            name="boundary_once",
            when=pgtrigger.After,
            operation=pgtrigger.Insert,
            level=pgtrigger.Statement,
            referencing=pgtrigger.Referencing(new="added"),
            func=_INVOICES_INSERT,
        ),
        _refuse_truncate("invoices"),
    ]


def line_triggers() -> list[pgtrigger.Trigger]:
    """Lines of issued invoices do not change; a line claims its item's period and no other line may overlap it."""
    return [
        IndexScanTrigger(
            name="claim_period",
            when=pgtrigger.After,
            operation=pgtrigger.Insert,
            level=pgtrigger.Statement,
            referencing=pgtrigger.Referencing(new="added"),
            func=_LINES_INSERT,
        ),
        _row_trigger("issued_immutable", pgtrigger.Update, _LINE_UPDATE, reads_parent=True),
        _row_trigger("issued_not_deleted", pgtrigger.Delete, _LINE_DELETE, reads_parent=True),
        _refuse_truncate("invoice_lines"),
    ]
