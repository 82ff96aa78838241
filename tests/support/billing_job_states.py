"""The state table of jobs."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from unittest import mock

from django.db import OperationalError

from invoicing.models import BillingJob
from invoicing.models.billing_job import BILLING_JOB_TRANSITIONS
from invoicing.queries.billing_jobs import SILENCE
from invoicing.services.billing_jobs import NewJob, cancel_job, start_job, work_job, working
from tests.support import world
from tests.support.states import StateTable

_MIDDLE: Final = world.NOVEMBER + timedelta(days=14)
_BY: Final[dict[str, Any]] = {"at": _MIDDLE, "actor": world.TESTER}


def _arrange_job(state: str, to: str) -> BillingJob:
    """A report, one that does not exist where the job is to fail."""
    ends = to if state in ("pending", "running") else state
    name = "no-such-report" if ends == "failed" else "aging"
    job = start_job(new=NewJob("report", "csv", parameters={"report": name}), **_BY)
    if state != "pending":
        JOBS.moves[state](job)
    return job


def _work_job(row: BillingJob) -> object:
    """Come when a worker before this one would be given up."""
    return work_job(job_id=row.pk, now=lambda: _MIDDLE + SILENCE, actor=world.TESTER)


def begin_job(row: BillingJob) -> object:
    """Claim it; then the database goes away."""
    with mock.patch.object(working, "make_work", side_effect=OperationalError), suppress(OperationalError):
        work_job(job_id=row.pk, now=lambda: _MIDDLE, actor=world.TESTER)
    return row


def _hold_job(before: str, after: str) -> str:
    unfinished = ("pending", "running")
    if before == after:
        return ""
    if "failed" in (before, after):
        return "billing_jobs_failed_has_error"
    if (before in unfinished) != (after in unfinished):
        return "billing_jobs_finished_has_time"
    # Called off before it began, and what was never begun.
    never_begun = (before, after) != ("succeeded", "canceled")
    return "billing_jobs_started_has_time" if never_begun else "billing_jobs_succeeded_has_file"


_OVER: Final = ("succeeded", "failed", "canceled")
JOBS: Final = StateTable(
    model=BillingJob,
    transitions=BILLING_JOB_TRANSITIONS,
    arrange=_arrange_job,
    moves={
        "running": begin_job,
        **dict.fromkeys(("succeeded", "failed"), _work_job),
        "canceled": lambda row: cancel_job(job_id=row.pk, **_BY),
    },
    # A worker that is sent to a job that is over, or that another one holds, does nothing.
    quiet=frozenset((before, to) for before in _OVER for to in ("running", "succeeded", "failed"))
    | {("running", "running")},
    through={("pending", "succeeded"): "running", ("pending", "failed"): "running"},
    held=_hold_job,
    allows=BillingJob.can_become,
)
