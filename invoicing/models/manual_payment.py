"""Payments that a person recorded: money that came by cheque, in cash or to a bank account outside."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import F, Q

from accounts.models import Account, LedgerEntry
from billing_site.platform.models import Approval
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import append_only_triggers
from invoicing.models.invoice import Invoice
from invoicing.models.kept_rows import kept_row_triggers


class ManualMethod(models.TextChoices):
    CHEQUE = "cheque", "Cheque"
    CASH = "cash", "Cash"
    WIRE = "wire", "Wire, outside"
    OTHER = "other", "Other"


class ManualPaymentStatus(models.TextChoices):
    RECORDED = "recorded"
    REVERSED = "reversed"


MANUAL_PAYMENT_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "recorded": frozenset({"reversed"}),
    "reversed": frozenset(),
}


class ManualPayment(Identified, Timestamped):
    """
    Money that came outside: `amount` minor units of `currency`. Its parts paid invoices, the rest is invoice credit.

    `received_on` is the day it came, `reference` the number of the cheque or the like. A bounced one is reversed:
    `reversal` books the exact opposite of `entry`.
    """

    id_prefix = "mp"

    org_id = models.CharField(max_length=100)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    status = models.CharField(max_length=8, choices=ManualPaymentStatus, default=ManualPaymentStatus.RECORDED)
    method = models.CharField(max_length=6, choices=ManualMethod)
    amount = models.BigIntegerField()
    amount_credited = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3)
    received_on = models.DateField()
    reference = models.CharField(max_length=140, blank=True)
    note = models.TextField(blank=True)
    entry = models.OneToOneField(LedgerEntry, on_delete=models.PROTECT, related_name="+")
    reversal = models.OneToOneField(LedgerEntry, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    reversed_at = models.DateTimeField(null=True, blank=True)
    reverse_reason = models.TextField(blank=True)
    approval = models.ForeignKey(
        Approval, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    recorded_by = models.CharField(max_length=266)
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "manual_payments"
        ordering = ["-id"]
        permissions = [
            ("record_manual_payment", "Can record payments by hand"),
            ("reverse_manual_payment", "Can reverse payments recorded by hand"),
            ("approve_manual_payment", "Can approve payments by hand above the limit"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["approval"], name="manual_payments_approval_once"),
            models.CheckConstraint(
                condition=Q(amount__gt=0, amount_credited__gte=0, amount_credited__lte=F("amount")),
                name="manual_payments_amounts_within",
            ),
            models.CheckConstraint(
                condition=Q(status="reversed", reversed_at__isnull=False, reversal__isnull=False)
                | (~Q(status="reversed") & Q(reversed_at__isnull=True, reversal__isnull=True)),
                name="manual_payments_reversed_is_booked",
            ),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="manual_payments_of_account")]
        triggers = kept_row_triggers(
            "manual_payments",
            mutable=("reversal_id", "reversed_at", "reverse_reason"),
            begins="recorded",
            transitions=MANUAL_PAYMENT_TRANSITIONS,
        )

    def __str__(self) -> str:
        return f"{self.get_method_display()} {self.reference}".strip()

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in MANUAL_PAYMENT_TRANSITIONS[self.status]


class ManualPaymentPart(Identified):
    """What a manual payment paid of one invoice, minor units."""

    id_prefix = "mpp"

    payment = models.ForeignKey(ManualPayment, on_delete=models.PROTECT, related_name="parts", db_index=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="+")
    amount = models.BigIntegerField()

    class Meta:
        db_table = "manual_payment_parts"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["payment", "invoice"], name="manual_payment_parts_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="manual_payment_parts_amount_positive"),
        ]
        triggers = append_only_triggers("manual_payment_parts")

    def __str__(self) -> str:
        return f"{self.invoice}: {self.amount}"
