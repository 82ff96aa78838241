"""Deposits whose time is over."""

from __future__ import annotations

from celery import shared_task

from accounts.services import deposits
from billing_site.kernel import clock


@shared_task(name="accounts.expire_deposits")
def expire_deposits() -> int:
    """Return what is left of deposits that ended; answers how many there were."""
    return deposits.expire_deposits(at=clock.now()).lots
