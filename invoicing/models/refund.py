"""Refunds: money of payments and invoices that goes back to who paid."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

from accounts.models import Account, LedgerEntry
from billing_site.platform.models import Approval
from billing_site.platform.models.base import Identified, Timestamped
from invoicing.models.credit_note import CreditNote
from invoicing.models.invoice import Invoice
from invoicing.models.payment_intent import PaymentIntent
from invoicing.models.refund_triggers import REFUND_TRIGGERS


class RefundStatus(models.TextChoices):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class RefundReason(models.TextChoices):
    DUPLICATE = "duplicate", "Duplicate"
    FRAUDULENT = "fraudulent", "Fraudulent"
    REQUESTED_BY_CUSTOMER = "requested_by_customer", "Requested by the customer"


class RefundDestination(models.TextChoices):
    PROVIDER = "provider", "the way it was paid"
    CUSTOMER_BALANCE = "customer_balance", "invoice credit"


class RefundSource(models.TextChoices):
    """Where the money stood before: what a credit note gave, stored money, or nowhere: the provider just paid it."""

    CREDIT_NOTE = "credit_note"
    INVOICE_CREDIT = "invoice_credit"
    PREPAID = "prepaid", "prepaid money"
    OUTSIDE = "outside", "made at the provider"


# A bank may send back money that was on its way, even days after it was said to have arrived.
REFUND_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "pending": frozenset({"succeeded", "failed", "canceled"}),
    "succeeded": frozenset({"failed"}),
    "failed": frozenset(),
    "canceled": frozenset(),
}
COUNTED_STATUSES: Final = ("pending", "succeeded")
"""Refunds that take from what was received."""


class Refund(Identified, Timestamped):
    """
    Money given back, minor units of `currency`: of one payment through its provider, or into invoice credit.

    Refunds of one request share `batch`, the id of the first of them. While `released_at` is empty the request waits
    for a second person (`approval`) and nothing is booked or sent. A pending refund that is released has its money in
    the ledger pot `refunds_pending`; `called_at` is when the provider was asked last. `retry_of` is the refund that
    failed before. `is_uncovered`: the provider gave it back and nothing here has been taken for it yet.
    """

    id_prefix = "re"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    payment_intent = models.ForeignKey(
        PaymentIntent, null=True, blank=True, on_delete=models.PROTECT, related_name="refunds"
    )
    invoice = models.ForeignKey(Invoice, null=True, blank=True, on_delete=models.PROTECT, related_name="refunds")
    credit_note = models.ForeignKey(CreditNote, null=True, blank=True, on_delete=models.PROTECT, related_name="refunds")
    approval = models.ForeignKey(
        Approval, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    retry_of = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT, related_name="retry")
    batch = models.UUIDField()
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=9, choices=RefundStatus, default=RefundStatus.PENDING)
    reason = models.CharField(max_length=21, choices=RefundReason, blank=True)
    destination = models.CharField(max_length=16, choices=RefundDestination)
    source = models.CharField(max_length=14, choices=RefundSource)
    provider_type = models.CharField(max_length=20, blank=True)
    provider_ref = models.CharField(max_length=255, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    called_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    receipt_number = models.CharField(max_length=100, blank=True)
    failure_reason = models.CharField(max_length=255, blank=True)
    is_uncovered = models.BooleanField(default=False)
    held_entry = models.ForeignKey(
        LedgerEntry, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    entry = models.ForeignKey(
        LedgerEntry, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    requested_by = models.CharField(max_length=266, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "refunds"
        ordering = ["-id"]
        permissions = [
            ("create_refund", "Can ask for refunds"),
            ("approve_refund", "Can approve refunds above the limit"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="refunds_amount_positive"),
            models.CheckConstraint(
                condition=Q(destination="provider", payment_intent__isnull=False) & ~Q(provider_type="")
                | Q(destination="customer_balance", provider_type="", provider_ref="", called_at__isnull=True),
                name="refunds_destination_has_payment",
            ),
            models.CheckConstraint(
                condition=Q(status="pending", ended_at__isnull=True)
                | (~Q(status="pending") & Q(ended_at__isnull=False)),
                name="refunds_ended_has_time",
            ),
            models.CheckConstraint(
                condition=Q(released_at__isnull=False) | Q(status__in=["pending", "canceled"], provider_ref=""),
                name="refunds_sent_was_released",
            ),
            # A refund of an invoice always comes with a credit note; only what the provider did by itself lacks one.
            models.CheckConstraint(
                condition=~Q(source="credit_note")
                | Q(released_at__isnull=True)
                | Q(credit_note__isnull=False, invoice__isnull=False),
                name="refunds_of_invoice_has_note",
            ),
            models.CheckConstraint(
                condition=Q(is_uncovered=False) | Q(source="outside"), name="refunds_uncovered_is_outside"
            ),
            models.UniqueConstraint(
                fields=["provider_type", "provider_ref"], condition=~Q(provider_ref=""), name="refunds_ref_once"
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="refunds_of_account"),
            models.Index(fields=["batch"], name="refunds_of_batch"),
            # The sweep that asks the provider about what was never answered.
            models.Index(
                fields=["released_at"],
                condition=Q(status="pending", released_at__isnull=False),
                name="refunds_unanswered",
            ),
        ]
        triggers = REFUND_TRIGGERS

    def __str__(self) -> str:
        return f"refund {self.public_id}"

    @property
    def waits(self) -> bool:
        """Whether a second person has not decided yet."""
        return self.status == RefundStatus.PENDING and self.released_at is None

    @property
    def is_sent(self) -> bool:
        """Whether the provider may be asked for it, or was."""
        return self.destination == RefundDestination.PROVIDER and self.released_at is not None

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in REFUND_TRANSITIONS[self.status]
