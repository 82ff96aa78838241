"""Whether this process can take traffic: database, migrations, broker. Answers within the deadline, whatever hangs."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection, connections, transaction
from django.db.migrations.executor import MigrationExecutor

DEADLINE_SECONDS: Final = 1.5
_CONNECT_SECONDS: Final = 1.0
_STATEMENT_MILLISECONDS: Final = 1_000

OK: Final = "ok"
_running: dict[str, Future[str]] = {}
_running_lock = threading.Lock()
_migrations_clean = threading.Event()


def check_readiness() -> dict[str, str]:
    """
    Return each check with `ok` or what is wrong, within about two seconds.

    Checks run in threads of their own. One that hangs is reported as such and not started again until it ends, so
    repeated questions cannot pile up connections.
    """
    futures = {name: _start(name, check) for name, check in _CHECKS.items()}
    wait(futures.values(), timeout=DEADLINE_SECONDS)
    return {name: future.result() if future.done() else "no answer in time" for name, future in futures.items()}


def forget_clean_migrations() -> None:
    """Look at the migrations again next time; without this they are trusted once they were complete."""
    _migrations_clean.clear()


def _start(name: str, check: Callable[[], str]) -> Future[str]:
    with _running_lock:
        previous = _running.get(name)
        if previous is not None and not previous.done():
            return previous
        future: Future[str] = Future()
        _running[name] = future
    threading.Thread(target=_run, args=(check, future), name=f"readiness-{name}", daemon=True).start()
    return future


def _run(check: Callable[[], str], future: Future[str]) -> None:
    try:
        future.set_result(check())
    except Exception as error:  # any failure means not ready; its text may hold addresses, its type does not
        future.set_result(type(error).__name__)


def _check_database() -> str:
    """Ask the database something, and whether its tables are those of this code."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(_STATEMENT_MILLISECONDS)])
            cursor.execute("SELECT 1")
        if not _migrations_clean.is_set():
            executor = MigrationExecutor(connection)
            pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
            if pending:
                return f"{len(pending)} migrations pending"
            _migrations_clean.set()
        return OK
    finally:
        connections.close_all()  # this thread's connection, which nobody would use again


def _check_broker() -> str:
    url = settings.CELERY_BROKER_URL
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss", "unix"):
        import redis  # a third of a second, and not every installation uses it

        with redis.Redis.from_url(
            url, socket_connect_timeout=_CONNECT_SECONDS, socket_timeout=_CONNECT_SECONDS, retry=None
        ) as client:
            client.ping()
    elif parts.scheme == "filesystem":
        folder = Path(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_out"])
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            return "the broker folder is not writable"
    elif parts.hostname:
        with socket.create_connection((parts.hostname, parts.port or 5672), timeout=_CONNECT_SECONDS):
            pass
    return OK


_CHECKS: Final[dict[str, Callable[[], str]]] = {"database": _check_database, "broker": _check_broker}
