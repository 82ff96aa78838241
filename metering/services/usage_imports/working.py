"""
The work on a usage import: batches of lines, each with its progress in one transaction.

A worker that dies loses the batch it was at and nothing else; the next one goes on behind the last that was committed.
Two workers never hold the same import. Source: ADR 0036.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from django.db import InterfaceError, OperationalError, transaction

from billing_client.usage_import.rows import FileInvalid, Row, scan_rows
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import ValidationFailed
from metering.models import UsageImport, UsageImportError, UsageImportPhase, UsageImportStatus
from metering.models.usage_import import UNFINISHED_IMPORTS
from metering.queries.meters import MeterNotFound
from metering.services.ingest import find_event_errors, record_usage_events
from metering.services.usage_imports.files import StoredUsageFile
from metering.services.usage_imports.lines import (
    MAX_DETAIL,
    LineError,
    convert_rows,
    describe_findings,
    describe_invalid,
)
from metering.services.usage_imports.starting import end_import

logger = logging.getLogger(__name__)

BATCH: Final = 1_000
MAX_ERRORS: Final = 1_000
INVALID: Final = "lines_invalid"


class _Reader:
    """The rows of one import in order, kept open between batches."""

    def __init__(self) -> None:
        self._rows: Iterator[Row | FileInvalid] = iter(())
        self._place: tuple[str, int] | None = None

    def take(self, usage_import: UsageImport, count: int) -> list[Row | FileInvalid]:
        """Return up to `count` rows behind those that are done. :raises FileInvalid: where nothing more can be read."""
        place = (usage_import.phase, usage_import.lines_done)
        if place != self._place:
            self._rows = scan_rows(StoredUsageFile(usage_import))
            for _ in islice(self._rows, usage_import.lines_done):
                pass
        self._place = None
        rows = list(islice(self._rows, count))
        self._place = (usage_import.phase, usage_import.lines_done + len(rows))
        return rows


def work_import(*, import_id: uuid.UUID, now: Callable[[], datetime], actor: Actor) -> UsageImport:
    """
    Work on an import until it is over or somebody else holds it, and return it.

    `now` is read for each batch: events are recorded when they are written, not when the work began.
    :raises OperationalError, InterfaceError: when the database fails; the next worker goes on.
    """
    reader = _Reader()
    try:
        while _work_batch(import_id, reader, now(), actor):
            pass
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        logger.exception("usage import %s failed unexpectedly", import_id)
        _give_up(import_id, error, now(), actor)
    return UsageImport.objects.get(pk=import_id)


@transaction.atomic
def _work_batch(import_id: uuid.UUID, reader: _Reader, at: datetime, actor: Actor) -> bool:
    """Check or write the next lines; False when there is nothing to do for this worker."""
    found = _lock(import_id)
    if found is None:
        return False
    if found.status == UsageImportStatus.PENDING:
        found.status, found.started_at = UsageImportStatus.RUNNING, at
        found.save(update_fields=["status", "started_at", "updated_at"])
    if found.phase == UsageImportPhase.CHECK:
        _check(found, reader, at, actor)
    else:
        _write(found, reader, at, actor)
    return not found.is_finished


def _lock(import_id: uuid.UUID) -> UsageImport | None:
    """Return the unfinished import, locked; None when it is over or somebody else holds it."""
    rows = UsageImport.objects.select_for_update(skip_locked=True, of=("self",)).select_related("account__test_clock")
    return rows.filter(pk=import_id, status__in=UNFINISHED_IMPORTS).first()


def _check(usage_import: UsageImport, reader: _Reader, at: datetime, actor: Actor) -> None:
    try:
        rows = reader.take(usage_import, BATCH)
    except FileInvalid as error:
        _keep_errors(usage_import, [describe_invalid(error)])
        _end_invalid(usage_import, at, actor)
        return
    lines, errors = convert_rows(usage_import, rows)
    errors += describe_findings(lines, find_event_errors(events=[line.event for line in lines], at=at) if lines else [])
    _keep_errors(usage_import, errors)
    usage_import.lines_done += len(rows)
    if len(rows) == BATCH:
        usage_import.save()
        return
    usage_import.lines_total = usage_import.lines_done
    if not usage_import.lines_total:
        end_import(
            usage_import,
            UsageImportStatus.FAILED,
            at=at,
            actor=actor,
            code="file_empty",
            detail="There is no line of usage in the file.",
        )
    elif usage_import.error_count:
        _end_invalid(usage_import, at, actor)
    elif usage_import.check_only:
        end_import(usage_import, UsageImportStatus.SUCCEEDED, at=at, actor=actor)
    else:
        usage_import.phase, usage_import.lines_done = UsageImportPhase.WRITE, 0
        usage_import.save()


def _write(usage_import: UsageImport, reader: _Reader, at: datetime, actor: Actor) -> None:
    rows = reader.take(usage_import, BATCH)
    if not rows:
        raise RuntimeError("the file has fewer lines than when it was checked")
    lines, errors = convert_rows(usage_import, rows)
    if not errors:
        try:
            recorded = record_usage_events(events=[line.event for line in lines], at=at, actor=actor)
        except (ValidationFailed, MeterNotFound) as refusal:
            errors = describe_findings(lines, refusal.errors)
        else:
            created = sum(each.created for each in recorded)
            usage_import.created_count += created
            usage_import.duplicate_count += len(recorded) - created
            usage_import.lines_done += len(rows)
    if errors:
        # Right when it was checked: a meter, an account or a cost center has changed since.
        _keep_errors(usage_import, errors)
        _end_invalid(usage_import, at, actor)
    elif usage_import.lines_done == usage_import.lines_total:
        end_import(usage_import, UsageImportStatus.SUCCEEDED, at=at, actor=actor)
    else:
        usage_import.save()


def _keep_errors(usage_import: UsageImport, errors: Sequence[LineError]) -> None:
    """Count the lines that are wrong, and keep what is wrong with the first of them."""
    room = max(0, MAX_ERRORS - usage_import.error_count)
    kept = set(list(dict.fromkeys(error.line for error in errors))[:room])
    UsageImportError.objects.bulk_create(
        [
            UsageImportError(
                usage_import=usage_import,
                line=error.line,
                column=error.column[:100],
                code=error.code,
                detail=error.detail[:MAX_DETAIL],
            )
            for error in sorted(errors, key=lambda error: error.line)
            if error.line in kept
        ]
    )
    usage_import.error_count += len({error.line for error in errors})


def _end_invalid(usage_import: UsageImport, at: datetime, actor: Actor) -> None:
    count = usage_import.error_count
    wrong = "1 line is wrong" if count == 1 else f"{count:,} lines are wrong"
    written = usage_import.lines_done if usage_import.phase == UsageImportPhase.WRITE else 0
    rest = f"{written:,} lines were counted before." if written else "Nothing was counted."
    detail = f"{wrong}. {rest}"
    end_import(usage_import, UsageImportStatus.FAILED, at=at, actor=actor, code=INVALID, detail=detail)


@transaction.atomic
def _give_up(import_id: uuid.UUID, error: Exception, at: datetime, actor: Actor) -> None:
    found = _lock(import_id)
    if found is None:
        return
    if found.status == UsageImportStatus.PENDING:
        found.status, found.started_at = UsageImportStatus.RUNNING, at
    detail = f"Unexpected failure ({type(error).__name__}); the log has the details."
    end_import(found, UsageImportStatus.FAILED, at=at, actor=actor, code="internal_error", detail=detail)
