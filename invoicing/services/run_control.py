"""
Steering a billing run: pause, resume, cancel, and retry what failed.

Workers look at the run's state before each chunk, so that a chunk is billed as a whole or not at all: what is under way
when somebody pauses or cancels is finished first. The run is locked before its rows.
Source: contract chapter Renewal and cycle; ADR 0043.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.platform.models.bulk import update_rows
from billing_site.platform.services import events
from invoicing.models import BillingRun, OutcomeStatus, RunOutcome, RunStatus
from invoicing.models.run import UNFINISHED_RUNS
from invoicing.services.runs import CycleInProgress, count_outcomes, dispatch_run


@transaction.atomic
def pause_run(*, run_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> BillingRun:
    """
    Let no further chunk of a run begin; it keeps its organization until it is resumed or canceled.

    :raises NotFound: if there is none. :raises InvalidState: if it is not running.
    """
    run = _lock_run(run_id)
    _require(run, RunStatus.PAUSED, "Only a run that is running can be paused.")
    return _move(run, RunStatus.PAUSED, "billing_run.paused", at=at, actor=actor, reason=reason)


@transaction.atomic
def resume_run(*, run_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> BillingRun:
    """
    Let a paused run go on where it was, and send workers.

    :raises NotFound: if there is none. :raises InvalidState: if it is not paused.
    """
    run = _lock_run(run_id)
    if run.status != RunStatus.PAUSED:
        raise InvalidState("Only a paused run can be resumed.", current_status=run.status)
    run = _move(run, RunStatus.RUNNING, "billing_run.resumed", at=at, actor=actor, reason=reason, working_since=Now())
    dispatch_run(run)
    return run


@transaction.atomic
def cancel_run(*, run_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> BillingRun:
    """
    End a run before it is through: what was billed stays, what was not is left to the next run and reported so.

    Waits for the chunks under way.
    :raises NotFound: if there is none. :raises InvalidState: if it is finished.
    """
    run = _lock_run(run_id)
    _require(run, RunStatus.CANCELED, "The run is finished.")
    left = RunOutcome.objects.filter(run=run, status=OutcomeStatus.PENDING)
    left.update(status=OutcomeStatus.CANCELED, finished_at=Now())
    return _move(run, RunStatus.CANCELED, "billing_run.canceled", at=at, actor=actor, reason=reason, finished_at=Now())


@transaction.atomic
def retry_failed(*, run_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> BillingRun:
    """
    Put the failed rows of a finished run back to pending, open it again and send workers.

    :raises NotFound: if there is none. :raises InvalidState: if the run is not finished, was canceled, or nothing in it
        failed. :raises CycleInProgress: if another run of the organization is not finished.
    """
    run = _lock_run(run_id)
    if run.status in UNFINISHED_RUNS:
        raise InvalidState("The run is not finished yet.", current_status=run.status)
    _require(run, RunStatus.RUNNING, "The run was canceled; the next one takes what it left.")
    failed = RunOutcome.objects.filter(run=run, status=OutcomeStatus.FAILED)
    _lead_again(failed)
    count = failed.update(status=OutcomeStatus.PENDING, error_code="", error_detail="", finished_at=None)
    if not count:
        raise InvalidState("Nothing in this run failed.", current_status=run.status)
    try:
        with transaction.atomic():
            BillingRun.objects.filter(pk=run.pk).update(
                status=RunStatus.RUNNING, finished_at=None, working_since=Now(), updated_at=Now()
            )
    except IntegrityError as error:
        raise CycleInProgress from error
    run.refresh_from_db()
    _tell(run, "billing_run.retried", {"subscriptions": count}, at=at, actor=actor, reason=reason)
    dispatch_run(run)
    return run


def _lead_again(failed: QuerySet[RunOutcome]) -> None:
    """Let the first of those that failed together lead; one that failed alone is billed alone."""
    groups: dict[uuid.UUID, list[RunOutcome]] = defaultdict(list)
    for row in failed.filter(leader__isnull=False).order_by("id"):
        if row.leader is not None:
            groups[row.leader].append(row)
    for rows in groups.values():
        for row in rows:
            row.leader = rows[0].pk if len(rows) > 1 else None
    update_rows([row for rows in groups.values() for row in rows], {"leader": "uuid"})


def _lock_run(run_id: uuid.UUID) -> BillingRun:
    """Lock a run, but not for the invoices of chunks under way, which point to it."""
    run = BillingRun.objects.select_for_update(no_key=True).filter(pk=run_id).first()
    if run is None:
        raise NotFound("billing run")
    return run


def _require(run: BillingRun, status: RunStatus, refusal: str) -> None:
    if not run.can_become(status):
        raise InvalidState(refusal, current_status=run.status)


def _move(
    run: BillingRun, status: RunStatus, event: str, *, at: datetime, actor: Actor, reason: str, **columns: Any
) -> BillingRun:
    before = {"status": run.status}
    BillingRun.objects.filter(pk=run.pk).update(status=status, updated_at=Now(), **columns)
    run.refresh_from_db()
    _tell(run, event, count_outcomes(run), at=at, actor=actor, reason=reason, previous=before)
    return run


def _tell(
    run: BillingRun,
    event: str,
    data: dict[str, Any],
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: dict[str, Any] | None = None,
) -> None:
    events.emit(
        event,
        subject=run,
        account_id=run.account_id,
        at=at,
        actor=actor,
        data={"id": run.public_id, "org_id": run.org_id, "status": run.status, **data},
        previous=previous,
        reason=reason,
    )
