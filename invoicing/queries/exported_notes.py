"""Credit notes among the invoices of an export: amounts below zero, so that sums over what stands are net of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any, Final
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from invoicing.models import CreditNote, CreditNoteLine, Invoice

_CHUNK: Final = 500


def merge_notes(invoices: Iterable[Invoice], notes: QuerySet[CreditNote]) -> Iterator[Invoice | CreditNote]:
    """Return invoices, newest first, with the notes between them, as they are read."""
    rows = notes.select_related("invoice").defer("trace", "account_snapshot", "seller_snapshot").order_by("-id")
    return merge(invoices, rows.iterator(chunk_size=_CHUNK), key=_get_key, reverse=True)


def with_lines(notes: QuerySet[CreditNote]) -> QuerySet[CreditNote]:
    """Return notes that come with their lines and what those credit."""
    lines = CreditNoteLine.objects.select_related("invoice_line__meter", "invoice_line__plan_version__plan")
    return notes.prefetch_related(Prefetch("lines", queryset=lines.defer("trace").order_by("position")))


def get_amounts(note: CreditNote) -> dict[str, int]:
    """Return the amounts of a note as an invoice has them; where its money goes stands on the invoice."""
    return {
        "subtotal": -note.subtotal,
        "discount": 0,
        "tax": -note.tax,
        "total": -note.total,
        "credit_applied": 0,
        "amount_due": 0,
        "amount_paid": 0,
    }


def describe_note(note: CreditNote) -> dict[str, Any]:
    """Return a note, loaded with its lines, in the shape of an invoice."""
    return {
        "id": note.public_id,
        "type": "credit_note",
        "corrects": note.invoice.number_text,
        "number_str": note.number_text,
        "status": note.status,
        "issue_date": note.issue_date,
        "due_date": None,
        "period_start": None,
        "period_end": None,
        "currency": note.currency,
        **get_amounts(note),
        "amount_remaining": 0,
        "paid_at": None,
        "line_items": [_describe_line(line) for line in note.lines.all()],
    }


def _describe_line(line: CreditNoteLine) -> dict[str, Any]:
    origin = line.invoice_line
    return {
        "type": origin.type,
        "description": line.description,
        "plan_id": origin.plan_version.plan.key if origin.plan_version is not None else None,
        "meter": origin.meter.event_name if origin.meter is not None else None,
        "quantity": None,
        "unit_price": None,
        "amount": -line.amount,
        "discount": 0,
        "period_start": None,
        "period_end": None,
    }


def _get_key(row: Invoice | CreditNote) -> UUID:
    """Keys are ordered by time, whatever they are of."""
    return row.pk
