"""Setups whose outcome is not known yet."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from invoicing.services import setup_sweep

_SWEEP_LIMIT = 200


@shared_task(name="invoicing.sweep_setup_intents")
def sweep_setup_intents() -> int:
    """Ask the provider what became of setups; answers how many were looked at with success."""
    now = clock.now()
    return sum(
        setup_sweep.settle_setup(setup_intent_id=key, at=now, actor=SYSTEM)
        for key in setup_sweep.list_unsettled(at=now, limit=_SWEEP_LIMIT)
    )
