"""Imports of usage files: the file in pieces, how far it was read, and what was wrong with it."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import F, Q

from accounts.models import Account
from billing_site.platform.models.base import Identified, Timestamped


class UsageImportStatus(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class UsageImportPhase(models.TextChoices):
    CHECK = "check", "checking"
    WRITE = "write", "writing"


class UsageFileFormat(models.TextChoices):
    CSV = "csv", "CSV"
    JSON_LINES = "jsonl", "JSON lines"


USAGE_IMPORT_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    UsageImportStatus.PENDING: frozenset({UsageImportStatus.RUNNING, UsageImportStatus.CANCELED}),
    UsageImportStatus.RUNNING: frozenset(
        {UsageImportStatus.SUCCEEDED, UsageImportStatus.FAILED, UsageImportStatus.CANCELED}
    ),
    UsageImportStatus.SUCCEEDED: frozenset(),
    UsageImportStatus.FAILED: frozenset(),
    UsageImportStatus.CANCELED: frozenset(),
}
UNFINISHED_IMPORTS: Final = ("pending", "running")


class UsageImport(Identified, Timestamped):
    """
    One file of usage events: checked whole, then written in batches. `lines_done` counts the rows of the present phase.

    `account` is what rows without an account of their own are for. `org_id` limits the accounts that rows may name;
    empty, all are open. `check_only` stops after the check. Only the first errors are kept: `error_count` says how many
    rows were wrong.
    """

    id_prefix = "uim"

    org_id = models.CharField(max_length=100, blank=True)
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    file_name = models.CharField(max_length=255)
    file_format = models.CharField(max_length=5, choices=UsageFileFormat)
    file_hash = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    check_only = models.BooleanField(default=False)
    status = models.CharField(max_length=10, choices=UsageImportStatus, default=UsageImportStatus.PENDING)
    phase = models.CharField(max_length=5, choices=UsageImportPhase, default=UsageImportPhase.CHECK)
    lines_total = models.PositiveIntegerField(null=True, blank=True)
    lines_done = models.PositiveIntegerField(default=0)
    created_count = models.PositiveIntegerField(default=0)
    duplicate_count = models.PositiveIntegerField(default=0)
    error_count = models.PositiveIntegerField(default=0)
    error_code = models.CharField(max_length=50, blank=True)
    error_detail = models.TextField(blank=True)
    requested_by = models.CharField(max_length=255)
    reason = models.CharField(max_length=500, blank=True)
    requested_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "usage_imports"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=UNFINISHED_IMPORTS, finished_at__isnull=True)
                | (~Q(status__in=UNFINISHED_IMPORTS) & Q(finished_at__isnull=False)),
                name="usage_imports_finished_has_time",
            ),
            models.CheckConstraint(
                condition=Q(status__in=("pending", "canceled")) | Q(started_at__isnull=False),
                name="usage_imports_started_has_time",
            ),
            models.CheckConstraint(
                condition=(Q(status="failed") & ~Q(error_code="")) | (~Q(status="failed") & Q(error_code="")),
                name="usage_imports_failed_has_error",
            ),
            # What was written is what came to be counted, now or before.
            models.CheckConstraint(
                condition=Q(phase="check", created_count=0, duplicate_count=0)
                | Q(phase="write", lines_done=F("created_count") + F("duplicate_count")),
                name="usage_imports_lines_are_counted",
            ),
        ]
        indexes = [
            # What the sweep has to look at.
            models.Index(fields=["id"], condition=Q(status__in=UNFINISHED_IMPORTS), name="usage_imports_open"),
            # Whether this file was imported before.
            models.Index(fields=["file_hash", "-id"], name="usage_imports_file"),
        ]

    def __str__(self) -> str:
        return self.file_name

    @property
    def is_finished(self) -> bool:
        """Whether it is over, however it ended."""
        return self.status not in UNFINISHED_IMPORTS

    def can_become(self, status: str) -> bool:
        """Tell whether `status` may follow the present one."""
        return status in USAGE_IMPORT_TRANSITIONS[self.status]


class UsageImportChunk(models.Model):
    """A piece of a file, in order. Leaves when the import ends."""

    usage_import = models.ForeignKey(UsageImport, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        db_table = "usage_import_chunks"
        ordering = ["usage_import", "number"]
        constraints = [
            models.UniqueConstraint(fields=["usage_import", "number"], name="usage_import_chunks_once"),
        ]

    def __str__(self) -> str:
        return f"{self.usage_import_id} {self.number}"


class UsageImportError(Identified):
    """One thing that is wrong with one line. `column` is empty where the line as a whole is meant."""

    id_prefix = "uie"

    usage_import = models.ForeignKey(UsageImport, on_delete=models.CASCADE, related_name="errors", db_index=False)
    line = models.PositiveIntegerField()
    column = models.CharField(max_length=100, blank=True)
    code = models.CharField(max_length=50)
    detail = models.CharField(max_length=300)

    class Meta:
        db_table = "usage_import_errors"
        ordering = ["id"]
        indexes = [models.Index(fields=["usage_import", "id"], name="usage_import_errors_of_import")]

    def __str__(self) -> str:
        return f"line {self.line}: {self.code}"
