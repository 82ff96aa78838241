"""The state table of usage imports."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final
from unittest import mock

from django.db import OperationalError

from metering.models import UsageImport
from metering.models.usage_import import USAGE_IMPORT_TRANSITIONS
from metering.services.usage_imports import NewUsageImport, cancel_import, start_import, work_import, working
from tests.support import world
from tests.support.states import StateTable

_MIDDLE: Final = world.NOVEMBER + timedelta(days=14)
_BY: Final[dict[str, Any]] = {"at": _MIDDLE, "actor": world.TESTER}


def _arrange_usage_import(state: str, to: str) -> UsageImport:
    """A file of two lines, the second of which is wrong where the import is to fail."""
    ends = to if state in ("pending", "running") else state
    world.publish()
    second = "x" if ends == "failed" else "2"
    usage_import = start_import(
        new=NewUsageImport("usage.csv", account=world.open_account()),
        content=[f"service,quantity\ninput_tokens,1\ninput_tokens,{second}\n".encode()],
        **_BY,
    )
    if state != "pending":
        USAGE_IMPORTS.moves[state](usage_import)
    return usage_import


def _work_usage_import(row: UsageImport) -> object:
    return work_import(import_id=row.pk, now=lambda: _MIDDLE, actor=world.TESTER)


def _begin_usage_import(row: UsageImport) -> object:
    """Check the first line; then the database goes away."""
    times = [_MIDDLE]

    def now() -> datetime:
        if not times:
            raise OperationalError
        return times.pop()

    with mock.patch.object(working, "BATCH", 1), suppress(OperationalError):
        work_import(import_id=row.pk, now=now, actor=world.TESTER)
    return row


def _hold_usage_import(before: str, after: str) -> str:
    unfinished = ("pending", "running")
    if before == after:
        return ""
    if "failed" in (before, after):
        return "usage_imports_failed_has_error"
    if (before in unfinished) != (after in unfinished):
        return "usage_imports_finished_has_time"
    # Called off before it began.
    never_begun = (before, after) in (("pending", "running"), ("canceled", "succeeded"))
    return "usage_imports_started_has_time" if never_begun else ""


_IMPORTED: Final = ("succeeded", "failed", "canceled")
USAGE_IMPORTS: Final = StateTable(
    model=UsageImport,
    transitions=USAGE_IMPORT_TRANSITIONS,
    arrange=_arrange_usage_import,
    moves={
        "running": _begin_usage_import,
        **dict.fromkeys(("succeeded", "failed"), _work_usage_import),
        "canceled": lambda row: cancel_import(import_id=row.pk, **_BY),
    },
    # A worker that is sent to an import that is over does nothing.
    quiet=frozenset((before, to) for before in _IMPORTED for to in ("running", "succeeded", "failed"))
    | {("running", "running")},
    through={("pending", "succeeded"): "running", ("pending", "failed"): "running"},
    held=_hold_usage_import,
    allows=UsageImport.can_become,
)
