"""Holds: prepaid money set aside until it is captured, let go, or its time is over."""

from __future__ import annotations

from typing import Final

import pgtrigger
from django.db import models
from django.db.models import F, Q

from accounts.models.account import Account
from accounts.models.ledger import LedgerEntry
from accounts.models.ledger_triggers import hold_triggers
from billing_site.kernel.ids import encode_id
from billing_site.platform.models.base import Identified


class HoldStatus(models.TextChoices):
    PENDING = "pending"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"


# What may follow what; an end is final.
HOLD_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    HoldStatus.PENDING: frozenset({HoldStatus.CAPTURED, HoldStatus.VOIDED, HoldStatus.EXPIRED}),
    HoldStatus.CAPTURED: frozenset(),
    HoldStatus.VOIDED: frozenset(),
    HoldStatus.EXPIRED: frozenset(),
}


class Hold(Identified):
    """
    Money of a prepaid balance that only its capture may spend, until `expires_at`.

    `amount` and `captured_amount` are minor units of `currency`. `removal_id` names the end of the hold in lists of
    movements; like every key it is ordered by time.
    """

    id_prefix = "hold"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=255, unique=True)
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField()
    captured_amount = models.BigIntegerField(default=0)
    status = models.CharField(max_length=8, choices=HoldStatus, default=HoldStatus.PENDING)
    description = models.TextField(blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    livemode = models.BooleanField(default=False)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    removal_id = models.UUIDField(null=True, blank=True)
    entry = models.OneToOneField(LedgerEntry, null=True, blank=True, on_delete=models.PROTECT, related_name="hold")

    class Meta:
        db_table = "holds"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="holds_amount_positive"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="holds_end_after_start"),
            models.CheckConstraint(
                condition=Q(status="captured", captured_amount__gt=0, captured_amount__lte=F("amount"))
                | (~Q(status="captured") & Q(captured_amount=0)),
                name="holds_captured_within_amount",
            ),
            models.CheckConstraint(
                condition=Q(status="captured", entry__isnull=False) | (~Q(status="captured") & Q(entry__isnull=True)),
                name="holds_captured_has_entry",
            ),
            models.CheckConstraint(
                condition=Q(status="pending", ended_at__isnull=True, removal_id__isnull=True)
                | (~Q(status="pending") & Q(ended_at__isnull=False, removal_id__isnull=False)),
                name="holds_ended_has_time",
            ),
        ]
        indexes = [
            # What is held of a balance, and the sweep of an account.
            models.Index(fields=["account", "currency"], condition=Q(status="pending"), name="holds_pending"),
            models.Index(fields=["expires_at"], condition=Q(status="pending"), name="holds_due"),  # the sweep
            models.Index(fields=["account", "-id"], name="holds_of_account"),  # transaction list
        ]
        triggers: list[pgtrigger.Trigger] = hold_triggers()

    def __str__(self) -> str:
        return f"{self.status} hold of {self.amount} {self.currency}"

    @property
    def removal_public_id(self) -> str:
        """The id of the end of the hold as callers see it; empty while it is pending."""
        return "" if self.removal_id is None else encode_id("holdend", self.removal_id)

    def may_become(self, status: str) -> bool:
        """Tell whether the table above allows the step."""
        return status in HOLD_TRANSITIONS[self.status]
