"""Copies of the invoices that a payment provider issued by itself; no rule, ledger entry or report uses them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Account, Subscription
from billing_site.platform.models.base import Identified, Timestamped


class ProviderInvoice(Identified, Timestamped):
    """
    An invoice of a subscription that a provider bills, as the provider had it at `read_at`.

    `state` is the provider's word. Amounts are minor units of `currency`.
    """

    id_prefix = "pin"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    subscription = models.ForeignKey(Subscription, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    provider_type = models.CharField(max_length=20)
    ref = models.CharField(max_length=255)
    number = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=30)
    currency = models.CharField(max_length=3)
    total = models.BigIntegerField()
    amount_due = models.BigIntegerField()
    amount_paid = models.BigIntegerField()
    attempt_count = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(null=True, blank=True)
    finalized_at = models.DateTimeField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    hosted_url = models.URLField(max_length=2048, blank=True)
    read_at = models.DateTimeField()
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "provider_invoices"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["provider_type", "ref"], name="provider_invoices_once"),
            models.CheckConstraint(
                condition=Q(period_start__isnull=True, period_end__isnull=True)
                | Q(period_end__gte=models.F("period_start")),
                name="provider_invoices_period_forward",
            ),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="provider_invoices_of_account")]

    def __str__(self) -> str:
        return self.number or self.ref
