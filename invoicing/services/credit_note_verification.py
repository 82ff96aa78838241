"""Recomputing credit notes: run the engine on the stored facts again, compare to the cent. Source: ADR 0005, 0041."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from billing_site.kernel.ids import encode_id
from invoicing.calculation.credit_facts import CreditFacts
from invoicing.calculation.credit_notes import CreditDraft, draft_credit_note
from invoicing.models import CreditNote, CreditNoteLine, CreditNoteTax, InvoiceLine, InvoiceTax
from invoicing.queries.credit_notes import load_credit_facts
from invoicing.services.verification import Difference


@dataclass(frozen=True, slots=True)
class CreditNoteVerification:
    """The result for one credit note."""

    credit_note: CreditNote
    differences: list[Difference]

    @property
    def holds(self) -> bool:
        return not self.differences


def verify_credit_note(note: CreditNote) -> CreditNoteVerification:
    """
    Recompute `note` from its trace, and the trace's invoice from the invoice itself; return every difference.

    An unreadable trace, or one that leads to no note, is a difference, not an exception.
    """
    try:
        facts = CreditFacts.from_dict(note.trace)
        draft = draft_credit_note(facts)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        return CreditNoteVerification(note, [Difference("trace", "unreadable", str(error))])
    differences = [
        *_compare_document(note, draft),
        *_compare_lines(note, draft),
        *_compare_taxes(note, draft),
        *_compare_invoice(note, facts),
    ]
    return CreditNoteVerification(note, differences)


def _compare_document(note: CreditNote, draft: CreditDraft) -> Iterator[Difference]:
    pairs = {
        "currency": (note.currency, draft.facts.currency),
        "subtotal": (note.subtotal, draft.subtotal),
        "tax": (note.tax, draft.tax),
        "total": (note.total, draft.total),
    }
    for name, (stored, computed) in pairs.items():
        if stored != computed:
            yield Difference(name, str(stored), str(computed))


def _compare_lines(note: CreditNote, draft: CreditDraft) -> Iterator[Difference]:
    rows = list(CreditNoteLine.objects.filter(credit_note=note).order_by("position"))
    if len(rows) != len(draft.lines):
        yield Difference("number of lines", str(len(rows)), str(len(draft.lines)))
        return
    for row, line in zip(rows, draft.lines, strict=True):
        pairs = {
            "of line": (row.invoice_line_id, InvoiceLine.parse_id(line.line.id)),
            "description": (row.description, line.description[:500]),
            "quantity": (row.quantity, line.quantity),
            "unit amount": (row.unit_amount, line.unit_amount),
            "amount": (row.amount, line.amount),
            "trace": (row.trace, line.trace),
        }
        for name, (stored, computed) in pairs.items():
            if stored != computed:
                yield Difference(f"line {row.position} {name}", str(stored), str(computed))


def _compare_taxes(note: CreditNote, draft: CreditDraft) -> Iterator[Difference]:
    stored = [
        (encode_id(InvoiceTax.id_prefix, row.invoice_tax_id), row.name, row.rate, row.base, row.amount)
        for row in CreditNoteTax.objects.filter(credit_note=note).order_by("position")
    ]
    computed = [(tax.rate.id, tax.rate.name, tax.rate.rate, tax.base, tax.amount) for tax in draft.taxes]
    if stored != computed:
        yield Difference("taxes", str(stored), str(computed))


def _compare_invoice(note: CreditNote, facts: CreditFacts) -> Iterator[Difference]:
    """What the note was computed from is still the invoice; what earlier notes had taken is not asked again."""
    now = load_credit_facts(note.invoice, facts.wish)
    stored = {line.id: (line.net, line.rates) for line in facts.lines}
    if stored != {line.id: (line.net, line.rates) for line in now.lines}:
        yield Difference("lines of the invoice", "as traced", "as they stand")
    rates = [(rate.id, rate.rate, rate.base, rate.amount) for rate in facts.rates]
    if rates != [(rate.id, rate.rate, rate.base, rate.amount) for rate in now.rates]:
        yield Difference("tax of the invoice", "as traced", "as it stands")
