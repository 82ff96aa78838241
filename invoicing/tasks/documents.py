"""Rendering and storing the documents of issued invoices."""

from __future__ import annotations

import uuid

from celery import shared_task

from billing_site.kernel import jobs
from invoicing.services.documents import list_missing_documents, store_documents

_SWEEP_LIMIT = 2_000
_BATCH = 200


@shared_task(name="invoicing.store_invoice_documents")
def store_invoice_documents(invoice_ids: list[str]) -> int:
    """Render and store the documents that are not there yet; returns how many were written."""
    return store_documents([uuid.UUID(text) for text in invoice_ids])


@shared_task(name="invoicing.sweep_invoice_documents")
def sweep_invoice_documents() -> int:
    """Send a job for issued invoices whose document is missing; returns how many were found."""
    missing = list_missing_documents(limit=_SWEEP_LIMIT)
    for start in range(0, len(missing), _BATCH):
        jobs.enqueue(
            "invoicing.store_invoice_documents",
            invoice_ids=[str(invoice_id) for invoice_id in missing[start : start + _BATCH]],
        )
    return len(missing)
