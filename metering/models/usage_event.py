"""Usage events: what happened, when, how much. Read and written only through `metering.stores`."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Account, CostCenter
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import append_only_triggers
from catalog.models import Meter


class UsageEvent(Identified):
    """
    One event, or the correction of one. A key counts once per account and meter: `UsageKey` is claimed in the insert.

    `id` is made of account, meter and key, see `metering.stores.make_event_id`. `value` is in the meter's unit, up to
    12 decimals. What was `charged` to the prepaid balance when it happened is never billed. Events are never changed:
    voiding one adds a row that `corrects` it, with `weight` -1 and the negative value, at the same time. The table is
    partitioned by the UTC day of `timestamp`; old days leave with their partition.
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
    weight = models.SmallIntegerField(default=1, db_default=1)
    corrects = models.UUIDField(null=True, blank=True)
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
            models.CheckConstraint(
                condition=Q(value__gte=0, weight=1, corrects__isnull=True)
                | Q(value__lte=0, weight=-1, corrects__isnull=False),
                name="usage_events_value_not_negative",
            ),
            models.CheckConstraint(condition=~Q(idempotency_key=""), name="usage_events_key_given"),
        ]
        indexes = [
            # One meter of an account in order of time: edges of periods, prices per event, the newest value.
            models.Index(fields=["account", "meter", "timestamp", "id"], name="usage_events_period"),
            # Raw list of an account, newest first.
            models.Index(fields=["account", "-timestamp", "-id"], name="usage_events_newest"),
            # Raw list of one cost center, newest first; whether a center that is to be removed was ever named.
            models.Index(
                fields=["cost_center", "-timestamp", "-id"],
                condition=Q(cost_center__isnull=False),
                name="usage_events_of_center",
            ),
            # What was voided: few rows, so that sums over events can leave them out.
            models.Index(
                fields=["account", "meter", "timestamp", "corrects"],
                condition=Q(corrects__isnull=False),
                name="usage_events_corrections",
            ),
        ]
        triggers = append_only_triggers("usage_events")

    def __str__(self) -> str:
        return self.idempotency_key
