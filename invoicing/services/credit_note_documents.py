"""Storing the PDF of a credit note: once, when it is first asked for; the same bytes ever after. Source: ADR 0008."""

from __future__ import annotations

import hashlib

from django.db import transaction
from django.db.models.functions import Now

from invoicing.documents import render_invoice_pdf
from invoicing.models import CreditNote, CreditNoteDocument
from invoicing.queries.credit_note_documents import get_stored_credit_note, load_credit_note_view


@transaction.atomic
def get_credit_note_pdf(note: CreditNote) -> bytes:
    """Return the PDF of a credit note: the stored bytes, made now if there are none."""
    stored = get_stored_credit_note(note.id)
    if stored is not None:
        return stored
    content = render_invoice_pdf(load_credit_note_view(note))
    # Two makers write the same bytes; the second one's row is dropped by the unique constraint.
    row = CreditNoteDocument(
        credit_note=note, content=content, sha256=hashlib.sha256(content).hexdigest(), created_at=Now()
    )
    CreditNoteDocument.objects.bulk_create([row], ignore_conflicts=True)
    return get_stored_credit_note(note.id) or content
