"""
Jobs by name, handed to the broker after commit.

The broker is a doorbell: each job only says "look at row X". A job that cannot be sent is logged and left to the
sweep that finds due rows, so a broker that is down never fails a request or loses work.
"""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

logger = logging.getLogger(__name__)


def enqueue(name: str, **arguments: Any) -> None:
    """
    Send job `name` with `arguments` (ids and plain values) once the current transaction commits.

    Outside a transaction it is sent at once.
    """
    transaction.on_commit(lambda: _send(name, arguments), robust=True)


def _send(name: str, arguments: dict[str, Any]) -> None:
    try:
        import_string(settings.JOBS_SENDER)(name, arguments)
    except Exception as error:  # any broker failure: the sweep will find the row
        logger.warning("job %s not sent, left to the sweep: %s", name, type(error).__name__)
