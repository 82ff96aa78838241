"""What is kept of charged calls for a while only."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from metering.services import charging


@shared_task(name="metering.purge_charge_clients")
def purge_charge_clients() -> int:
    """Delete the addresses of calls that are older than 30 days; answers how many there were."""
    return charging.purge_clients(at=clock.now())
