"""Pending charges: what changes of a subscription, or people, left for the next invoice."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from accounts.models import Account, Subscription, SubscriptionItem
from billing_site.platform.models.base import Identified, Timestamped
from invoicing.models.invoice import Invoice


class PendingCharge(Identified, Timestamped):
    """
    A credit or charge that the next invoice takes up: prorated for a subscription item, or entered by somebody.

    `facts` is the stored form of `invoicing.calculation.facts.ChargeFacts`. Without a subscription it is for the next
    invoice of the account in its currency. `invoice` is the document that has it; when that is voided, the charge waits
    again. What was entered has no item, and can be dropped while it waits.
    """

    id_prefix = "pch"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="pending_charges", db_index=False)
    subscription = models.ForeignKey(
        Subscription, null=True, blank=True, on_delete=models.PROTECT, related_name="pending_charges"
    )
    item = models.ForeignKey(
        SubscriptionItem, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    invoice = models.ForeignKey(
        Invoice, null=True, blank=True, on_delete=models.PROTECT, related_name="pending_charges"
    )
    facts = models.JSONField()
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    reason = models.CharField(max_length=100)
    dropped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "pending_charges"
        verbose_name = "waiting item"
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(period_end__gte=F("period_start")), name="pending_charges_period_in_order"
            ),
            models.CheckConstraint(
                condition=Q(item__isnull=True) | Q(subscription__isnull=False, dropped_at__isnull=True),
                name="pending_charges_item_of_subscription",
            ),
        ]
        indexes = [
            # What the next invoice of a subscription takes up.
            models.Index(fields=["subscription"], condition=Q(invoice__isnull=True), name="pending_charges_waiting"),
            # What the next invoice of an account takes up, whichever subscription it is of; and its page.
            models.Index(fields=["account"], name="pending_charges_of_account"),
        ]

    def __str__(self) -> str:
        return str(self.facts.get("given", {}).get("description") or f"{self.subscription_id} {self.reason}")
