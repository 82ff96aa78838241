"""Addresses behind charged events."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from metering.models import ChargeClient

_CHUNK: Final = 10_000


def insert_client(*, event_id: UUID, client_ip: str, recorded_at: datetime) -> None:
    """Keep the address that the call behind a charged event came from."""
    ChargeClient(event_id=event_id, client_ip=client_ip, recorded_at=recorded_at).save(force_insert=True)


def delete_clients_before(moment: datetime) -> int:
    """Delete the addresses recorded before `moment`, some thousands at a time, and return how many there were."""
    old = ChargeClient.objects.filter(recorded_at__lt=moment).order_by("recorded_at").values("pk")
    total = 0
    while deleted := ChargeClient.objects.filter(pk__in=old[:_CHUNK]).delete()[0]:
        total += deleted
    return total
