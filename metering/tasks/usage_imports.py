"""Imports of usage files in the background."""

from __future__ import annotations

import uuid

from celery import shared_task

from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from metering.models import UsageImport
from metering.queries.usage_imports import list_waiting_imports
from metering.services.usage_imports import dispatch_import, work_import


@shared_task(name="metering.work_usage_import")
def work_usage_import(import_id: str) -> str:
    """Work on one import until it is over or somebody else holds it; answers its status."""
    return work_import(import_id=uuid.UUID(import_id), now=clock.now, actor=SYSTEM).status


@shared_task(name="metering.sweep_usage_imports")
def sweep_usage_imports() -> int:
    """Send a worker to every import that stands still: a lost message or a dead worker costs a minute, nothing else."""
    found = UsageImport.objects.filter(id__in=list_waiting_imports(at=clock.now()))
    for usage_import in found:
        dispatch_import(usage_import)
    return len(found)
