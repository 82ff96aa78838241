"""Billing events: what happened, by whom and why; append-only and hash chained per account."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import append_only_triggers

PLATFORM_CHAIN = "platform"
"""The chain of events that belong to no account."""


class EventChain(models.Model):
    """The end of one hash chain. Its row is locked while an event is appended."""

    key = models.CharField(max_length=40, primary_key=True)
    last_sequence = models.BigIntegerField(default=0)
    last_hash = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        db_table = "event_chains"

    def __str__(self) -> str:
        return self.key


class Event(Identified):
    """One thing that happened. `created_at` is the business instant, `recorded_at` when it was written."""

    id_prefix: ClassVar[str] = "evt"

    chain = models.CharField(max_length=40)
    sequence = models.BigIntegerField()
    type = models.CharField(max_length=100)
    object_type = models.CharField(max_length=60)
    object_id = models.CharField(max_length=100)
    account_id = models.UUIDField(null=True)
    actor_type = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=255)
    reason = models.TextField(blank=True)
    data = models.JSONField(default=dict)
    previous_data = models.JSONField(null=True)
    livemode = models.BooleanField()
    created_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        db_table = "billing_events"
        constraints = [models.UniqueConstraint(fields=["chain", "sequence"], name="billing_events_chain_sequence")]
        indexes = [
            models.Index(
                fields=["account_id", "-id"], name="billing_events_account"
            ),  # events of an account, newest first
            models.Index(fields=["object_id", "-id"], name="billing_events_object"),  # history of one object
            models.Index(fields=["type", "-id"], name="billing_events_type"),  # one kind of event over all accounts
        ]
        triggers = append_only_triggers("billing_events")

    def __str__(self) -> str:
        return f"{self.type} {self.object_id}"
