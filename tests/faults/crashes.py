"""
Stopping an action before any statement it sends to the database.

Statements are counted where psycopg sends them, so COPY and savepoints count like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import psycopg
from django.db import connection

from tests.support.processes import database_url

_SENDING = ("execute", "executemany", "copy")
_UNDOING = ("ROLLBACK", "RELEASE SAVEPOINT")
_WRITING = ("INSERT", "UPDATE", "DELETE", "COPY", "WITH")
_ALWAYS = 10  # the first and the last statements, where transactions begin and end


class Crash(BaseException):
    """The process is gone. No product code may catch it, as none can catch the loss of its machine."""


class Statements:
    """
    The statements sent since the block began; before number `stop_at` (from 1) `stop` is called.

    Releasing a savepoint does not count: what it releases is only safe with the transaction around it. A process that
    `is_gone` sends nothing any more but what Django undoes with.
    """

    def __init__(self, stop_at: int = 0, stop: Callable[[], None] | None = None, *, is_gone: bool = True) -> None:
        self.sent: list[str] = []
        self.has_stopped = False
        self._stop_at, self._stop, self._is_gone = stop_at, stop, is_gone

    def see(self, statement: object) -> None:
        text = statement.decode() if isinstance(statement, bytes) else str(statement)
        if text.startswith(_UNDOING):
            return
        if self.has_stopped and self._is_gone:
            raise Crash(f"a process that is gone wanted to send: {text}")
        self.sent.append(text)
        if len(self.sent) == self._stop_at and self._stop is not None and not self.has_stopped:
            self.has_stopped = True
            self._stop()

    def list_points(self) -> list[int]:
        """
        Return the numbers of the statements to stop before: all that follow a write, the first ten and the last ten.

        Between two reads nothing changes, so stopping there is stopping before the first of them.
        """
        count = len(self.sent)
        after_writes = {number + 1 for number, text in enumerate(self.sent, start=1) if text.startswith(_WRITING)}
        ends = {*range(1, _ALWAYS + 1), *range(count - _ALWAYS + 1, count + 1)}
        return sorted(number for number in after_writes | ends if 1 <= number <= count)


@contextmanager
def watched(statements: Statements) -> Iterator[Statements]:
    """Show every statement of Django's connection to `statements` before it is sent."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def send(cursor: Any, statement: Any, *arguments: Any, **options: Any) -> Any:
            if cursor.connection is connection.connection:
                statements.see(statement)
            return method(cursor, statement, *arguments, **options)

        return send

    with ExitStack() as patches:
        for name in _SENDING:
            patches.enter_context(mock.patch.object(psycopg.Cursor, name, wrap(getattr(psycopg.Cursor, name))))
        yield statements


def crash() -> None:
    raise Crash


def terminate_session() -> None:
    """End the session of Django's connection as an administrator would; the next statement finds that out."""
    session = connection.connection.info.backend_pid
    with psycopg.connect(database_url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [session])
        deadline = time.monotonic() + 10
        while other.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [session]).fetchone():
            assert time.monotonic() < deadline, "the session does not end"
            time.sleep(0.01)
