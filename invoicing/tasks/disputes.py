"""Disputes: deadlines, answers that were not answered, and what the local provider has to tell."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services.dispute_alarms import warn_of_deadlines
from invoicing.services.dispute_answers import sweep_dispute_calls
from invoicing.services.local_news import tell_local_news


@shared_task(name="invoicing.sweep_disputes")
def sweep_disputes() -> int:
    """Tell of deadlines and go on with answers that the provider did not take yet; answers how many."""
    at = clock.now()
    return warn_of_deadlines(at=at) + sweep_dispute_calls(at=at) + tell_local_news(at=at)
