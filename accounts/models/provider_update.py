"""What payment providers told of subscriptions, each event once."""

from __future__ import annotations

from django.db import models

from accounts.models.account import Account
from accounts.models.subscription import Subscription
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import append_only_triggers


class ProviderUpdate(Identified):
    """
    One event of a provider, and what became of it. `status` is the provider's word; `reason` says why nothing changed.
    """

    id_prefix = "pup"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    subscription = models.ForeignKey(
        Subscription, null=True, blank=True, on_delete=models.PROTECT, related_name="provider_updates"
    )
    provider = models.CharField(max_length=50)
    event_id = models.CharField(max_length=255)
    status = models.CharField(max_length=50)
    payload = models.JSONField(default=dict)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    applied = models.BooleanField()
    reason = models.CharField(max_length=255, blank=True)

    class Meta:
        db_table = "provider_updates"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "event_id"], name="provider_updates_event_once"),
            models.CheckConstraint(
                condition=models.Q(applied=True, reason="") | (models.Q(applied=False) & ~models.Q(reason="")),
                name="provider_updates_refusal_explained",
            ),
        ]
        triggers = append_only_triggers("provider_updates")

    def __str__(self) -> str:
        return f"{self.provider} {self.event_id}"
