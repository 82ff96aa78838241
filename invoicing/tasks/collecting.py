"""Collecting what is due, and asking about what was never answered."""

from __future__ import annotations

import uuid

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services import collecting
from invoicing.services.settling_sweep import settle_unanswered


@shared_task(name=collecting.COLLECT_JOB)
def collect_invoices(invoice_ids: list[str]) -> int:
    """Collect some invoices whose next attempt is due; answers how many were tried."""
    return collecting.collect_these(invoice_ids=[uuid.UUID(key) for key in invoice_ids], at=clock.now())


@shared_task(name="invoicing.collect_due_invoices")
def collect_due_invoices() -> int:
    """Collect every invoice whose next attempt is due; answers how many were tried."""
    return collecting.collect_due(at=clock.now())


@shared_task(name="invoicing.settle_payments")
def settle_payments() -> int:
    """Ask the provider about payments that were never answered; answers how many are settled now."""
    return settle_unanswered(at=clock.now())
