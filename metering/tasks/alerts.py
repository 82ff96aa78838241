"""Alerts about costs in the background."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from billing_site.kernel import clock, jobs
from invoicing.services.cost_alerts import evaluate_cost_alerts, sweep_cost_alerts


@shared_task(name="metering.evaluate_alerts")
def evaluate_alerts(account_ids: list[str]) -> int:
    """Look at the alerts of accounts whose usage or alerts have just changed; answers how many fired."""
    keys = [UUID(key) for key in account_ids]
    return len(evaluate_cost_alerts(account_ids=keys, at=clock.now()))


@shared_task(name="metering.sweep_alerts")
def sweep_alerts() -> int:
    """Look at every alert that is due; answers how many fired. What is left over goes on in another job."""
    fired, has_more = sweep_cost_alerts(at=clock.now())
    if has_more:
        jobs.enqueue("metering.sweep_alerts")
    return len(fired)
