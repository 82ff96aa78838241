"""What is told to the payment provider where it bills usage: one row per quantity, sent once."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

from accounts.models import Account
from billing_site.platform.models.base import Identified
from catalog.models import Meter


class ExportStatus(models.TextChoices):
    PENDING = "pending"
    EXPORTED = "exported"
    FAILED = "failed"


# What failed is tried again by the schedule, which leads on to exported or back, or by a person: it is pending then.
EXPORT_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "pending": frozenset({"exported", "failed"}),
    "failed": frozenset({"pending", "failed", "exported"}),
    "exported": frozenset(),
}


class ExportSource(models.TextChoices):
    REQUEST = "request", "Asked for one by one"
    TOTAL = "total", "Total of an hour"


class UsageExport(Identified):
    """
    One quantity of a meter that the provider is told.

    `timestamp` is when the provider is told it was used, `hour` the UTC hour it counts in. `identifier` is what the
    provider knows the quantity by: repeats under the same one count once there, for a day. From `uncertain_since` on
    the provider may have counted it without our knowing. `next_attempt_at` is null when nobody tries it any more by
    itself. `request_key` ties it to the request that asked for it.
    """

    id_prefix = "uex"

    # As with usage events: counting usage must not wait for billing, which locks accounts' rows.
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False)
    source = models.CharField(max_length=7, choices=ExportSource)
    idempotency_key = models.CharField(max_length=255)
    identifier = models.CharField(max_length=100)
    event_type = models.CharField(max_length=100, blank=True)
    feature = models.CharField(max_length=100, blank=True)
    quantity = models.DecimalField(max_digits=38, decimal_places=12)
    timestamp = models.DateTimeField()
    hour = models.DateTimeField()
    status = models.CharField(max_length=8, choices=ExportStatus, default=ExportStatus.PENDING)
    provider = models.CharField(max_length=50)
    provider_event_id = models.CharField(max_length=255, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    uncertain_since = models.DateTimeField(null=True, blank=True)
    reason_code = models.CharField(max_length=50, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    requested_at = models.DateTimeField()
    exported_at = models.DateTimeField(null=True, blank=True)
    request_key = models.CharField(max_length=64, blank=True)
    request_hash = models.CharField(max_length=64, blank=True)
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "usage_exports"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "meter", "idempotency_key"], name="usage_exports_key_once"),
            models.UniqueConstraint(fields=["provider", "identifier"], name="usage_exports_identifier_once"),
            models.UniqueConstraint(
                fields=["request_key"], condition=~Q(request_key=""), name="usage_exports_request_once"
            ),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="usage_exports_quantity_positive"),
            models.CheckConstraint(
                condition=Q(status="exported", exported_at__isnull=False, next_attempt_at__isnull=True)
                | (~Q(status="exported") & Q(exported_at__isnull=True)),
                name="usage_exports_exported_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status="failed") | ~Q(reason_code=""), name="usage_exports_failed_has_reason"
            ),
            models.CheckConstraint(
                condition=~Q(status="pending") | Q(next_attempt_at__isnull=False), name="usage_exports_pending_is_due"
            ),
        ]
        indexes = [
            # What is to be sent, longest due first.
            models.Index(
                fields=["next_attempt_at", "id"],
                condition=Q(next_attempt_at__isnull=False),
                name="usage_exports_due",
            ),
            # What of an account's hours was sent already.
            models.Index(
                fields=["account", "meter", "hour"], include=["quantity", "source"], name="usage_exports_of_hour"
            ),
            # What waits for a person: the badge and the filter of the admin.
            models.Index(
                fields=["-id"],
                condition=Q(status="failed", next_attempt_at__isnull=True),
                name="usage_exports_given_up",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in EXPORT_TRANSITIONS[self.status]

    @property
    def is_exported(self) -> bool:
        return self.status == ExportStatus.EXPORTED

    @property
    def is_given_up(self) -> bool:
        """Tell whether only a person can have it tried again."""
        return self.status == ExportStatus.FAILED and self.next_attempt_at is None


class UsageExportSurplus(Identified):
    """
    What the provider was told of an hour beyond what was used, because usage was corrected after it was told.

    A provider takes no quantity back by itself; somebody settles it there. Gone when the hour's usage has caught up.
    """

    id_prefix = "uxs"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False)
    hour = models.DateTimeField()
    quantity = models.DecimalField(max_digits=38, decimal_places=12)
    noticed_at = models.DateTimeField()

    class Meta:
        db_table = "usage_export_surpluses"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "meter", "hour"], name="usage_export_surpluses_once"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="usage_export_surpluses_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.meter_id} {self.hour:%Y-%m-%d %H}:00Z"


class UsageExportCursor(models.Model):
    """
    How far the hours of an account were compared with what its provider was told.

    Hours before `compared_until` were compared at least once; the last two days of them are compared again each time,
    and all that a provider still takes once a day (`compared_all_at`), so that late usage is told too.
    """

    account = models.OneToOneField(
        Account, on_delete=models.PROTECT, primary_key=True, related_name="+", db_constraint=False
    )
    compared_until = models.DateTimeField(null=True, blank=True)
    compared_all_at = models.DateTimeField(null=True, blank=True)
    next_at = models.DateTimeField()

    class Meta:
        db_table = "usage_export_cursors"
        ordering = ["account_id"]
        indexes = [models.Index(fields=["next_at"], name="usage_export_cursors_due")]  # the planning job

    def __str__(self) -> str:
        return str(self.account_id)
