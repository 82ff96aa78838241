"""
Storing the PDF of an issued invoice: once, immutable, the same bytes whenever it is made.

Rendering is no part of the issuing transaction (it would hold the number counter for milliseconds per page); a job
follows at once, a sweep finds what it missed, and the first download does it if it comes earlier. Source: ADR 0008.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Sequence

from django.db import transaction
from django.db.models.functions import Now

from invoicing.documents import render_invoice_pdf
from invoicing.models import DocumentKind, Invoice, InvoiceCredit, InvoiceDocument, InvoiceLine, InvoiceTax
from invoicing.queries.documents import (
    build_invoice_view,
    get_stored_document,
    list_missing_documents,
    load_invoice_view,
    load_logos,
    load_replaced,
)

__all__ = ["get_invoice_pdf", "list_missing_documents", "store_documents"]


def get_invoice_pdf(invoice: Invoice) -> bytes:
    """Return the PDF: the stored bytes of an issued invoice, made now if missing; a fresh one of a draft."""
    if invoice.number is None:
        return render_invoice_pdf(load_invoice_view(invoice))
    stored = get_stored_document(invoice.id)
    if stored is None:
        store_documents([invoice.id])
        stored = get_stored_document(invoice.id)
    if stored is None:
        raise LookupError(f"document of invoice {invoice.public_id} vanished")
    return stored


def store_documents(invoice_ids: Sequence[uuid.UUID]) -> int:
    """Render and store the documents of issued invoices that have none yet; returns how many were missing."""
    invoices = list(Invoice.objects.filter(id__in=invoice_ids, number__isnull=False, documents__isnull=True))
    lines: dict[uuid.UUID, list[InvoiceLine]] = defaultdict(list)
    for line in InvoiceLine.objects.filter(invoice__in=invoices).order_by("position").prefetch_related("splits"):
        lines[line.invoice_id].append(line)
    credits: dict[uuid.UUID, list[InvoiceCredit]] = defaultdict(list)
    for credit in InvoiceCredit.objects.filter(invoice__in=invoices, payment=0).order_by("position"):
        credits[credit.invoice_id].append(credit)
    taxes: dict[uuid.UUID, list[InvoiceTax]] = defaultdict(list)
    for tax in InvoiceTax.objects.filter(invoice__in=invoices).order_by("position"):
        taxes[tax.invoice_id].append(tax)
    logos, replaced = load_logos(invoices), load_replaced(invoices)
    for invoice in invoices:
        view = build_invoice_view(
            invoice,
            lines[invoice.id],
            credits[invoice.id],
            taxes=taxes[invoice.id],
            logo=logos.get(invoice.id, b""),
            replaces=replaced.get(invoice.id, ""),
        )
        _store(invoice, render_invoice_pdf(view))
    return len(invoices)


@transaction.atomic
def _store(invoice: Invoice, content: bytes) -> None:
    # Two makers write the same bytes; the second one's row is dropped by the unique constraint.
    document = InvoiceDocument(
        invoice=invoice,
        kind=DocumentKind.INVOICE_PDF,
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        created_at=Now(),
    )
    InvoiceDocument.objects.bulk_create([document], ignore_conflicts=True)
