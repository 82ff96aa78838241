"""Triggers that keep credit notes as they were issued, and all notes of an invoice within it."""

from __future__ import annotations

import pgtrigger

from billing_site.platform.models.triggers import IndexScanTrigger, StrictTrigger, append_only_triggers

_MUTABLE = "'status', 'voided_at', 'void_reason', 'metadata', 'updated_at'"


def _refuse(table: str, rule: str, what: str, code: str = "restrict_violation") -> str:
    """Return the statement that refuses, with a constraint name that interfaces can map."""
    return (
        f"RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{what}', "
        f"TABLE = '{table}', CONSTRAINT = '{table}_{rule}';"
    )


def _refuse_note(rule: str, what: str) -> str:
    return _refuse("credit_notes", rule, what)


# The invoice is locked, so two notes at once meet here and the later one sees the earlier one's amounts.
_WITHIN_INVOICE = f"""
    SELECT * INTO parent FROM invoices WHERE id = NEW.invoice_id FOR NO KEY UPDATE;
    IF NEW.status <> 'issued' THEN
        {_refuse_note("begin_issued", "a credit note begins issued")}
    END IF;
    IF parent.status NOT IN ('open', 'paid', 'uncollectible') THEN
        {_refuse_note("of_issued_invoice", "only an invoice that is issued and not void is credited")}
    END IF;
    IF (parent.account_id, parent.currency, parent.seller_id, parent.livemode)
        IS DISTINCT FROM (NEW.account_id, NEW.currency, NEW.seller_id, NEW.livemode) THEN
        {_refuse_note("of_its_invoice", "a credit note has the account, seller, mode and currency of its invoice")}
    END IF;
    SELECT COALESCE(sum(total), 0) AS total, COALESCE(sum(tax), 0) AS tax INTO credited
        FROM credit_notes WHERE invoice_id = NEW.invoice_id AND status = 'issued';
    IF credited.total + NEW.total > parent.total OR credited.tax + NEW.tax > GREATEST(parent.tax, 0) THEN
        {_refuse_note("within_invoice", "the credit notes of an invoice cannot pass it")}
    END IF;
    RETURN NEW;
"""  # noqa: S608 - no value comes from outside

_IMMUTABLE = f"""
    IF (to_jsonb(OLD) - ARRAY[{_MUTABLE}]) IS DISTINCT FROM (to_jsonb(NEW) - ARRAY[{_MUTABLE}])
        OR (NEW.status <> OLD.status AND NOT (OLD.status = 'issued' AND NEW.status = 'void'))
        OR (OLD.status = 'void' AND (NEW.voided_at, NEW.void_reason)
            IS DISTINCT FROM (OLD.voided_at, OLD.void_reason)) THEN
        {_refuse_note("issued_immutable", "an issued credit note does not change; it can be voided once")}
    END IF;
    RETURN NEW;
"""

_WITHIN_LINE = f"""
    IF EXISTS (
        SELECT FROM written
        JOIN credit_notes note ON note.id = written.credit_note_id
        JOIN invoice_lines line ON line.id = written.invoice_line_id
        WHERE line.invoice_id <> note.invoice_id OR written.amount::numeric * (line.amount - line.discount) <= 0
    ) THEN
        {_refuse("credit_note_lines", "of_its_invoice", "a line credits a line of the same invoice, in its direction")}
    END IF;
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT invoice_line_id FROM written) AS touched
        JOIN invoice_lines line ON line.id = touched.invoice_line_id
        WHERE abs(line.amount - line.discount) < (
            SELECT abs(sum(credited.amount)) FROM credit_note_lines credited
            JOIN credit_notes note ON note.id = credited.credit_note_id
            WHERE credited.invoice_line_id = line.id AND note.status = 'issued'
        )
    ) THEN
        {_refuse("credit_note_lines", "within_line", "more is credited than was invoiced on the line")}
    END IF;
    RETURN NULL;
"""  # noqa: S608 - no value comes from outside


