"""Comparing what we have with what a payment provider has: runs, and the differences they found."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

from accounts.models import Account
from billing_site.platform.models.base import Identified, Timestamped


class DriftKind(models.TextChoices):
    MISSING_HERE = "missing_here", "the provider has it, we do not"
    MISSING_THERE = "missing_there", "we have it, the provider does not"
    AMOUNT = "amount", "amounts differ"
    STATUS = "status", "states differ"
    REFUNDED = "refunded", "refunded amounts differ"
    UNKNOWN_CUSTOMER = "unknown_customer", "customer of no account"


class DriftStatus(models.TextChoices):
    OPEN = "open"
    REPAIRED = "repaired"
    ACCEPTED = "accepted"


# A difference that is gone, however that came, is repaired; one that was accepted is told again only when it changes.
DRIFT_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "open": frozenset({"repaired", "accepted"}),
    "repaired": frozenset({"open"}),
    "accepted": frozenset({"open", "repaired"}),
}


class ReconciliationRun(Identified, Timestamped):
    """
    One comparison with one provider over [since, until). `position` is the kind of object that comes next.

    It goes on there after a failure; `error` is why it stopped last. Empty `position`: everything was compared.
    """

    id_prefix = "rec"

    provider_type = models.CharField(max_length=20)
    since = models.DateTimeField()
    until = models.DateTimeField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    position = models.CharField(max_length=12, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    compared = models.PositiveIntegerField(default=0)
    found = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "reconciliation_runs"
        ordering = ["-id"]
        permissions = [("start_reconciliation", "Can compare with a provider")]
        constraints = [
            models.UniqueConstraint(
                fields=["provider_type"],
                condition=Q(finished_at__isnull=True),
                name="reconciliation_runs_one_at_a_time",
            ),
            models.CheckConstraint(condition=Q(since__lt=models.F("until")), name="reconciliation_runs_window"),
        ]

    def __str__(self) -> str:
        return f"comparison with {self.provider_type} up to {self.until:%d %b %Y %H:%M}"


class Drift(Identified, Timestamped):
    """
    One difference between us and a provider, told once however many nights see it.

    `ours` and `theirs` are both sides as they were seen last, `object_kind` what they are (payment, refund, dispute or
    customer), `ref` the provider's name and `subject_id` ours, either may be empty. `comment` is why it was accepted
    or repaired.
    """

    id_prefix = "dr"

    provider_type = models.CharField(max_length=20)
    kind = models.CharField(max_length=16, choices=DriftKind)
    status = models.CharField(max_length=8, choices=DriftStatus, default=DriftStatus.OPEN)
    object_kind = models.CharField(max_length=10)
    ref = models.CharField(max_length=255, blank=True)
    subject_id = models.CharField(max_length=60, blank=True)
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    ours = models.JSONField(default=dict, blank=True)
    theirs = models.JSONField(default=dict, blank=True)
    run = models.ForeignKey(ReconciliationRun, on_delete=models.PROTECT, related_name="drifts")
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(max_length=255, blank=True)
    comment = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "provider_drifts"
        ordering = ["-id"]
        permissions = [("mark_drift", "Can repair and accept differences with a provider")]
        constraints = [
            models.UniqueConstraint(
                fields=["provider_type", "object_kind", "kind", "ref", "subject_id"], name="provider_drifts_once"
            ),
            models.CheckConstraint(
                condition=Q(status="open", settled_at__isnull=True) | (~Q(status="open") & Q(settled_at__isnull=False)),
                name="provider_drifts_settled_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status="accepted") | ~Q(comment=""), name="provider_drifts_accepted_has_reason"
            ),
        ]
        indexes = [models.Index(fields=["-last_seen_at"], condition=Q(status="open"), name="provider_drifts_open")]

    def __str__(self) -> str:
        return f"{self.object_kind} {self.ref or self.subject_id}: {self.get_kind_display()}"

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in DRIFT_TRANSITIONS[self.status]
