"""
Billing events: appended in the transaction of the change, hash chained per account.

The hash covers every column and the hash before it, so a row changed, removed or slipped in behind the triggers is
found by `verify_chain`. Source: contract chapter Events and webhooks out.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from billing_site.kernel.actors import Actor
from billing_site.platform.models import PLATFORM_CHAIN, Event, EventChain, Identified
from billing_site.platform.models.bulk import RowMaker, copy_rows, update_rows


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append. `data` is the snapshot after the change, `previous` the changed fields before it."""

    type: str
    subject: Identified
    account_id: uuid.UUID | None
    at: datetime
    actor: Actor
    data: Mapping[str, Any] = field(default_factory=dict)
    previous: Mapping[str, Any] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ChainFault:
    """The first place where a chain is not what was written."""

    chain: str
    sequence: int
    event_id: str
    what: str

    def __str__(self) -> str:
        return f"chain {self.chain}, event {self.sequence} ({self.event_id or 'absent'}): {self.what}"


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What `verify_chain` found: how many events hold, and the first that does not."""

    chain: str
    checked: int
    fault: ChainFault | None

    @property
    def is_intact(self) -> bool:
        return self.fault is None


def emit(
    type: str,
    *,
    subject: Identified,
    account_id: uuid.UUID | None,
    at: datetime,
    actor: Actor,
    data: Mapping[str, Any] | None = None,
    previous: Mapping[str, Any] | None = None,
    reason: str = "",
) -> Event:
    """
    Append one event to the chain of its account and return it.

    Runs in the caller's transaction and locks the chain until its end.
    :raises TransactionManagementError: outside a transaction.
    """
    return emit_many([NewEvent(type, subject, account_id, at, actor, data or {}, previous, reason)])[0]


def emit_many(new_events: Sequence[NewEvent]) -> list[Event]:
    """
    Append events, each to the chain of its account, in the order given, with a fixed number of queries.

    :raises TransactionManagementError: outside a transaction.
    """
    if not new_events:
        return []
    appending = _gathering.get()
    if appending is not None:
        return appending.append(new_events)
    appending = _Appending()
    rows = appending.append(new_events)
    appending.write()
    return rows


@contextmanager
def gathered() -> Iterator[None]:
    """
    Write the events of the block at its end, all with the same few statements. Within one transaction.

    Chains are locked and events numbered as they are emitted; only nobody can read them before the end. Nothing in the
    block may go back to a savepoint. An error drops the events, as the transaction drops what they tell of.
    """
    if _gathering.get() is not None:
        yield
        return
    appending = _Appending()
    token = _gathering.set(appending)
    try:
        yield
    finally:
        _gathering.reset(token)
    appending.write()


class _Appending:
    """Events that are not written yet, and the chains they belong to."""

    def __init__(self) -> None:
        self._chains: dict[str, EventChain] = {}
        self._rows: list[Event] = []

    def append(self, new_events: Sequence[NewEvent]) -> list[Event]:
        recorded_at = timezone.now()
        if missing := {_chain_key(new.account_id) for new in new_events} - self._chains.keys():
            self._chains |= _lock_chains(missing)
        rows = []
        for new in new_events:
            chain = self._chains[_chain_key(new.account_id)]
            row = _build_row(new, chain, recorded_at)
            chain.last_sequence, chain.last_hash = row.sequence, row.hash
            rows.append(row)
        self._rows += rows
        return rows

    def write(self) -> None:
        copy_rows(self._rows)
        update_rows(self._chains.values(), {"last_sequence": "bigint", "last_hash": "text"})


_gathering: ContextVar[_Appending | None] = ContextVar("gathering", default=None)


def verify_chain(chain: str) -> ChainReport:
    """Recompute one chain from its first event and return what was found; stops at the first fault."""
    expected, previous_hash = 0, ""
    for row in Event.objects.filter(chain=chain).order_by("sequence").iterator(chunk_size=2_000):
        expected += 1
        if row.sequence != expected:
            fault = ChainFault(chain, expected, "", f"missing; the next event is number {row.sequence}")
            return ChainReport(chain, expected - 1, fault)
        if row.previous_hash != previous_hash:
            return ChainReport(
                chain, expected - 1, ChainFault(chain, expected, row.public_id, "does not follow the event before")
            )
        if row.hash != compute_hash(row):
            return ChainReport(
                chain, expected - 1, ChainFault(chain, expected, row.public_id, "its content was changed")
            )
        previous_hash = row.hash
    end = EventChain.objects.filter(key=chain).first()
    if end is None and expected:
        return ChainReport(chain, expected, ChainFault(chain, expected, "", "the end of the chain was removed"))
    if end is not None and end.last_sequence > expected:
        what = f"missing; {end.last_sequence} events were written"
        return ChainReport(chain, expected, ChainFault(chain, expected + 1, "", what))
    if end is not None and (end.last_sequence, end.last_hash) != (expected, previous_hash):
        return ChainReport(chain, expected, ChainFault(chain, expected, "", "the end of the chain was changed"))
    return ChainReport(chain, expected, None)


def verify_all() -> Iterator[ChainReport]:
    """Verify every chain, in the order of their keys. Each is read in one snapshot of its own."""
    keys = EventChain.objects.values_list("key", flat=True).union(Event.objects.values_list("chain", flat=True))
    for key in sorted(keys):
        yield verify_chain_consistently(key)


def verify_chain_consistently(chain: str) -> ChainReport:
    """Verify one chain while nothing is appended to it."""
    with transaction.atomic():
        # Appending needs this row's lock, so the events and the recorded end belong together.
        EventChain.objects.select_for_update().filter(key=chain).first()
        return verify_chain(chain)


def compute_hash(row: Event) -> str:
    """Return the SHA-256 over the canonical JSON of every column but the hash itself; data is plain already."""
    content = {
        "id": str(row.id),
        "chain": row.chain,
        "sequence": row.sequence,
        "type": row.type,
        "object_type": row.object_type,
        "object_id": row.object_id,
        "account_id": None if row.account_id is None else str(row.account_id),
        "actor_type": row.actor_type,
        "actor_id": row.actor_id,
        "reason": row.reason,
        "data": row.data,
        "previous_data": row.previous_data,
        "livemode": row.livemode,
        "created_at": _write_instant(row.created_at),
        "recorded_at": _write_instant(row.recorded_at),
        "previous_hash": row.previous_hash,
    }
    return hashlib.sha256(_write_canonically(content).encode()).hexdigest()


def canonical_json(value: object) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, only types that survive jsonb unchanged."""
    return _write_canonically(to_plain(value))


