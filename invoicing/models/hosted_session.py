"""Hosted pages that were opened for accounts: where a payer sets up payment, or manages what is kept."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Account, PaymentMethod, Subscription
from billing_site.platform.models.base import Identified, Timestamped


class HostedKind(models.TextChoices):
    CHECKOUT = "checkout"
    PORTAL = "portal"


class HostedSession(Identified, Timestamped):
    """
    One page. Its address is kept nowhere: whoever has it can act on it.

    A checkout says what is to be subscribed to when it is completed (`plan_key`, empty: nothing) and afterwards what
    came of it; `outcome` is one sentence for operators.
    """

    id_prefix = "hs"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=8, choices=HostedKind)
    provider_type = models.CharField(max_length=20)
    provider_ref = models.CharField(max_length=255, blank=True)
    customer_ref = models.CharField(max_length=255)
    plan_key = models.CharField(max_length=100, blank=True)
    interval = models.CharField(max_length=5, blank=True)
    feature = models.CharField(max_length=255, blank=True)
    return_url = models.CharField(max_length=2000)
    self_service = models.BooleanField(default=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    payment_method = models.ForeignKey(
        PaymentMethod, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    subscription = models.ForeignKey(
        Subscription, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    outcome = models.CharField(max_length=500, blank=True)
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "hosted_sessions"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider_type", "provider_ref"],
                condition=~Q(provider_ref=""),
                name="hosted_sessions_ref_once",
            ),
            models.CheckConstraint(
                condition=Q(completed_at__isnull=False) | Q(payment_method__isnull=True, subscription__isnull=True),
                name="hosted_sessions_outcome_when_complete",
            ),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="hosted_sessions_of_account")]

    def __str__(self) -> str:
        return f"{self.kind} {self.public_id}"
