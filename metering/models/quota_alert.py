"""What was told about quotas: once per quota, level and bucket."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import F, Q

from accounts.models import Account
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import append_only_triggers
from catalog.models import Meter, QuotaWindow


class AlertLevel(models.TextChoices):
    WARNING = "warning"
    CRITICAL = "critical"
    EXCEEDED = "exceeded"


ALERT_LEVELS: Final = tuple(AlertLevel.values)
"""From the lowest to the highest."""


class QuotaAlert(Identified):
    """
    That a quota reached a level in a bucket of its window. The unique constraint is what makes it be told once.

    `quota_id` is the key of an account's quota or of a plan's, as `source` says; both may be gone. `used` and `limit`
    are in `unit`, as they were then.
    """

    id_prefix = "qal"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    source = models.CharField(max_length=7, choices=[("account", "account"), ("plan", "plan")])
    quota_id = models.UUIDField()
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    feature = models.CharField(max_length=100, blank=True)
    window = models.CharField(max_length=14, choices=QuotaWindow)
    bucket_start = models.DateTimeField()
    bucket_end = models.DateTimeField()
    level = models.CharField(max_length=8, choices=AlertLevel)
    used = models.DecimalField(max_digits=60, decimal_places=12)
    limit = models.DecimalField(max_digits=38, decimal_places=12)
    percent = models.BigIntegerField()
    unit = models.CharField(max_length=50)
    is_hard = models.BooleanField()
    upgrade_plan_key = models.CharField(max_length=100, blank=True)
    recipients = models.JSONField(default=list, blank=True)
    fired_at = models.DateTimeField()

    class Meta:
        db_table = "quota_alerts"
        ordering = ["-id"]
        constraints = [
            # Also the look-up of what a bucket was told already.
            models.UniqueConstraint(
                fields=["account", "quota_id", "window", "bucket_start", "level"], name="quota_alerts_once"
            ),
            models.CheckConstraint(condition=Q(level__in=ALERT_LEVELS), name="quota_alerts_level_known"),
            models.CheckConstraint(condition=Q(bucket_end__gt=F("bucket_start")), name="quota_alerts_bucket"),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="quota_alerts_newest")]  # the account's in the admin
        triggers = append_only_triggers("quota_alerts")

    def __str__(self) -> str:
        return f"{self.level} at {self.percent} %"
