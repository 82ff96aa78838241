"""
Accounts whose usage has just changed: their alerts are looked at soon after the commit.

A batch costs an addition to a set. The accounts of a process go out together, at most one job a second, and an account
at most once in five seconds; what is held back goes with a later one. What nobody follows up is left to the sweeps of
every five minutes, so that nothing here needs a row, a lock in the database or a second try.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final
from uuid import UUID

from django.db import transaction

from billing_site.kernel import jobs

EVALUATE: Final = "metering.evaluate_alerts"
BETWEEN_JOBS: Final = 1_000_000_000  # nanoseconds
BETWEEN_LOOKS: Final = 5 * BETWEEN_JOBS
JOB_SIZE: Final = 500
# More accounts than this are not held back: the sweep finds them.
MOST_WAITING: Final = 20_000


class TouchedAccounts:
    """
    The accounts, or whatever else has a key, that this process will have looked at.

    `now` and `between_looks` count nanoseconds; `now` is no date.
    """

    def __init__(self, *, now: Callable[[], int] = time.monotonic_ns, between_looks: int = BETWEEN_LOOKS) -> None:
        self._now, self._between_looks = now, between_looks
        self._lock = Lock()
        self._waiting: set[UUID] = set()
        self._next_look: dict[UUID, int] = {}
        self._next_job = 0

    def add(self, account_ids: Iterable[UUID]) -> list[UUID]:
        """Note accounts and return those that a job should look at now; mostly none."""
        with self._lock:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.update(account_ids)
            now = self._now()
            if now < self._next_job:
                return []
            if len(self._next_look) > JOB_SIZE:
                self._forget(now)
            ready = [key for key in self._waiting if self._next_look.get(key, now) <= now][:JOB_SIZE]
            if ready:
                self._next_job = now + BETWEEN_JOBS
                self._next_look.update(dict.fromkeys(ready, now + self._between_looks))
                self._waiting.difference_update(ready)
            return ready

    def clear(self) -> None:
        """Forget everything, for tests."""
        with self._lock:
            self._waiting.clear()
            self._next_look.clear()
            self._next_job = 0

    def _forget(self, now: int) -> None:
        """Drop what no longer holds anybody back; at most `JOB_SIZE` come in a second, so the rest stays bounded."""
        self._next_look = {key: at for key, at in self._next_look.items() if at > now}


_touched: Final = TouchedAccounts()


def touch_accounts(account_ids: Iterable[UUID]) -> None:
    """
    Have the alerts of accounts looked at once the current transaction has committed.

    For whoever writes usage, in the transaction that writes it. It costs no query and, at most once a second and
    process, one job; rolled back, it never happened.
    """
    keys = frozenset(account_ids)
    if keys:
        transaction.on_commit(lambda: _send(keys), robust=True)


def _send(account_ids: frozenset[UUID]) -> None:
    if ready := _touched.add(account_ids):
        jobs.enqueue(EVALUATE, account_ids=[str(key) for key in ready])


def forget_touched() -> None:
    """Begin anew, as a process that has just started."""
    _touched.clear()
