"""Jobs of the platform."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from billing_site.kernel import clock
from billing_site.platform.services import notices
from billing_site.platform.services.approvals import expire_due
from billing_site.platform.services.idempotency import expire_keys
from billing_site.platform.services.keyed_requests import expire_keyed_requests


@shared_task(name="platform.expire_idempotency_keys")
def expire_idempotency_keys() -> int:
    """Forget answers older than seven days."""
    at = clock.now()
    return expire_keys(at=at) + expire_keyed_requests(at=at)


@shared_task(name="platform.expire_approvals")
def expire_approvals() -> int:
    """Close requests that nobody decided in time."""
    return expire_due(at=clock.now())


@shared_task(name="platform.send_notices")
def send_notices(notice_ids: list[str]) -> int:
    """Send messages and answer how many arrived; what fails is tried again by the sweep."""
    return sum(notices.send_notice(notice_id=UUID(notice_id), at=clock.now()) for notice_id in notice_ids)


@shared_task(name="platform.purge_notices")
def purge_notices() -> int:
    """Forget old messages; answers how many there were."""
    return notices.purge_notices(at=clock.now())


@shared_task(name="platform.sweep_notices")
def sweep_notices() -> int:
    """Send what was left behind or is due again; answers how many messages arrived."""
    return notices.sweep_notices(at=clock.now())
