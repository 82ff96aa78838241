"""Comparing with the payment provider, every night and on demand."""

from __future__ import annotations

import uuid

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services import provider_reconciliation


@shared_task(name="invoicing.start_reconciliation")
def start_reconciliation() -> str:
    """Begin tonight's comparison; the sweep works on it. Answers its id."""
    return provider_reconciliation.start_reconciliation(at=clock.now()).public_id


@shared_task(name=provider_reconciliation.JOB)
def work_reconciliation(run_id: str) -> bool:
    """Go on with one comparison; answers whether it is finished."""
    return provider_reconciliation.work_reconciliation(run_id=uuid.UUID(run_id), at=clock.now())


@shared_task(name="invoicing.sweep_reconciliations")
def sweep_reconciliations() -> int:
    """Go on with comparisons that were begun or stopped; answers how many were finished."""
    now = clock.now()
    return sum(
        provider_reconciliation.work_reconciliation(run_id=key, at=now)
        for key in provider_reconciliation.list_unfinished(limit=5)
    )
