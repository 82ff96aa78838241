"""What is kept of refused usage requests for a while only."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from metering.services.rejected_usage import purge_refusals


@shared_task(name="metering.purge_rejected_usage")
def purge_rejected_usage() -> int:
    """Delete refused usage requests that are older than the setting says; answers how many there were."""
    return purge_refusals(at=clock.now())
