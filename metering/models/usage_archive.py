"""Days of usage whose events have left the database: what they held, so that totals can still be proved."""

from __future__ import annotations

from django.db import models


class ArchivedUsageDay(models.Model):
    """
    A UTC day whose events lie in a file instead of a partition. `checksum` is the SHA-256 over the rows of the file.

    `restored_at` is when the events were read back; they are in the database again since then.
    """

    day = models.DateField(primary_key=True)
    events = models.BigIntegerField()
    checksum = models.CharField(max_length=64)
    file = models.CharField(max_length=255)
    archived_at = models.DateTimeField()
    restored_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "archived_usage_days"
        ordering = ["day"]

    def __str__(self) -> str:
        return str(self.day)


class ArchivedUsageTotal(models.Model):
    """What the events of an archived day came to for a meter, over all accounts. `highest` leaves out voided events."""

    pk = models.CompositePrimaryKey("day", "meter_id")
    day = models.DateField()
    meter_id = models.UUIDField()
    rows = models.BigIntegerField()
    total = models.DecimalField(max_digits=60, decimal_places=12)
    events = models.BigIntegerField()
    charged_total = models.DecimalField(max_digits=60, decimal_places=12)
    charged_events = models.BigIntegerField()
    highest = models.DecimalField(max_digits=38, decimal_places=12)

    class Meta:
        db_table = "archived_usage_totals"

    def __str__(self) -> str:
        return f"{self.day} {self.meter_id}"
