"""What is left to tell the payment provider about methods."""

from __future__ import annotations

import uuid

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services import card_expiry, payment_methods

_SWEEP_LIMIT = 200


@shared_task(name=payment_methods.RELEASE_JOB)
def release_payment_method(method_id: str) -> bool:
    """Let the provider forget one method; answers False when the sweep must try again."""
    return payment_methods.release_payment_method(method_id=uuid.UUID(method_id), at=clock.now())


@shared_task(name="invoicing.sweep_payment_methods")
def sweep_payment_methods() -> int:
    """Settle requests that were never answered and release what the provider keeps for nothing; answers how many."""
    now = clock.now()
    done = [
        payment_methods.abandon_payment_method(method_id=method_id, at=now)
        for method_id in payment_methods.list_abandoned(at=now, limit=_SWEEP_LIMIT)
    ]
    done += [
        payment_methods.release_payment_method(method_id=method_id, at=now)
        for method_id in payment_methods.list_unreleased(limit=_SWEEP_LIMIT)
    ]
    return sum(done)


@shared_task(name="invoicing.warn_of_expiring_cards")
def warn_of_expiring_cards() -> int:
    """Warn accounts whose default card ends soon; answers how many were."""
    return card_expiry.sweep_expiring_cards(at=clock.now())
