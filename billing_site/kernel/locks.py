"""
Locks that are not rows: PostgreSQL advisory locks held to the end of the transaction.

Row locks are taken in this order everywhere: account, subscription, ledger account, grant, invoice, counter, event
chain. Source: behaviours.md 1 (Locks).
"""

from __future__ import annotations

import hashlib

from django.db import connection


def lock_key(*parts: str) -> int:
    """Return the signed 64-bit advisory key of a name."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def acquire_lock(*parts: str) -> None:
    """Wait for the named lock; it is released at the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key(*parts)])


def try_lock(*parts: str) -> bool:
    """Take the named lock for the rest of the transaction, or answer False at once when another holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock_key(*parts)])
        row = cursor.fetchone()
        return bool(row and row[0])


def share_lock(*parts: str) -> None:
    """Hold the named lock together with others who share it; who takes it alone waits for all of them to end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock_key(*parts)])


def wait_for_sharers(*parts: str, seconds: int = 5) -> None:
    """
    Wait until every transaction that shares the named lock now has ended, and hold it alone to the end of this one.

    :raises OperationalError: when that takes longer than `seconds`; whoever wants to share it waits meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{seconds}s"])
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key(*parts)])
        cursor.execute("SELECT set_config('lock_timeout', '0', true)")