_write_canonically = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def to_plain(value: object) -> Any:
    """
    Return `value` as JSON types that read back from jsonb exactly as written.

    Decimals, instants, dates and UUIDs become text. So does a float, which only free-form metadata can hold: jsonb
    may respell a number (`1e2` as `100`) and the hash must not depend on that.
    :raises TypeError: for anything else.
    """
    if type(value) in _PLAIN_TYPES:
        return value
    match value:
        case datetime():
            return _write_instant(value)
        case dict() | Mapping():
            return {str(key): item if type(item) in _PLAIN_TYPES else to_plain(item) for key, item in value.items()}
        case bool():
            return value
        case Enum():
            return to_plain(value.value)
        case str():
            return str(value)
        case int():
            return int(value)
        case Decimal():
            return format(value, "f")
        case float():
            return repr(value)
        case date() | uuid.UUID():
            return str(value)
        case list() | tuple() | set() | frozenset():
            items: Iterable[object] = sorted(value, key=str) if isinstance(value, set | frozenset) else value
            return [to_plain(item) for item in items]
    raise TypeError(f"an event cannot hold {type(value).__name__}")


def _write_instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise TypeError("an event holds aware instants only")
    return f"{value.astimezone(UTC).isoformat()[:-6]}Z"


_PLAIN_TYPES = frozenset({type(None), bool, str, int})


def _chain_key(account_id: uuid.UUID | None) -> str:
    return PLATFORM_CHAIN if account_id is None else str(account_id)


def _lock_chains(keys: set[str]) -> dict[str, EventChain]:
    """Lock the chains in the order of their keys; a chain that does not exist yet is started."""
    chains = {chain.key: chain for chain in EventChain.objects.select_for_update().filter(key__in=keys).order_by("key")}
    if missing := keys - chains.keys():
        EventChain.objects.bulk_create([EventChain(key=key) for key in sorted(missing)], ignore_conflicts=True)
        started = EventChain.objects.select_for_update().filter(key__in=missing).order_by("key")
        chains.update({chain.key: chain for chain in started})
    return chains


def _build_row(new: NewEvent, chain: EventChain, recorded_at: datetime) -> Event:
    row = _EVENTS.make(
        chain.key,
        chain.last_sequence + 1,
        new.type,
        new.subject.get_object_type(),
        new.subject.public_id,
        new.account_id,
        new.actor.type,
        new.actor.id,
        new.reason,
        to_plain(new.data),
        None if new.previous is None else to_plain(new.previous),
        settings.BILLING_LIVEMODE,
        new.at,
        recorded_at,
        chain.last_hash,
    )
    row.hash = compute_hash(row)
    return row


_EVENTS: Final = RowMaker(
    Event,
    "chain",
    "sequence",
    "type",
    "object_type",
    "object_id",
    "account_id",
    "actor_type",
    "actor_id",
    "reason",
    "data",
    "previous_data",
    "livemode",
    "created_at",
    "recorded_at",
    "previous_hash",
)
