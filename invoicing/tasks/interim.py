"""Invoices at a usage threshold."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services.interim import sweep_interim_invoices


@shared_task(name="invoicing.sweep_interim_invoices")
def sweep_due_interim_invoices() -> int:
    """Invoice usage that has reached its threshold and return how many invoices that made."""
    return len(sweep_interim_invoices(at=clock.now()))
