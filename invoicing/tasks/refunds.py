"""Refunds that the provider is asked for, and asked about."""

from __future__ import annotations

import logging
import uuid

from celery import shared_task

from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from invoicing.models import Refund
from invoicing.services import refund_sending
from invoicing.services.refund_rows import SEND_JOB

logger = logging.getLogger(__name__)


@shared_task(name=SEND_JOB)
def send_refund(refund_id: str) -> bool:
    """Ask the provider for one refund; answers False when the sweep must go on with it."""
    account = Refund.objects.select_related("account__test_clock").get(pk=uuid.UUID(refund_id)).account
    try:
        refund_sending.send_refund(refund_id=uuid.UUID(refund_id), at=clock.now(account))
    except DomainError as refusal:
        logger.warning("refund %s not answered yet: %s", refund_id, refusal.code)
        return False
    return True


@shared_task(name="invoicing.sweep_refunds")
def sweep_refunds() -> int:
    """Ask about refunds that were not answered for ten minutes; answers how many were settled."""
    return refund_sending.sweep_refunds(at=clock.now())
