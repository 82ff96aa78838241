"""Holds whose time is over."""

from __future__ import annotations

from celery import shared_task

from accounts.services import holds
from billing_site.kernel import clock


@shared_task(name="accounts.expire_holds")
def expire_holds() -> int:
    """Free the money of holds whose end has come; answers how many there were."""
    return holds.expire_holds(at=clock.now())
