"""The inbox of payment providers' webhooks: every event once, kept as it came, and what became of it."""

from __future__ import annotations

from typing import Final

import pgtrigger
from django.db import models
from django.db.models import F, Q

from accounts.models import Account
from accounts.models.ledger_triggers import kept_triggers
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import StrictTrigger


class InboundEventStatus(models.TextChoices):
    PENDING = "pending"
    HANDLED = "handled"
    STORED = "stored"
    PARKED = "parked"


# What may follow what. Everything can be handled again: handlers read the object anew and their services repeat safely.
INBOUND_EVENT_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    InboundEventStatus.PENDING: frozenset(
        {InboundEventStatus.HANDLED, InboundEventStatus.STORED, InboundEventStatus.PARKED}
    ),
    InboundEventStatus.HANDLED: frozenset({InboundEventStatus.PENDING}),
    InboundEventStatus.STORED: frozenset({InboundEventStatus.PENDING}),
    InboundEventStatus.PARKED: frozenset({InboundEventStatus.PENDING}),
}
_ALLOWED: Final = " OR ".join(
    f"(OLD.status = '{before}' AND NEW.status IN ({', '.join(repr(str(each)) for each in sorted(after))}))"
    for before, after in INBOUND_EVENT_TRANSITIONS.items()
)
INBOUND_EVENT_TRIGGERS = [
    *kept_triggers(
        "inbound_events", "id", "provider", "event_id", "type", "object_id", "livemode", "occurred_at", "received_at"
    ),
    StrictTrigger(
        name="moves",
        when=pgtrigger.Before,
        operation=pgtrigger.UpdateOf("status", "body"),
        level=pgtrigger.Row,
        func=f"""
            IF NEW.status <> OLD.status AND NOT ({_ALLOWED}) THEN
                RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
                    MESSAGE = format('inbound event %s cannot go from %s to %s', OLD.event_id, OLD.status, NEW.status),
                    TABLE = 'inbound_events', CONSTRAINT = 'inbound_events_moves';
            END IF;
            IF NEW.body <> OLD.body AND NEW.body <> ''::bytea THEN
                RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
                    MESSAGE = 'the body of an inbound event is kept as it came',
                    TABLE = 'inbound_events', CONSTRAINT = 'inbound_events_body_kept';
            END IF;
            RETURN NEW;
        """,
    ),
]


class InboundEvent(Identified):
    """
    One event of a payment provider.

    `object_id` is the provider's name of what it is about; events of one object are handled one after the other, by
    `occurred_at` and then in the order they came. `body` is what was signed, byte for byte, empty once `purged_at`.
    `attempts` counts the claims since it was last made pending; `leased_until` is how long the present one lasts, and
    with `attempts` names it, so that a claim given up for lost cannot write its outcome. `replays` counts how often
    somebody had it handled again. `outcome` says in a sentence what was done or why not. `account` is known once it was
    handled.
    """

    id_prefix = "ie"

    provider = models.CharField(max_length=20)
    event_id = models.CharField(max_length=255)
    type = models.CharField(max_length=100)
    neutral_type = models.CharField(max_length=100)
    object_kind = models.CharField(max_length=60, blank=True)
    object_id = models.CharField(max_length=255, blank=True)
    account = models.ForeignKey(
        Account, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    livemode = models.BooleanField()
    api_version = models.CharField(max_length=40, blank=True)
    body = models.BinaryField()
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    status = models.CharField(max_length=7, choices=InboundEventStatus, default=InboundEventStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    replays = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    leased_until = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    handled_at = models.DateTimeField(null=True, blank=True)
    outcome = models.TextField(blank=True)
    purged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "inbound_events"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "event_id"], name="inbound_events_once"),
            models.CheckConstraint(
                condition=Q(status__in=("handled", "stored"), handled_at__isnull=False)
                | Q(status__in=("pending", "parked"), handled_at__isnull=True),
                name="inbound_events_handled_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=("handled", "stored")) | ~Q(outcome=""), name="inbound_events_end_has_outcome"
            ),
            models.CheckConstraint(
                condition=~Q(status="parked") | ~Q(last_error=""), name="inbound_events_parked_has_error"
            ),
            models.CheckConstraint(
                condition=Q(status="pending") | Q(leased_until__isnull=True, next_attempt_at__isnull=True),
                name="inbound_events_only_pending_waits",
            ),
            models.CheckConstraint(
                condition=Q(leased_until__isnull=True) | Q(attempts__gt=0), name="inbound_events_claim_is_counted"
            ),
            models.CheckConstraint(
                condition=Q(purged_at__isnull=True) | Q(body=b"", purged_at__gte=F("received_at")),
                name="inbound_events_purged_is_empty",
            ),
        ]
        indexes = [
            # The sweep: what is due, first come first.
            models.Index(fields=["id"], condition=Q(status="pending"), name="inbound_events_pending"),
            # What waits before an event of the same object.
            models.Index(
                fields=["provider", "object_id", "occurred_at", "id"],
                condition=Q(status="pending"),
                name="inbound_events_order",
            ),
            models.Index(fields=["object_id", "-id"], name="inbound_events_of_object"),
            models.Index(
                fields=["account", "-id"], condition=Q(account__isnull=False), name="inbound_events_of_account"
            ),
            models.Index(fields=["id"], condition=Q(status="parked"), name="inbound_events_parked"),
            # The purge of bodies.
            models.Index(fields=["received_at"], condition=Q(purged_at__isnull=True), name="inbound_events_bodies"),
        ]
        triggers = INBOUND_EVENT_TRIGGERS

    def __str__(self) -> str:
        return f"{self.provider} {self.type} {self.event_id}"

    def can_become(self, status: str) -> bool:
        """Tell whether the table above allows the step."""
        return status in INBOUND_EVENT_TRANSITIONS[self.status]
