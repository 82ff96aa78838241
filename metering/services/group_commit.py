"""
Single events that arrive at the same moment share a transaction, and are acknowledged when it is committed.

A commit waits for the disk, whatever it holds. The first caller writes its event; those that come meanwhile wait, and
the next of them writes what has gathered, all in one transaction. Nobody waits for others to come: a lone event is
written at once. Threads of one process share; what could not be written together is written by each on its own, so that
nobody gets another's error. Source: ADR 0030.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import connection

from billing_site.kernel.actors import Actor
from metering.services.ingest import NewUsageEvent, RecordedUsage, record_usage_events

_MOST: Final = 500


@dataclass(slots=True, eq=False)
class _Waiting:
    """One event on its way. `woken` is set when it was written, failed with others, or is to lead the next group."""

    event: NewUsageEvent
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
        if connection.in_atomic_block or not settings.BILLING_USAGE_GROUP_COMMIT:
            return _record_alone(event, at, actor)
        if not event.idempotency_key:
            # A group may have been committed though its commit failed: whoever records again then must not count twice.
            event = event._replace(idempotency_key=uuid.uuid4().hex)
        mine = _Waiting(event, at, actor)
        with self._lock:
            self._queue.append(mine)
            mine.leads = not self._busy
            self._busy = True
        if not mine.leads:
            mine.woken.wait()
        if mine.leads:
            self._lead()
        return mine.recorded or _record_alone(event, at, actor)

    def _lead(self) -> None:
        """Write one group, wake its members, and hand over to whoever came meanwhile."""
        with self._lock:
            group = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
        try:
            if len(group) == 1:  # the leader's own
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


def _record_together(group: list[_Waiting]) -> None:
    """Record a group, or none of it: then its members are left without an answer and do it on their own."""
    try:
        recorded = record_usage_events(
            events=[waiting.event for waiting in group],
            at=max(waiting.at for waiting in group),
            actor=group[0].actor,
        )
    except Exception:  # each member meets its own error when it records alone
        return
    for waiting, result in zip(group, recorded, strict=True):
        waiting.recorded = result


def _record_alone(event: NewUsageEvent, at: datetime, actor: Actor) -> RecordedUsage:
    [recorded] = record_usage_events(events=[event], at=at, actor=actor)
    return recorded


TOGETHER: Final = GroupCommit()
"""The groups of this process."""
