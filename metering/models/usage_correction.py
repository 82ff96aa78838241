"""Corrections of usage events: which event was voided, by whom and why, and what took its place."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Account
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import append_only_triggers
from catalog.models import Meter


class UsageCorrection(Identified):
    """
    One correction. `event_id` is the event that does not count any more, `void_id` the row that takes it back, and
    `replacement_id` the event that counts instead, if there is one.

    An event is corrected once: the unique constraint is claimed in the transaction that stores the rows. `value` is
    what the event said, `replacement_value` what is said instead. Usage events have no foreign keys to them: they lie
    in partitions, and leave with them.
    """

    id_prefix = "ucr"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    event_id = models.UUIDField()
    timestamp = models.DateTimeField()
    void_id = models.UUIDField()
    replacement_id = models.UUIDField(null=True, blank=True)
    value = models.DecimalField(max_digits=38, decimal_places=12)
    replacement_value = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    reason = models.TextField()
    actor = models.CharField(max_length=300)
    corrected_at = models.DateTimeField()

    class Meta:
        db_table = "usage_corrections"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "event_id"], name="usage_corrections_event_once"),
            models.CheckConstraint(condition=~Q(reason=""), name="usage_corrections_reason_given"),
            models.CheckConstraint(
                condition=Q(replacement_id__isnull=True, replacement_value__isnull=True)
                | Q(replacement_id__isnull=False, replacement_value__isnull=False),
                name="usage_corrections_replacement_whole",
            ),
        ]
        indexes = [
            # The inspector, from the row that took an event back or its place.
            models.Index(fields=["account", "void_id"], name="usage_corrections_void"),
            models.Index(
                fields=["account", "replacement_id"],
                condition=Q(replacement_id__isnull=False),
                name="usage_corrections_replacement",
            ),
            # What was corrected after an invoice was made.
            models.Index(fields=["account", "meter", "timestamp"], name="usage_corrections_when"),
        ]
        triggers = append_only_triggers("usage_corrections")

    def __str__(self) -> str:
        return self.public_id
