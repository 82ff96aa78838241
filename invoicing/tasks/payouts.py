"""Payouts on their way to the provider."""

from __future__ import annotations

import uuid

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services import payout_sending, payouts


@shared_task(name=payouts.SEND_JOB)
def send_payout(payout_id: str) -> bool:
    """Hand one payout to the provider; answers False when the sweep must ask again."""
    return payout_sending.send_payout(payout_id=uuid.UUID(payout_id), at=clock.now())


@shared_task(name="invoicing.sweep_payouts")
def sweep_payouts() -> int:
    """Send what was left behind and ask about what has not ended; answers of how many something is known."""
    return payout_sending.sweep_payouts(at=clock.now())
