"""Ending the pauses whose time has come."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services.pauses import resume_due


@shared_task(name="invoicing.resume_due_subscriptions")
def resume_due_subscriptions() -> int:
    """Resume what is due and return how many."""
    return resume_due(at=clock.now())
