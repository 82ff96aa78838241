"""Schedules of subscriptions in the background."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services.schedule_steps import sweep_due_schedules


@shared_task(name="invoicing.advance_schedules")
def advance_schedules() -> int:
    """Do the steps of schedules that are due; answers how many there were."""
    return sweep_due_schedules(at=clock.now()).steps
