"""Drafts of the cycle whose grace period is over."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services.grace import sweep_grace_periods


@shared_task(name="invoicing.sweep_grace_periods")
def sweep_due_grace_periods() -> int:
    """Issue the drafts whose time has come and return how many."""
    return len(sweep_grace_periods(at=clock.now()))
