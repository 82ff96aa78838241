"""The starter credit that a verified payment method earns."""

from __future__ import annotations

import uuid

from celery import shared_task

from accounts.models import Account
from accounts.services.payment_methods import STARTER_CREDIT_JOB
from accounts.services.starter_credit import grant_after_verification, list_owed
from billing_site.kernel import clock, jobs
from billing_site.kernel.actors import SYSTEM

_SWEEP_LIMIT = 500


@shared_task(name=STARTER_CREDIT_JOB)
def grant_starter_credit(account_id: str) -> bool:
    """Give one account its credit, unless nothing is owed; answers whether it was given."""
    account = Account.objects.select_related("test_clock").get(pk=uuid.UUID(account_id))
    return grant_after_verification(account_id=account.pk, at=clock.now(account), actor=SYSTEM) is not None


@shared_task(name="accounts.sweep_starter_credit")
def sweep_starter_credit() -> int:
    """Send a job for accounts that were missed; answers how many there are."""
    owed = list_owed(at=clock.now(), limit=_SWEEP_LIMIT)
    for account_id in owed:
        jobs.enqueue(STARTER_CREDIT_JOB, account_id=str(account_id))
    return len(owed)
