"""What stored money paid of which invoice, at issue and later."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import CreditGrant, LedgerEntry
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import append_only_triggers
from invoicing.models.invoice import Invoice


class CreditSource(models.TextChoices):
    INVOICE_CREDIT = "invoice_credit", "Invoice credit"
    GRANT = "grant", "Credit"
    BALANCE = "balance", "Prepaid balance"


class InvoiceCredit(Identified):
    """
    That one source paid `amount` of an invoice: minor units of the invoice's currency.

    `payment` 0 is what was paid when it was issued (`credit_applied`), 1, 2 and so on are the payments after
    (`amount_paid`). `entry` booked it; the `CreditBurn` rows of a grant's entry say which lines it paid. Voiding the
    invoice reverses the entries; these rows stay as they are. `description` is what documents print.
    """

    id_prefix = "icr"

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credits")
    position = models.PositiveSmallIntegerField()
    payment = models.PositiveSmallIntegerField(default=0)
    source = models.CharField(max_length=14, choices=CreditSource)
    grant = models.ForeignKey(CreditGrant, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    entry = models.ForeignKey(LedgerEntry, on_delete=models.PROTECT, related_name="+")
    amount = models.BigIntegerField()
    description = models.CharField(max_length=255)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "invoice_credits"
        ordering = ["position"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="invoice_credits_amount_positive"),
            models.CheckConstraint(
                condition=Q(source="grant", grant__isnull=False) | (~Q(source="grant") & Q(grant__isnull=True)),
                name="invoice_credits_grant_named",
            ),
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_credits_position_once"),
        ]
        triggers = append_only_triggers("invoice_credits")

    def __str__(self) -> str:
        return f"{self.description}: {self.amount}"