_WITHIN_RATE = f"""
    IF EXISTS (
        SELECT FROM written
        JOIN credit_notes note ON note.id = written.credit_note_id
        JOIN invoice_taxes tax ON tax.id = written.invoice_tax_id
        WHERE tax.invoice_id <> note.invoice_id OR abs(tax.amount) < (
            SELECT abs(sum(credited.amount)) FROM credit_note_taxes credited
            JOIN credit_notes other ON other.id = credited.credit_note_id
            WHERE credited.invoice_tax_id = tax.id AND other.status = 'issued'
        )
    ) THEN
        {_refuse("credit_note_taxes", "within_rate", "more tax is credited than was invoiced at the rate")}
    END IF;
    RETURN NULL;
"""  # noqa: S608 - no value comes from outside


def _adds_up(note: str) -> str:
    """Return the check that lines and taxes sum to their note: nothing can be added to it later."""
    return f"""
        IF EXISTS (
            SELECT FROM credit_notes note WHERE note.id = {note} AND (
                note.subtotal <> (SELECT COALESCE(sum(amount), 0) FROM credit_note_lines WHERE credit_note_id = note.id)
                OR note.tax <> (SELECT COALESCE(sum(amount), 0) FROM credit_note_taxes WHERE credit_note_id = note.id)
            )
        ) THEN
            {_refuse_note("add_up", "lines and taxes must sum to the credit note")}
        END IF;
        RETURN NULL;
    """  # noqa: S608 - NEW only


# While it is approved the request is still open: looked at when both are committed.
_APPROVED = f"""
    IF NEW.approval_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM approvals WHERE id = NEW.approval_id AND status = 'approved'
            AND (
            kind = 'invoicing.credit_note' AND amount = NEW.total OR kind = 'invoicing.refund' AND amount >= NEW.total
        ) AND currency = NEW.currency
    ) THEN
        {_refuse_note("approved", "a credit note that needs a second person is what that person approved")}
    END IF;
    RETURN NULL;
"""


def _after_writing(name: str, func: str) -> StrictTrigger:
    """Return the check of all rows that a statement wrote, its `written`."""
    return IndexScanTrigger(
        name=name,
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        level=pgtrigger.Statement,
        referencing=pgtrigger.Referencing(new="written"),
        func=func,
    )


def _kept(name: str, operation: pgtrigger.Operation, level: pgtrigger.Level, what: str) -> StrictTrigger:
    """Return the refusal of a removal."""
    return StrictTrigger(
        name=name, when=pgtrigger.Before, operation=operation, level=level, func=_refuse_note("kept", what)
    )


def _at_commit(name: str, func: str) -> StrictTrigger:
    return IndexScanTrigger(
        name=name,
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        level=pgtrigger.Row,
        timing=pgtrigger.Deferred,
        func=func,
    )


def credit_note_triggers() -> list[pgtrigger.Trigger]:
    """Notes: within their invoice, never changed once issued but voided, never removed, the sum of their parts."""
    return [
        IndexScanTrigger(
            name="within_invoice",
            when=pgtrigger.Before,
            operation=pgtrigger.Insert,
            level=pgtrigger.Row,
            func=_WITHIN_INVOICE,
            declare=[("parent", "invoices"), ("credited", "record")],
        ),
        StrictTrigger(
            name="issued_immutable",
            when=pgtrigger.Before,
            operation=pgtrigger.Update,
            level=pgtrigger.Row,
            func=_IMMUTABLE,
        ),
        _kept("kept_rows", pgtrigger.Delete, pgtrigger.Row, "a credit note is kept"),
        _kept("kept_table", pgtrigger.Truncate, pgtrigger.Statement, "credit notes are kept"),
        _at_commit("adds_up", _adds_up("NEW.id")),
        _at_commit("approved", _APPROVED),
    ]


def credit_note_line_triggers() -> list[pgtrigger.Trigger]:
    """Lines: written with their note, each within the line of the invoice that it credits."""
    return [
        *append_only_triggers("credit_note_lines"),
        _after_writing("within_line", _WITHIN_LINE),
        _at_commit("adds_up", _adds_up("NEW.credit_note_id")),
    ]


def credit_note_tax_triggers() -> list[pgtrigger.Trigger]:
    """Taxes: written with their note, each within the rate of the invoice that it credits."""
    return [
        *append_only_triggers("credit_note_taxes"),
        _after_writing("within_rate", _WITHIN_RATE),
        _at_commit("adds_up", _adds_up("NEW.credit_note_id")),
    ]
