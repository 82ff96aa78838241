"""Billing runs in the background."""

from __future__ import annotations

import uuid

from celery import shared_task
from django.conf import settings

from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from invoicing.models import BillingRun
from invoicing.services.run_work import work_run
from invoicing.services.runs import dispatch_run, list_unfinished_runs, start_due_runs


@shared_task(name="invoicing.run_billing_cycle")
def run_billing_cycle() -> int:
    """Start a run in every organization with something due; returns how many."""
    return len(start_due_runs(as_of=clock.now(), actor=SYSTEM, livemode=settings.BILLING_LIVEMODE))


@shared_task(name="invoicing.work_billing_run")
def work_billing_run(run_id: str) -> str:
    """Work on one run until nothing in it can be claimed; returns its status."""
    return work_run(run_id=uuid.UUID(run_id), actor=SYSTEM).status


@shared_task(name="invoicing.sweep_billing_runs")
def sweep_billing_runs() -> int:
    """Send workers to every unfinished run: a lost message or a dead worker costs a minute, nothing else."""
    runs = BillingRun.objects.filter(id__in=list_unfinished_runs())
    for run in runs:
        dispatch_run(run)
    return len(runs)
