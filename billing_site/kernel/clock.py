"""
The clock, which is I/O: interfaces read it and pass `at` down; nothing below an interface reads the time.

An account on a test clock lives at that clock's time. `travel` moves the whole process, for rehearsals and tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Protocol

_travelled: ContextVar[datetime | None] = ContextVar("travelled", default=None)


class Clocked(Protocol):
    """Something with a time of its own, such as an account on a test clock."""

    @property
    def clock_time(self) -> datetime | None:
        """The frozen instant of its test clock, or None when it lives in real time."""
        ...


def now(owner: Clocked | None = None) -> datetime:
    """Return the present instant, aware UTC, as `owner` sees it."""
    if owner is not None and (frozen := owner.clock_time) is not None:
        return frozen
    return _travelled.get() or datetime.now(UTC)


@contextmanager
def travel(at: datetime) -> Iterator[None]:
    """
    Make `now()` answer `at` inside the block, in this thread or task only.

    :raises ValueError: if `at` is not aware.
    """
    if at.tzinfo is None:
        raise ValueError("the clock needs an aware instant")
    token = _travelled.set(at.astimezone(UTC))
    try:
        yield
    finally:
        _travelled.reset(token)
