"""Drafts of billing runs that a person looks at before they are issued."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Account
from billing_site.platform.models.base import Identified, Timestamped
from invoicing.models.invoice import Invoice
from invoicing.models.run import BillingRun


class ReviewReason(models.TextChoices):
    NEGATIVE = "negative", "below zero"
    ABOVE_AMOUNT = "above_amount", "above the amount"
    FAR_FROM_HISTORY = "far_from_history", "far from the account's own"


class ReviewStatus(models.TextChoices):
    WAITING = "waiting"
    RELEASED = "released"
    DISCARDED = "discarded"


REVIEW_TRANSITIONS: dict[str, frozenset[str]] = {
    "waiting": frozenset({"released", "discarded"}),
    "released": frozenset(),
    "discarded": frozenset(),
}


class InvoiceReview(Identified, Timestamped):
    """
    Why a draft was not issued by its run, and what a person decided.

    `history` holds the totals it was compared with, newest first, and `median` theirs, minor units; `factor` and
    `limit` are the rules of the seller as they were. The invoice is marked (`in_review`) while it waits.
    """

    id_prefix = "irv"

    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="review")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    run = models.ForeignKey(BillingRun, on_delete=models.PROTECT, related_name="reviews")
    reason = models.CharField(max_length=16, choices=ReviewReason)
    history = models.JSONField(default=list)
    median = models.DecimalField(max_digits=20, decimal_places=1, null=True, blank=True)
    factor = models.DecimalField(max_digits=8, decimal_places=2, null=True, blank=True)
    limit = models.BigIntegerField(null=True, blank=True)
    status = models.CharField(max_length=9, choices=ReviewStatus, default=ReviewStatus.WAITING)
    held_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=255, blank=True)
    decision_reason = models.TextField(blank=True)

    class Meta:
        db_table = "invoice_reviews"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="waiting", decided_at__isnull=True, decided_by="")
                | (~Q(status="waiting") & Q(decided_at__isnull=False) & ~Q(decided_by="")),
                name="invoice_reviews_decided_has_time",
            ),
        ]
        indexes = [
            # The queue.
            models.Index(fields=["id"], condition=Q(status="waiting"), name="invoice_reviews_queue"),
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.get_reason_display()}"

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in REVIEW_TRANSITIONS[self.status]
