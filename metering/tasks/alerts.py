"""Alerts about costs and quotas in the background."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from billing_site.kernel import clock, jobs
from invoicing.services.cost_alerts import evaluate_cost_alerts, sweep_cost_alerts
from invoicing.services.interim import look_at_thresholds
from metering.services.quota_alerts import evaluate_quota_alerts, sweep_quota_alerts


@shared_task(name="metering.evaluate_alerts")
def evaluate_alerts(account_ids: list[str]) -> int:
    """
    Look at the alerts and billing thresholds of accounts whose usage or alerts have just changed.

    Answers how many alerts fired.
    """
    keys = [UUID(key) for key in account_ids]
    at = clock.now()
    look_at_thresholds(account_ids=keys, at=at)
    fired = len(evaluate_quota_alerts(account_ids=keys, at=at))
    return fired + len(evaluate_cost_alerts(account_ids=keys, at=at))


@shared_task(name="metering.sweep_alerts")
def sweep_alerts() -> int:
    """Look at every alert that is due; answers how many fired. What is left over goes on in another job."""
    fired, has_more = sweep_cost_alerts(at=clock.now())
    if has_more:
        jobs.enqueue("metering.sweep_alerts")
    return len(fired)


@shared_task(name="metering.sweep_quota_alerts")
def sweep_quota_alerts_task() -> int:
    """Look at the quotas of every account that used something of late; answers how many alerts there were."""
    return sweep_quota_alerts(at=clock.now())
