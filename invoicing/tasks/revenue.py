"""Revenue of the days that have ended."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services import revenue


@shared_task(name="invoicing.release_revenue")
def release_revenue() -> int:
    """Release deferred revenue of every day that ended; answers how many entries of a day were written."""
    return len(revenue.release_revenue(at=clock.now()))
