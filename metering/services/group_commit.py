"""
Single events that arrive at the same moment share a transaction, and are acknowledged when it is committed.

A commit waits for the disk, whatever it holds. The first caller writes its event; those that come meanwhile wait, and
the next of them writes what has gathered, all in one transaction. Nobody waits for others to come: a lone event is
written at once. Threads of one process share; what could not be written together is written by each on its own, so that
nobody gets another's error. The accounts that callers name are looked up for the whole group as well, so that a thread
that waits has no connection to the database. Source: ADR 0030.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from django.conf import settings
from django.db import connection

from accounts.queries.named_accounts import load_named_accounts
from billing_site.kernel.actors import Actor
from metering.services.ingest import NewUsageEvent, RecordedUsage, record_usage_events

_MOST: Final = 500


class AccountName(NamedTuple):
    """What a caller calls an account, and the one organization whose accounts it reaches (None: all)."""

    reference: str
    org: str | None


@dataclass(slots=True, eq=False)
class _Waiting:
    """
    One event on its way. `woken` is set when it was written, failed with others, or is to lead the next group.

    With `name` its account is looked up by whoever leads.
    """

    event: NewUsageEvent
    name: AccountName | None
    at: datetime
    actor: Actor
    woken: threading.Event = field(default_factory=threading.Event)
    recorded: RecordedUsage | None = None
    leads: bool = False


class GroupCommit:
    """Gathers the events of threads into groups. `most` is how many events a group takes."""

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._busy = False

    def record(self, *, event: NewUsageEvent, at: datetime, actor: Actor) -> RecordedUsage:
        """
        Record one event like `record_usage_events`, together with what other threads record at the moment.

        Inside a transaction it is recorded there, alone; so it is where the setting says so.
        :raises DomainError: as that function does.
        """
        if _is_alone():
            return _record_alone(event, at, actor)
        if not event.idempotency_key:
            # A group may have been committed though its commit failed: whoever records again then must not count twice.
            event = event._replace(idempotency_key=uuid.uuid4().hex)
        return self._join(event, None, at, actor) or _record_alone(event, at, actor)

    def record_named(
        self, *, name: AccountName, event: NewUsageEvent, at: datetime, actor: Actor
    ) -> RecordedUsage | None:
        """
        Record one event, which has a key, of the account that `name` means; the event's own does not count.

        Returns None when nothing was recorded, because there is no such account or for any other reason: to find out
        which, resolve the account and call `record`.
        """
        if not _is_alone():
            return self._join(event, name, at, actor)
        alone = _Waiting(event, name, at, actor)
        _record_together([alone])
        return alone.recorded

    def _join(self, event: NewUsageEvent, name: AccountName | None, at: datetime, actor: Actor) -> RecordedUsage | None:
        """Return what came of an event in its group, None if the group could not write it."""
        mine = _Waiting(event, name, at, actor)
        with self._lock:
            self._queue.append(mine)
            mine.leads = not self._busy
            self._busy = True
        if not mine.leads:
            mine.woken.wait()
        if mine.leads:
            self._lead()
        return mine.recorded

    def _lead(self) -> None:
        """Write one group, wake its members, and hand over to whoever came meanwhile."""
        with self._lock:
            group = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
        try:
            if len(group) == 1 and group[0].name is None:  # the leader's own
                group[0].recorded = _record_alone(group[0].event, group[0].at, group[0].actor)
            else:
                _record_together(group)
        finally:
            with self._lock:
                following = self._queue[0] if self._queue else None
                self._busy = following is not None
            if following is not None:
                following.leads = True
                following.woken.set()
            for waiting in group:
                waiting.woken.set()


def _is_alone() -> bool:
    """Tell whether the caller's events are written at once, where it stands."""
    return connection.in_atomic_block or not settings.BILLING_USAGE_GROUP_COMMIT


def _record_together(group: list[_Waiting]) -> None:
    """Record those of a group whose account there is, or none: they are left without an answer."""
    try:
        named = _resolve(group)
        if not named:
            return
        recorded = record_usage_events(
            events=[event for _, event in named],
            at=max(waiting.at for waiting, _ in named),
            actor=named[0][0].actor,
        )
    except Exception:  # each member meets its own error when it records alone
        return
    for (waiting, _), result in zip(named, recorded, strict=True):
        waiting.recorded = result


def _resolve(group: list[_Waiting]) -> list[tuple[_Waiting, NewUsageEvent]]:
    """Return the members whose account there is, with their events."""
    book = load_named_accounts({waiting.name.reference for waiting in group if waiting.name is not None})
    found = []
    for waiting in group:
        event = waiting.event
        if waiting.name is not None:
            account = book.get(waiting.name.reference)
            if account is None or waiting.name.org not in (None, account.org_id):
                continue
            event = event._replace(account=account)
        found.append((waiting, event))
    return found


def _record_alone(event: NewUsageEvent, at: datetime, actor: Actor) -> RecordedUsage:
    [recorded] = record_usage_events(events=[event], at=at, actor=actor)
    return recorded


TOGETHER: Final = GroupCommit()
"""The groups of this process."""
