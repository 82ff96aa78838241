"""Asking for long work, calling it off, and what it leaves: files are handed out for some days, then dropped."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts.models import Account
from billing_site.kernel import jobs
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, NotFound
from billing_site.platform.services import events
from invoicing.models import BillingJob, BillingJobChunk, JobStatus

PURGE_BATCH = 100


class JobFinished(DomainError):
    code, title, status = "job_finished", "The job is over", 409


class JobFileGone(DomainError):
    code, title, status = "job_file_gone", "The job has no file", 410


@dataclass(frozen=True, slots=True)
class NewJob:
    """
    What is asked for. An empty `org_id` is all organizations, where the kind can do that.

    `parameters` are plain values that the kind reads (`producing`); `catalog` a document, for a what-if.
    """

    kind: str
    file_format: str
    org_id: str = ""
    account: Account | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    catalog: dict[str, Any] | None = None
    reason: str = ""


@transaction.atomic
def start_job(*, new: NewJob, at: datetime, actor: Actor) -> BillingJob:
    """Write down what is asked for, send a worker, and return the job."""
    job = BillingJob.objects.create(
        kind=new.kind,
        file_format=new.file_format,
        org_id=new.org_id,
        account=new.account,
        parameters=new.parameters,
        catalog=new.catalog,
        requested_by=str(actor),
        reason=new.reason.strip()[:500],
        requested_at=at,
    )
    emit_job_event("billing_job.started", job, at=at, actor=actor)
    dispatch_job(job)
    return job


@transaction.atomic
def cancel_job(*, job_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> BillingJob:
    """
    Stop a job, and return it. Its worker notices at the next piece of work and leaves nothing.

    :raises NotFound: if there is none. :raises JobFinished: if it is over.
    """
    job = BillingJob.objects.select_for_update().filter(pk=job_id).first()
    if job is None:
        raise NotFound("billing_job")
    end_job(job, JobStatus.CANCELED, at=at, actor=actor, reason=reason)
    return job


def end_job(
    job: BillingJob, status: str, *, at: datetime, actor: Actor, code: str = "", detail: str = "", reason: str = ""
) -> None:
    """
    Write how a locked job ended.

    :raises JobFinished: if it cannot end so.
    """
    if not job.can_become(status):
        raise JobFinished(f"The job has {job.status} already." if job.is_finished else f"The job is {job.status}.")
    job.status, job.finished_at = status, at
    job.error_code, job.error_detail = code, detail
    job.save()
    emit_job_event(f"billing_job.{status}", job, at=at, actor=actor, reason=reason)


@transaction.atomic
def open_job_file(*, job_id: uuid.UUID, at: datetime, actor: Actor) -> tuple[BillingJob, Iterator[bytes]]:
    """
    Return a job and its file in pieces, one query each, and note who took it.

    :raises NotFound: if there is no such job. :raises JobFileGone: if it made no file, or the file was dropped.
    """
    job = BillingJob.objects.filter(pk=job_id).first()
    if job is None:
        raise NotFound("billing_job")
    if not job.has_file:
        dropped = job.file_dropped_at is not None and job.status == JobStatus.SUCCEEDED
        raise JobFileGone("Its file was dropped; start it again." if dropped else "The job made no file.")
    emit_job_event("billing_job.downloaded", job, at=at, actor=actor)
    return job, _read_pieces(job.pk)


def _read_pieces(job_id: uuid.UUID) -> Iterator[bytes]:
    number = 0
    while True:
        found = BillingJobChunk.objects.filter(job_id=job_id, number=number)
        content = found.values_list("content", flat=True).first()
        if content is None:
            return
        yield bytes(content)
        number += 1


def purge_job_files(*, at: datetime) -> int:
    """
    Drop the files and documents of jobs that ended more than `BILLING_JOB_FILE_DAYS` ago; answers how many.

    What was asked and what came of it stays.
    """
    limit = at - timedelta(days=settings.BILLING_JOB_FILE_DAYS)
    dropped = 0
    while True:
        old = BillingJob.objects.filter(finished_at__lte=limit, file_dropped_at__isnull=True)
        ids = list(old.order_by("id").values_list("pk", flat=True)[:PURGE_BATCH])
        if not ids:
            return dropped
        with transaction.atomic():
            BillingJobChunk.objects.filter(job__in=ids).delete()
            dropped += BillingJob.objects.filter(pk__in=ids).update(file_dropped_at=at, catalog=None)


def dispatch_job(job: BillingJob) -> None:
    """Ring for a worker."""
    jobs.enqueue("invoicing.work_billing_job", job_id=str(job.pk))


def describe_job(job: BillingJob) -> dict[str, Any]:
    """Return what events say of a job."""
    return {
        "id": job.public_id,
        "kind": job.kind,
        "status": job.status,
        "org_id": job.org_id,
        "parameters": job.parameters,
        "format": job.file_format,
        "file_name": job.file_name,
        "file_hash": job.file_hash,
        "error": job.error_detail,
    }


def emit_job_event(type: str, job: BillingJob, *, at: datetime, actor: Actor, reason: str = "") -> None:
    """Append an event about a job to the chain of its account, else to the platform's."""
    events.emit(
        type,
        subject=job,
        account_id=job.account_id,
        at=at,
        actor=actor,
        data=describe_job(job),
        reason=reason or job.reason,
    )
