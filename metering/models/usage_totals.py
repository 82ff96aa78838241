"""
Totals of usage, kept in the transaction that stores the events. Written and read only through `metering.stores`.

Parallel writers of one bucket would wait for each other until they commit, so each bucket has several rows, its shards,
and a writer adds to one of them: a total is the sum of its shards. `manage.py prove_usage` compares totals with events.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.db import models

NO_CENTER: Final = UUID(int=0)
"""Stands in a roll-up for usage that names no cost center."""


class UsageRollup(models.Model):
    """
    What an account used of a meter in a UTC hour or day, by dimensions and cost center.

    `dimensions` are those that the meter declares, null where an event does not name one; `dimension_set` is their
    hash. `events` counts voided events down again. `highest` means something for meters that take the maximum.
    """

    pk = models.CompositePrimaryKey(
        "account_id", "meter_id", "span", "starts_at", "dimension_set", "cost_center_id", "charged", "shard"
    )
    account_id = models.UUIDField()
    meter_id = models.UUIDField()
    span = models.CharField(max_length=4)
    starts_at = models.DateTimeField()
    dimension_set = models.UUIDField()
    cost_center_id = models.UUIDField()
    charged = models.BooleanField()
    shard = models.SmallIntegerField()
    dimensions = models.JSONField()
    total = models.DecimalField(max_digits=60, decimal_places=12)
    events = models.BigIntegerField()
    highest = models.DecimalField(max_digits=38, decimal_places=12)
    last_event_at = models.DateTimeField()
    last_recorded_at = models.DateTimeField()

    class Meta:
        db_table = "usage_rollups"

    def __str__(self) -> str:
        return f"{self.span} {self.starts_at:%Y-%m-%d %H:%M}"


class UsageCounter(models.Model):
    """
    What an account used of a meter in a UTC minute, hour, day, week, month, or ever (`total`, from 1970): for quotas
    and for whole quantities. Minutes are counted only while they are news.
    """

    pk = models.CompositePrimaryKey("account_id", "meter_id", "span", "starts_at", "shard")
    account_id = models.UUIDField()
    meter_id = models.UUIDField()
    span = models.CharField(max_length=6)
    starts_at = models.DateTimeField()
    shard = models.SmallIntegerField()
    total = models.DecimalField(max_digits=60, decimal_places=12)
    events = models.BigIntegerField()
    charged_total = models.DecimalField(max_digits=60, decimal_places=12)
    charged_events = models.BigIntegerField()
    highest = models.DecimalField(max_digits=38, decimal_places=12)
    last_event_at = models.DateTimeField()
    last_recorded_at = models.DateTimeField()

    class Meta:
        db_table = "usage_counters"
        indexes = [
            # A meter over all accounts; accounts that were active in an hour; old minutes to clear away.
            models.Index(fields=["span", "starts_at", "meter_id"], name="usage_counters_when"),
        ]

    def __str__(self) -> str:
        return f"{self.span} {self.starts_at:%Y-%m-%d %H:%M}"


class UsageMember(models.Model):
    """Somebody, or something, that was active in a UTC day, for meters that count distinct ones."""

    pk = models.CompositePrimaryKey("account_id", "meter_id", "day", "member")
    account_id = models.UUIDField()
    meter_id = models.UUIDField()
    day = models.DateField()
    member = models.CharField(max_length=255)

    class Meta:
        db_table = "usage_members"

    def __str__(self) -> str:
        return self.member
