"""The address a charged call came from: personal, so it is kept apart from the books and only for a while."""

from __future__ import annotations

from django.db import models

from billing_site.platform.models.base import Identified


class ChargeClient(Identified):
    """Where the call behind a charged event came from, until the nightly purge. `event_id` is the event's key."""

    id_prefix = "chc"

    event_id = models.UUIDField(unique=True)
    client_ip = models.CharField(max_length=100)
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "charge_clients"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~models.Q(client_ip=""), name="charge_clients_address_given"),
        ]
        indexes = [models.Index(fields=["recorded_at"], name="charge_clients_old")]  # the nightly purge

    def __str__(self) -> str:
        return str(self.event_id)
