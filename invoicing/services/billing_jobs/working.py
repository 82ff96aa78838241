"""
The work on a job: read batch by batch into a file beside the process, stored whole in the end.

The job's row is written between batches, outside of the read-only transactions of what is computed. A worker that dies
leaves a row that was silent for too long; the next one begins anew, three times at most. Source: ADR 0050.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import BinaryIO, Final

from django.db import InterfaceError, OperationalError, transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from invoicing.models import BillingJob, BillingJobChunk, JobStatus
from invoicing.queries.billing_jobs import SILENCE
from invoicing.services.billing_jobs.producing import make_work
from invoicing.services.billing_jobs.sheets import name_extension, write_sheets
from invoicing.services.billing_jobs.starting import end_job

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 3
CHUNK_BYTES: Final = 1024 * 1024


class _Lost(Exception):
    """The job is no longer this worker's: it was called off, or another one took it over."""


def work_job(*, job_id: uuid.UUID, now: Callable[[], datetime], actor: Actor) -> BillingJob:
    """
    Do a job, unless it is over or another worker is at it, and return it.

    :raises OperationalError, InterfaceError: when the database fails; a later worker begins anew.
    """
    job = _claim(job_id, now(), actor)
    if job is not None:
        try:
            _do(job, now, actor)
        except _Lost:
            logger.info("job %s was called off or taken over", job.public_id)
        except (OperationalError, InterfaceError):
            raise
        except DomainError as error:
            _fail(job, error.code, error.detail, now(), actor)
        except Exception as error:
            logger.exception("job %s failed unexpectedly", job.public_id)
            detail = f"Unexpected failure ({type(error).__name__}); the log has the details."
            _fail(job, "internal_error", detail, now(), actor)
    return BillingJob.objects.get(pk=job_id)


@transaction.atomic
def _claim(job_id: uuid.UUID, at: datetime, actor: Actor) -> BillingJob | None:
    """Return the job for this worker alone; None when there is nothing to do, or it was begun too often."""
    job = _lock(job_id)
    if job is None or (job.heartbeat_at is not None and job.heartbeat_at > at - SILENCE):
        return None
    if job.attempt >= ATTEMPTS:
        detail = f"Its worker stopped {ATTEMPTS} times without a word; the log of the workers may say why."
        end_job(job, JobStatus.FAILED, at=at, actor=actor, code="worker_lost", detail=detail)
        return None
    job.status, job.attempt = JobStatus.RUNNING, job.attempt + 1
    job.started_at, job.heartbeat_at = job.started_at or at, at
    job.done, job.total = 0, None
    job.save()
    return job


def _lock(job_id: uuid.UUID) -> BillingJob | None:
    rows = BillingJob.objects.select_for_update(skip_locked=True, of=("self",)).select_related("account__test_clock")
    return rows.filter(pk=job_id, status__in=(JobStatus.PENDING, JobStatus.RUNNING)).first()


def _do(job: BillingJob, now: Callable[[], datetime], actor: Actor) -> None:
    mine = BillingJob.objects.filter(pk=job.pk, status=JobStatus.RUNNING, attempt=job.attempt)

    def tell(done: int, total: int | None) -> None:
        """Write how far it is. Only what is still this worker's can be written."""
        if not mine.update(done=done, total=total, heartbeat_at=now()):
            raise _Lost
        job.done, job.total = done, total

    work = make_work(job, tell)
    with tempfile.TemporaryFile() as file:
        write_sheets(file, work.sheets, job.file_format)
        tell(job.done, job.total)
        extension = name_extension(job.file_format, sheets=len(work.sheets))
        name = f"{work.file_name}.{extension}"
        _finish(job, file, name=name, summary=work.summarize(), at=now(), actor=actor)


@transaction.atomic
def _finish(
    job: BillingJob, file: BinaryIO, *, name: str, summary: dict[str, object], at: datetime, actor: Actor
) -> None:
    """Store the file and how it ended, both or nothing."""
    found = BillingJob.objects.select_for_update().get(pk=job.pk)
    if found.status != JobStatus.RUNNING or found.attempt != job.attempt:
        raise _Lost
    file.seek(0)
    digest, number = hashlib.sha256(), 0
    while content := file.read(CHUNK_BYTES):
        digest.update(content)
        BillingJobChunk.objects.create(job=found, number=number, content=content)
        number += 1
    found.file_name, found.file_hash, found.file_size = name, digest.hexdigest(), file.tell()
    found.summary = summary
    found.total = found.done
    end_job(found, JobStatus.SUCCEEDED, at=at, actor=actor)


@transaction.atomic
def _fail(job: BillingJob, code: str, detail: str, at: datetime, actor: Actor) -> None:
    found = BillingJob.objects.select_for_update().get(pk=job.pk)
    if found.status == JobStatus.RUNNING and found.attempt == job.attempt:
        end_job(found, JobStatus.FAILED, at=at, actor=actor, code=code, detail=detail)
