"""Long work that somebody asks for: what is asked, how far it is, what came of it, and the file it made in pieces."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

from accounts.models import Account
from billing_site.platform.models.base import Identified, Timestamped


class JobKind(models.TextChoices):
    DRY_RUN = "dry_run", "dry run"
    WHAT_IF = "what_if", "what if"
    SHADOW = "shadow", "shadow re-run"
    ACCOUNT_EXPORT = "account_export", "account data"
    JOURNAL = "journal", "journal"
    REPORT = "report", "report"


class JobStatus(models.TextChoices):
    PENDING = "pending", "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class JobFormat(models.TextChoices):
    CSV = "csv", "CSV"
    XLSX = "xlsx", "XLSX"
    JSON = "json", "JSON"


BILLING_JOB_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    JobStatus.PENDING: frozenset({JobStatus.RUNNING, JobStatus.CANCELED}),
    JobStatus.RUNNING: frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED}),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELED: frozenset(),
}
UNFINISHED_JOBS: Final = ("pending", "running")


class BillingJob(Identified, Timestamped):
    """
    One piece of long work. It changes nothing that is billed: it reads, and leaves a summary and a file.

    `attempt` counts the workers that began it; only the newest may write. `heartbeat_at` is when that one was last
    heard of. `done` of `total` is in what the kind counts: subscriptions, invoices or rows; `total` is not always
    known. `catalog` is the document whose prices are asked about. File and document leave after some days.
    """

    id_prefix = "job"

    kind = models.CharField(max_length=20, choices=JobKind)
    org_id = models.CharField(max_length=100, blank=True)
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    parameters = models.JSONField(default=dict)
    catalog = models.JSONField(null=True, blank=True)
    file_format = models.CharField(max_length=4, choices=JobFormat)
    status = models.CharField(max_length=10, choices=JobStatus, default=JobStatus.PENDING)
    attempt = models.PositiveSmallIntegerField(default=0)
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(null=True, blank=True)
    summary = models.JSONField(default=dict)
    file_name = models.CharField(max_length=255, blank=True)
    file_hash = models.CharField(max_length=64, blank=True)
    file_size = models.PositiveBigIntegerField(default=0)
    error_code = models.CharField(max_length=50, blank=True)
    error_detail = models.TextField(blank=True)
    requested_by = models.CharField(max_length=255)
    reason = models.CharField(max_length=500, blank=True)
    requested_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    file_dropped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "billing_jobs"
        ordering = ["-id"]
        verbose_name = "job"
        permissions = [("start_billingjob", "Can start and call off long work, and take account data away")]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=UNFINISHED_JOBS, finished_at__isnull=True)
                | (~Q(status__in=UNFINISHED_JOBS) & Q(finished_at__isnull=False)),
                name="billing_jobs_finished_has_time",
            ),
            models.CheckConstraint(
                condition=Q(status="pending", started_at__isnull=True, heartbeat_at__isnull=True)
                | Q(status="canceled")
                | (~Q(status="pending") & Q(started_at__isnull=False, heartbeat_at__isnull=False)),
                name="billing_jobs_started_has_time",
            ),
            models.CheckConstraint(
                condition=(Q(status="failed") & ~Q(error_code="")) | (~Q(status="failed") & Q(error_code="")),
                name="billing_jobs_failed_has_error",
            ),
            models.CheckConstraint(
                condition=(Q(status="succeeded") & ~Q(file_hash="")) | (~Q(status="succeeded") & Q(file_hash="")),
                name="billing_jobs_succeeded_has_file",
            ),
        ]
        indexes = [
            # What the sweep has to look at.
            models.Index(fields=["id"], condition=Q(status__in=UNFINISHED_JOBS), name="billing_jobs_open"),
            # Whose file is to leave.
            models.Index(
                fields=["finished_at"],
                condition=Q(finished_at__isnull=False, file_dropped_at__isnull=True),
                name="billing_jobs_kept",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} …{self.public_id[-6:]}"

    @property
    def is_finished(self) -> bool:
        """Whether it is over, however it ended."""
        return self.status not in UNFINISHED_JOBS

    @property
    def has_file(self) -> bool:
        """Whether the file can be had."""
        return self.status == JobStatus.SUCCEEDED and self.file_dropped_at is None

    def can_become(self, status: str) -> bool:
        """Tell whether `status` may follow the present one."""
        return status in BILLING_JOB_TRANSITIONS[self.status]


class BillingJobChunk(models.Model):
    """A piece of the file, in order."""

    job = models.ForeignKey(BillingJob, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        db_table = "billing_job_chunks"
        ordering = ["job", "number"]
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="billing_job_chunks_once")]

    def __str__(self) -> str:
        return f"{self.job_id} {self.number}"
