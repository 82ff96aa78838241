"""Ending the starts whose first payment did not come."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services.incomplete import cancel_unpaid_starts as cancel_due


@shared_task(name="invoicing.cancel_unpaid_starts")
def cancel_unpaid_starts() -> int:
    """Cancel what was not paid in time and return how many."""
    return cancel_due(at=clock.now())
