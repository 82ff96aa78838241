"""
The door of webhooks: signature, one statement that stores what came, an answer. Everything else is the worker's.

Source: contract chapter Webhooks in; ADR 0052.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings

from invoicing.services.inbound_events import NewEvent, store_event
from invoicing.webhooks.adapters import WebhookDoor
from invoicing.webhooks.signatures import check_signature


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is answered: our name of the event's type, the provider's id of it, and whether it was known already."""

    type: str
    id: str
    is_duplicate: bool


def receive_event(*, door: WebhookDoor, headers: Mapping[str, str], body: bytes, at: datetime) -> Receipt:
    """
    Store an event that a provider sent and have it handled; one that is known changes nothing.

    `at` is the wall clock. An event of the other mode (test at a live site, or live at a test site) is kept and never
    applied; a provider's own tests may send them.
    :raises WebhookSignatureMissing, WebhookSignatureInvalid: unless the provider sent it just now.
    :raises ValidationFailed: when it is signed and no event.
    """
    check_signature(header=headers.get(door.header, ""), body=body, secrets=door.secrets, at=at)
    event = door.read(body)
    is_new = keep_event(event, at=at)
    return Receipt(event.neutral_type, event.event_id, is_duplicate=not is_new)


def keep_event(event: NewEvent, *, at: datetime) -> bool:
    """Store an event whose sender is known, and answer False for one that is known already."""
    if event.livemode != settings.BILLING_LIVEMODE:
        ours, theirs = ("live", "test") if settings.BILLING_LIVEMODE else ("test", "live")
        event = replace(event, refused=f"Not applied: a {theirs} event at a {ours} site.")
    return store_event(event, at=at)
