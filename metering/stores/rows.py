"""One event as the store takes it and gives it back, and how columns of them are written down for PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

Claim = tuple[UUID, UUID, str]
"""What counts once: account, meter and idempotency key."""


def make_event_id(account_id: UUID, meter_id: UUID, idempotency_key: str) -> UUID:
    """
    Return the id of the event that holds this key, made of both, so that a repeat has the id of the first.

    4 bytes of a SHA-256 of account and meter, then 12 of one of all three: what an account sends lies side by side in
    every index of ids.
    """
    place = account_id.bytes + meter_id.bytes
    return UUID(bytes=sha256(place).digest()[:4] + sha256(place + idempotency_key.encode()).digest()[:12])


def hash_claims(claims: Iterable[tuple[UUID, UUID, str]]) -> list[str]:
    """Return the ids of the events that hold these keys, in order, as 32 digits: `make_event_id` for many."""
    # By the identity of the objects: hashing and comparing UUIDs costs more than hashing the key.
    begun: dict[tuple[int, int], tuple[Any, str]] = {}
    kept: list[Any] = []
    ids = []
    for account_id, meter_id, key in claims:
        place = (id(account_id), id(meter_id))
        if (start := begun.get(place)) is None:
            begin = sha256(account_id.bytes + meter_id.bytes)
            start = begun[place] = (begin, begin.hexdigest()[:8])
            kept.append((account_id, meter_id))  # so that no other object gets the identity
        digest = start[0].copy()
        digest.update(key.encode())
        ids.append(start[1] + digest.hexdigest()[:24])
    return ids


def project_dimensions(declared: Sequence[str], dimensions: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a roll-up is kept by: the dimensions its meter declares, None where the event does not name one."""
    return {name: dimensions.get(name) for name in declared}


class EventRow(NamedTuple):
    """
    One checked event, in the order of the columns it is written to. `value` is in the meter's unit.

    `weight` is -1 for the voiding of the event that it `corrects`, which has the value with the opposite sign.
    `rolled_dimensions` are those its totals are kept by, see `project_dimensions`; they are not stored with the event.
    """

    account_id: UUID
    meter_id: UUID
    idempotency_key: str
    value: Decimal
    timestamp: datetime
    recorded_at: datetime
    resource_id: str = ""
    resource_type: str = ""
    actor_id: str = ""
    dimensions: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    cost_center_id: UUID | None = None
    charged: bool = False
    weight: int = 1
    corrects: UUID | None = None
    rolled_dimensions: dict[str, Any] = {}

    @property
    def id(self) -> UUID:
        return make_event_id(self.account_id, self.meter_id, self.idempotency_key)

    @property
    def claim(self) -> Claim:
        return (self.account_id, self.meter_id, self.idempotency_key)


StoredEvent = EventRow
"""A row as it lies in the store."""


def write_uuids(values: Iterable[UUID]) -> str:
    """Return an array literal. By hand: adapting each value on its own costs more than PostgreSQL's insert."""
    # Accounts and meters repeat as the same object, and an identity is looked up faster than a UUID.
    kept = list(values)
    known: dict[int, str] = {}
    return f"{{{','.join([known.get(id(value)) or known.setdefault(id(value), value.hex) for value in kept])}}}"


def write_optional_uuids(values: Iterable[UUID | None]) -> str:
    return f"{{{','.join(['NULL' if value is None else value.hex for value in values])}}}"


def write_instants(values: Iterable[datetime]) -> str:
    known: dict[datetime, str] = {}
    return f"{{{','.join([known.get(value) or known.setdefault(value, value.isoformat()) for value in values])}}}"


def write_plain(values: Iterable[object]) -> str:
    """Return an array literal of numbers or truth values."""
    return f"{{{','.join(map(str, values))}}}"


def write_texts(values: Sequence[str]) -> str:
    # U+0000 is the one character that PostgreSQL text cannot hold, so it can only be the separator.
    text = "\0".join(values).replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return f'{{"{text}"}}'


def write_objects(values: Iterable[dict[str, Any]]) -> str:
    return write_texts([as_json(value) for value in values])


def as_json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode() if value else "{}"


def from_json(value: str | dict[str, Any]) -> dict[str, Any]:
    # Django's connection hands jsonb over as text.
    return msgspec.json.decode(value, type=dict[str, Any]) if isinstance(value, str) else value
