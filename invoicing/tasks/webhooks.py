"""Webhooks that came in: handled when they come, and swept."""

from __future__ import annotations

import uuid
from datetime import timedelta

from celery import shared_task
from django.conf import settings

from billing_site.kernel import clock
from invoicing.services.inbound_events import HANDLE_JOB, purge_bodies
from invoicing.webhooks import inbox


@shared_task(name=HANDLE_JOB)
def handle_inbound_event(event_id: str) -> bool:
    """Handle one event; answers False where it is not due, or failed and is tried again later."""
    return inbox.handle_event(event_id=uuid.UUID(event_id))


@shared_task(name="invoicing.sweep_inbound_events")
def sweep_inbound_events() -> int:
    """Handle what was left behind or is due again; answers how many events were settled."""
    return inbox.sweep_events()


@shared_task(name="invoicing.purge_inbound_bodies")
def purge_inbound_bodies() -> int:
    """Forget what old events said, word for word; answers how many there were."""
    now = clock.now()
    return purge_bodies(before=now - timedelta(days=settings.BILLING_WEBHOOK_BODY_DAYS), at=now)
