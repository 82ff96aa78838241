"""Which keys were counted: what makes an event count once, whatever time a repeat of it claims to be from."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class UsageKeyGeneration(models.Model):
    """
    A stretch of counted keys with a partition of its own. The open one is written to, closed ones only read.

    Small open partitions stay in memory while keys, which are random, are added; closed ones are merged into larger
    ones by `metering.stores.keys`. Without any row, generation 1 is the open one. See ADR 0030.
    """

    number = models.IntegerField(primary_key=True)
    is_open = models.BooleanField()
    keys = models.BigIntegerField(default=0)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "usage_key_generations"
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_open"], condition=Q(is_open=True), name="usage_key_generations_one_open"
            ),
            models.CheckConstraint(
                condition=Q(is_open=True, closed_at__isnull=True) | Q(is_open=False, closed_at__isnull=False),
                name="usage_key_generations_closed_at",
            ),
        ]

    def __str__(self) -> str:
        return f"generation {self.number}"


class UsageKey(models.Model):
    """
    One counted key. `id` is the event's id, which account, meter and key make; `timestamp` tells where the event lies.

    Partitioned by generation. Within the open one the primary key makes an event count once.
    """

    pk = models.CompositePrimaryKey("id", "generation")
    id = models.UUIDField()
    generation = models.IntegerField()
    timestamp = models.DateTimeField()
    recorded_on = models.DateField()

    class Meta:
        db_table = "usage_keys"

    def __str__(self) -> str:
        return str(self.id)
