"""Payouts: money that is sent out, to payees or to our own bank account."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

from accounts.models import Account, LedgerEntry, PaymentMethod
from billing_site.platform.models import Approval
from billing_site.platform.models.base import Identified, Timestamped
from invoicing.models.kept_rows import kept_row_triggers


class PayoutStatus(models.TextChoices):
    PENDING = "pending"
    IN_TRANSIT = "in_transit"
    PAID = "paid"
    FAILED = "failed"
    CANCELED = "canceled"


# A bank may send money back days after it took it: then what was paid has failed after all.
PAYOUT_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "pending": frozenset({"in_transit", "failed", "canceled"}),
    "in_transit": frozenset({"paid", "failed"}),
    "paid": frozenset({"failed"}),
    "failed": frozenset(),
    "canceled": frozenset(),
}


class DestinationType(models.TextChoices):
    BANK_ACCOUNT = "bank_account", "Bank account"
    CARD = "card", "Card"


class PayoutOrigin(models.TextChoices):
    OWN = "own", "Ours"
    PROVIDER = "provider", "The provider's own"


class Payout(Identified, Timestamped):
    """
    Money on its way out: `amount` minor units of `currency`, held by `entry` from the first moment.

    Without `account` it goes to our own bank account. `approval` is set where another person had to allow it; until
    then nothing is sent. `call_key` is the idempotency key of the call that hands it to the provider, committed before
    the call; empty while nobody was asked. `asked_at` is when the provider was last asked, by the wall clock.
    """

    id_prefix = "po"

    org_id = models.CharField(max_length=100, blank=True)
    account = models.ForeignKey(
        Account, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    status = models.CharField(max_length=10, choices=PayoutStatus, default=PayoutStatus.PENDING)
    origin = models.CharField(max_length=8, choices=PayoutOrigin, default=PayoutOrigin.OWN)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    destination_type = models.CharField(max_length=12, choices=DestinationType)
    destination = models.ForeignKey(
        PaymentMethod, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    description = models.CharField(max_length=500, blank=True)
    provider_type = models.CharField(max_length=20)
    provider_ref = models.CharField(max_length=255, blank=True)
    call_key = models.CharField(max_length=255, blank=True)
    called_at = models.DateTimeField(null=True, blank=True)
    asked_at = models.DateTimeField(null=True, blank=True)
    arrival_date = models.DateField(null=True, blank=True)
    failure_code = models.CharField(max_length=80, blank=True)
    failure_message = models.CharField(max_length=500, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    entry = models.OneToOneField(LedgerEntry, on_delete=models.PROTECT, related_name="+")
    approval = models.ForeignKey(
        Approval, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    requested_by = models.CharField(max_length=266)
    livemode = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "payouts"
        ordering = ["-id"]
        permissions = [
            ("create_payout", "Can ask for payouts"),
            ("cancel_payout", "Can cancel payouts"),
            ("approve_payout", "Can approve payouts above the limit"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["provider_type", "provider_ref"], condition=~Q(provider_ref=""), name="payouts_ref_once"
            ),
            models.UniqueConstraint(fields=["approval"], name="payouts_approval_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="payouts_amount_positive"),
            models.CheckConstraint(
                condition=Q(origin="own", destination__isnull=False) | Q(origin="provider", account__isnull=True),
                name="payouts_own_has_destination",
            ),
            models.CheckConstraint(
                condition=~Q(status="paid") | Q(arrival_date__isnull=False), name="payouts_paid_has_arrival"
            ),
            models.CheckConstraint(
                condition=Q(status__in=("paid", "failed", "canceled"), ended_at__isnull=False)
                | (~Q(status__in=("paid", "failed", "canceled")) & Q(ended_at__isnull=True)),
                name="payouts_ended_has_time",
            ),
            models.CheckConstraint(
                condition=Q(call_key="", called_at__isnull=True) | (~Q(call_key="") & Q(called_at__isnull=False)),
                name="payouts_call_has_time",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="payouts_of_account"),
            models.Index(fields=["org_id", "-id"], name="payouts_of_org"),
            # The sweep: what is to be sent, and what has not ended.
            models.Index(
                fields=["asked_at"], condition=Q(status__in=("pending", "in_transit")), name="payouts_unsettled"
            ),
        ]
        triggers = kept_row_triggers(
            "payouts",
            mutable=(
                *("provider_ref", "call_key", "called_at", "asked_at", "arrival_date", "ended_at"),
                *("failure_code", "failure_message", "approval_id", "metadata"),
            ),
            begins="pending",
            transitions=PAYOUT_TRANSITIONS,
        )

    def __str__(self) -> str:
        return self.description or f"payout {self.public_id}"

    @property
    def is_handed_over(self) -> bool:
        """Whether the provider was asked to send it, be it without an answer."""
        return bool(self.call_key)

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in PAYOUT_TRANSITIONS[self.status]
