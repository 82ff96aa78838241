"""Long work in the background."""

from __future__ import annotations

import uuid

from celery import shared_task

from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from invoicing.models import BillingJob
from invoicing.queries.billing_jobs import list_waiting_jobs
from invoicing.services.billing_jobs import dispatch_job, purge_job_files, work_job


@shared_task(name="invoicing.work_billing_job")
def work_billing_job(job_id: str) -> str:
    """Do one job, unless it is over or another worker is at it; answers its status."""
    return work_job(job_id=uuid.UUID(job_id), now=clock.now, actor=SYSTEM).status


@shared_task(name="invoicing.sweep_billing_jobs")
def sweep_billing_jobs() -> int:
    """Send a worker to every job that stands still: a lost message or a dead worker costs minutes, nothing else."""
    found = BillingJob.objects.filter(id__in=list_waiting_jobs(at=clock.now()))
    for job in found:
        dispatch_job(job)
    return len(found)


@shared_task(name="invoicing.purge_billing_job_files")
def purge_billing_job_files() -> int:
    """Drop files that are older than the setting says; answers how many jobs had one."""
    return purge_job_files(at=clock.now())
