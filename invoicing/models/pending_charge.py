"""Pending charges: what changes of a subscription left for its next invoice."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from accounts.models import Subscription, SubscriptionItem
from billing_site.platform.models.base import Identified, Timestamped
from invoicing.models.invoice import Invoice


class PendingCharge(Identified, Timestamped):
    """
    A prorated credit or charge that the next invoice of the subscription takes up.

    `facts` is the stored form of `invoicing.calculation.facts.ChargeFacts`. `invoice` is the document that has it; when
    that is voided, the charge waits again.
    """

    id_prefix = "pch"

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="pending_charges")
    item = models.ForeignKey(SubscriptionItem, on_delete=models.PROTECT, related_name="+", db_index=False)
    invoice = models.ForeignKey(
        Invoice, null=True, blank=True, on_delete=models.PROTECT, related_name="pending_charges"
    )
    facts = models.JSONField()
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    reason = models.CharField(max_length=100)

    class Meta:
        db_table = "pending_charges"
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(period_end__gte=F("period_start")), name="pending_charges_period_in_order"
            ),
        ]
        indexes = [
            # What the next invoice of a subscription takes up.
            models.Index(fields=["subscription"], condition=Q(invoice__isnull=True), name="pending_charges_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id} {self.reason}"
