"""Disputes: payments that card holders contest with their bank."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

from accounts.models import Account
from billing_site.platform.models.base import Identified, Timestamped
from invoicing.models.payment_intent import PaymentIntent
from invoicing.models.refund_triggers import dispute_triggers


class DisputeStatus(models.TextChoices):
    WARNING_NEEDS_RESPONSE = "warning_needs_response", "inquiry, needs response"
    WARNING_UNDER_REVIEW = "warning_under_review", "inquiry, under review"
    WARNING_CLOSED = "warning_closed", "inquiry, closed"
    NEEDS_RESPONSE = "needs_response", "needs response"
    UNDER_REVIEW = "under_review", "under review"
    WON = "won"
    LOST = "lost"


class DisputeCall(models.TextChoices):
    """What the provider was told of a dispute and has not answered yet."""

    EVIDENCE = "evidence"
    CLOSE = "close"


# An inquiry may become a dispute at any time, even after it was closed. A decision is final.
DISPUTE_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "warning_needs_response": frozenset(
        {"warning_under_review", "warning_closed", "needs_response", "under_review", "won", "lost"}
    ),
    "warning_under_review": frozenset({"warning_closed", "needs_response", "under_review", "won", "lost"}),
    "warning_closed": frozenset({"needs_response", "under_review", "won", "lost"}),
    "needs_response": frozenset({"under_review", "won", "lost"}),
    "under_review": frozenset({"won", "lost"}),
    "won": frozenset(),
    "lost": frozenset(),
}
HOLDING_STATUSES: Final = ("needs_response", "under_review")
"""The disputed money is held, nobody knows for whom."""
ANSWERABLE_STATUSES: Final = ("needs_response", "warning_needs_response")
"""Evidence is still waited for."""
DECIDED_STATUSES: Final = ("won", "lost", "warning_closed")


class Dispute(Identified, Timestamped):
    """
    A contested payment, as the provider tells of it. `amount` is what is contested, minor units of `currency`.

    `held` is what stands in the ledger pot `disputes_held` for it. `fee` is what the provider takes when it is lost.
    `evidence` is what was handed in or is kept for that. `pending_call` with `call_key` is what the provider has not
    answered; `call_error` is why it refused the last one. `alarm_days` is the last alarm before the deadline that went
    out, in days.
    """

    id_prefix = "dp"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    payment_intent = models.ForeignKey(PaymentIntent, on_delete=models.PROTECT, related_name="disputes")
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=22, choices=DisputeStatus)
    reason = models.CharField(max_length=100, blank=True)
    held = models.BigIntegerField(default=0)
    fee = models.BigIntegerField(default=0)
    evidence_due_by = models.DateTimeField(null=True, blank=True)
    evidence = models.JSONField(default=dict, blank=True)
    submitted_at = models.DateTimeField(null=True, blank=True)
    provider_type = models.CharField(max_length=20)
    provider_ref = models.CharField(max_length=255)
    pending_call = models.CharField(max_length=8, choices=DisputeCall, blank=True)
    pending_submit = models.BooleanField(default=True)
    call_key = models.CharField(max_length=255, blank=True)
    calls = models.PositiveSmallIntegerField(default=0)
    called_at = models.DateTimeField(null=True, blank=True)
    call_error = models.CharField(max_length=500, blank=True)
    alarm_days = models.PositiveSmallIntegerField(null=True, blank=True)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "disputes"
        ordering = ["-id"]
        permissions = [("answer_dispute", "Can hand in evidence and accept disputes")]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0, fee__gte=0), name="disputes_amount_positive"),
            models.CheckConstraint(
                condition=Q(status__in=["needs_response", "under_review"], held__gt=0)
                | (~Q(status__in=["needs_response", "under_review"]) & Q(held=0)),
                name="disputes_held_while_open",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["won", "lost", "warning_closed"], closed_at__isnull=False)
                | (~Q(status__in=["won", "lost", "warning_closed"]) & Q(closed_at__isnull=True)),
                name="disputes_decided_has_time",
            ),
            models.CheckConstraint(
                condition=Q(pending_call="") | (~Q(call_key="") & Q(called_at__isnull=False)),
                name="disputes_call_has_key",
            ),
            models.UniqueConstraint(fields=["provider_type", "provider_ref"], name="disputes_ref_once"),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="disputes_of_account"),
            models.Index(fields=["status", "-id"], name="disputes_by_status"),
            # The sweep that goes on with what the provider never answered.
            models.Index(fields=["called_at"], condition=~Q(pending_call=""), name="disputes_unanswered"),
            # The alarms before the deadline.
            models.Index(
                fields=["evidence_due_by"],
                condition=Q(status__in=["needs_response", "warning_needs_response"]),
                name="disputes_due",
            ),
        ]
        triggers = dispute_triggers({before: tuple(sorted(after)) for before, after in DISPUTE_TRANSITIONS.items()})

    def __str__(self) -> str:
        return f"dispute {self.public_id}"

    @property
    def is_inquiry(self) -> bool:
        """Whether the bank only asks: nothing is held."""
        return self.status.startswith("warning")

    @property
    def is_decided(self) -> bool:
        """Whether nothing more is waited for."""
        return self.status in DECIDED_STATUSES

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in DISPUTE_TRANSITIONS[self.status]
