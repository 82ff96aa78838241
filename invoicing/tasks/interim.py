"""Invoices at a usage threshold."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services.interim import check_thresholds, sweep_interim_invoices


@shared_task(name="invoicing.sweep_interim_invoices")
def sweep_due_interim_invoices() -> int:
    """Invoice usage that has reached its threshold and return how many invoices that made."""
    return len(sweep_interim_invoices(at=clock.now()))


@shared_task(name="invoicing.check_thresholds")
def check_thresholds_of(subscription_ids: list[str]) -> int:
    """Invoice what has reached its threshold among subscriptions whose usage has just changed; answers how many."""
    return len(check_thresholds(subscription_ids=[UUID(key) for key in subscription_ids], at=clock.now()))
