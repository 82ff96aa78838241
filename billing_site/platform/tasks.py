"""Jobs of the platform."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from billing_site.platform.services.approvals import expire_due
from billing_site.platform.services.idempotency import expire_keys


@shared_task(name="platform.expire_idempotency_keys")
def expire_idempotency_keys() -> int:
    """Forget answers older than seven days."""
    return expire_keys(at=clock.now())


@shared_task(name="platform.expire_approvals")
def expire_approvals() -> int:
    """Close requests that nobody decided in time."""
    return expire_due(at=clock.now())
