"""
Documents: invoices as PDF files.

A room of plain functions from a frozen view to bytes. No Django, no clock, no network; the only files read are the
fonts shipped beside the code. The same view gives the same bytes, in any process, on any day.
"""

from __future__ import annotations

from invoicing.documents.view import CreditView, InvoiceView, LineView, PartyView, PaymentView, TaxLineView

__all__ = ["CreditView", "InvoiceView", "LineView", "PartyView", "PaymentView", "TaxLineView", "render_invoice_pdf"]


def render_invoice_pdf(document: InvoiceView, *, locale: str = "") -> bytes:
    """Return the document as a PDF/A-3B file, in its own locale unless another is given; see `documents.invoice`."""
    from invoicing.documents import invoice  # the PDF library is a third of the start of every process

    return invoice.render_invoice_pdf(document, locale=locale or document.locale)
