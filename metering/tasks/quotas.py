"""What becomes of quotas by the passing of time."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from metering.services import reservations


@shared_task(name="metering.expire_quota_reservations")
def expire_quota_reservations() -> int:
    """Note the end of reservations whose time is over; answers how many there were."""
    return reservations.expire_reservations(at=clock.now())
