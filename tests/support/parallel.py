"""Doing things at the same moment, each on a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection

from billing_site.kernel.errors import DomainError

PATIENCE = 120  # seconds


def race(*tasks: Callable[[], Any], connections: int = 20) -> list[Any]:
    """
    Run tasks on connections that start together; return the result of each in order, or the refusal it met.

    Anything but a refusal of the product, such as a deadlock, is raised. Use `transaction=True` tests only.
    """
    workers = min(connections, len(tasks))
    barrier = Barrier(workers)
    numbered = list(enumerate(tasks))

    def work(share: Sequence[tuple[int, Callable[[], Any]]]) -> list[tuple[int, Any]]:
        try:
            barrier.wait(timeout=PATIENCE)
            return [(number, _try(task)) for number, task in share]
        finally:
            connection.close()

    with ThreadPoolExecutor(workers) as pool:
        shares = [pool.submit(work, numbered[start::workers]) for start in range(workers)]
        ends = dict(end for share in shares for end in share.result(timeout=PATIENCE))
    return [ends[number] for number in range(len(tasks))]


def _try(task: Callable[[], Any]) -> Any:
    try:
        return task()
    except DomainError as refusal:
        return refusal
