"""What dunning does by itself, and at once when a payment method comes."""

from __future__ import annotations

import uuid

from celery import shared_task

from accounts.services.payment_methods import NEW_METHOD_JOB
from billing_site.kernel import clock
from invoicing.services import dunning, dunning_sweep


@shared_task(name=dunning.SETTLE_JOB)
def settle_dunning(case_id: str) -> bool:
    """Arrange the end state of one case; answers whether there was something to do."""
    return dunning_sweep.settle_now(uuid.UUID(case_id), at=clock.now())


@shared_task(name=NEW_METHOD_JOB)
def collect_after_new_method(account_id: str) -> int:
    """Charge what an account owes to the method that it has just attached, or made its default; answers how many."""
    return dunning_sweep.try_new_methods_of(account_id=uuid.UUID(account_id), at=clock.now())


@shared_task(name="invoicing.sweep_dunning")
def sweep_dunning() -> int:
    """Do what is due of dunning; answers how many rows were worked off."""
    return dunning_sweep.sweep_dunning(at=clock.now())
