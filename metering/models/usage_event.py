"""Usage events: what happened, when, how much. Read and written only through `metering.stores`."""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from accounts.models import Account, CostCenter
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import append_only_triggers
from catalog.models import Meter


class UsageEvent(Identified):
    """
    One event. A key counts once per account and meter: the unique constraint is claimed in the insert.

    `value` is in the meter's unit, up to 12 decimals. What was `charged` to the prepaid balance when it happened is
    never billed. Events are never changed; old ones leave with their storage.
    """

    id_prefix = "evu"

    # Accounts and meters are never deleted, and ingest has just read both. A constraint would lock the account's row
    # at every commit, so that usage would wait for billing, and cost a quarter of the insert.
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False)
    idempotency_key = models.CharField(max_length=255)
    value = models.DecimalField(max_digits=38, decimal_places=12)
    timestamp = models.DateTimeField()
    recorded_at = models.DateTimeField()
    resource_id = models.CharField(max_length=255, blank=True)
    resource_type = models.CharField(max_length=100, blank=True)
    actor_id = models.CharField(max_length=255, blank=True)
    dimensions = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    charged = models.BooleanField(default=False, db_default=False)
    # Checking it row by row would slow down all events, those without a center too. Ingest holds the centers it names
    # until the events are stored, and removing one waits for that and then finds them.
    cost_center = models.ForeignKey(
        CostCenter,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )

    class Meta:
        db_table = "usage_events"
        ordering = ["-timestamp", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "meter", "idempotency_key"], name="usage_events_key_once"),
            models.CheckConstraint(condition=Q(value__gte=0), name="usage_events_value_not_negative"),
            models.CheckConstraint(condition=~Q(idempotency_key=""), name="usage_events_key_given"),
        ]
        indexes = [
            # Quantity of one meter in a period, whole or by cost center, from the index alone: summary, billing run.
            models.Index(
                fields=["account", "meter", "timestamp"],
                include=["value", "recorded_at", "charged", "cost_center"],
                name="usage_events_period",
            ),
            # Raw list of an account, newest first.
            models.Index(fields=["account", "-timestamp", "-id"], name="usage_events_newest"),
            # Raw list of one cost center, newest first; whether a center that is to be removed was ever named.
            models.Index(
                fields=["cost_center", "-timestamp", "-id"],
                condition=Q(cost_center__isnull=False),
                name="usage_events_of_center",
            ),
            # One meter over all accounts in a period; days of the admin list. Tiny: events arrive in order of time.
            BrinIndex(fields=["timestamp"], name="usage_events_days", autosummarize=True),
        ]
        triggers = append_only_triggers("usage_events")

    def __str__(self) -> str:
        return self.idempotency_key
