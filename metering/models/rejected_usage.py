"""Refused usage requests: kept for a while, so that a sender can be told what was wrong with usage that is missing."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q

from accounts.models import Account
from billing_site.platform.models.base import Identified


class RejectedUsageRequest(Identified):
    """
    One request that recorded nothing, with its reasons.

    `findings` and `excerpt` are bounded; `finding_count` says how many there were. `codes` holds the request's own code
    and those of all kept findings. `account` is null where the request did not name one account that exists.
    """

    id_prefix = "rju"

    rejected_at = models.DateTimeField()
    door = models.CharField(max_length=50)
    # As for events: accounts are never deleted, and a refusal must not wait for a bill.
    account = models.ForeignKey(
        Account,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    account_reference = models.CharField(max_length=255, blank=True)
    org_id = models.CharField(max_length=100, blank=True)
    caller = models.CharField(max_length=300)
    request_id = models.CharField(max_length=100)
    http_status = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=50)
    codes = ArrayField(models.CharField(max_length=50))
    detail = models.CharField(max_length=500, blank=True)
    event_count = models.PositiveIntegerField(null=True, blank=True)
    finding_count = models.PositiveIntegerField(default=0)
    findings = models.JSONField(default=list, blank=True)
    excerpt = models.JSONField(default=list, blank=True)

    class Meta:
        db_table = "rejected_usage_requests"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(code=""), name="rejected_usage_requests_code_given"),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="rejected_usage_of_account"),  # the list of one account
            models.Index(fields=["rejected_at"], name="rejected_usage_time"),  # the list of a time, the nightly purge
            GinIndex(fields=["codes"], name="rejected_usage_codes"),  # the list of one reason
        ]

    def __str__(self) -> str:
        return f"{self.door}: {self.code}"


class RejectedUsageCount(models.Model):
    """How many requests of a caller were refused in a minute, and how many of them were kept."""

    caller = models.CharField(max_length=300)
    minute = models.DateTimeField()
    refused = models.PositiveIntegerField()
    kept = models.PositiveIntegerField()

    class Meta:
        db_table = "rejected_usage_counts"
        constraints = [
            models.UniqueConstraint(fields=["caller", "minute"], name="rejected_usage_counts_once"),
            models.CheckConstraint(condition=Q(kept__lte=F("refused")), name="rejected_usage_counts_kept_of_refused"),
        ]
        indexes = [models.Index(fields=["minute"], name="rejected_usage_counts_old")]  # the nightly purge

    def __str__(self) -> str:
        return f"{self.caller} {self.minute:%Y-%m-%d %H:%M}: {self.kept} of {self.refused}"
