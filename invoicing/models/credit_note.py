"""Credit notes: how issued invoices are corrected downwards."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from accounts.models import Account, LedgerEntry
from billing_site.platform.models import Approval
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import append_only_triggers
from invoicing.models.credit_note_triggers import (
    credit_note_line_triggers,
    credit_note_tax_triggers,
    credit_note_triggers,
)
from invoicing.models.invoice import Invoice, InvoiceLine
from invoicing.models.invoice_tax import InvoiceTax
from invoicing.models.seller import Seller


class CreditNoteStatus(models.TextChoices):
    ISSUED = "issued"
    VOID = "void"


CREDIT_NOTE_TRANSITIONS: dict[str, frozenset[str]] = {"issued": frozenset({"void"}), "void": frozenset()}


class CreditReason(models.TextChoices):
    DUPLICATE = "duplicate", "Duplicate"
    FRAUDULENT = "fraudulent", "Fraudulent"
    ORDER_CHANGE = "order_change", "Order changed"
    PRODUCT_UNSATISFACTORY = "product_unsatisfactory", "Product unsatisfactory"


class Disposition(models.TextChoices):
    CUSTOMER_BALANCE = "customer_balance", "Invoice credit"
    REFUND = "refund", "Refund"
    OUT_OF_BAND = "out_of_band", "Paid back outside"


class CreditNote(Identified, Timestamped):
    """
    A document that takes back part of an invoice, or all of it. Amounts are minor units of `currency`.

    Of `total`, `amount_applied` lowered what remained to be paid of the invoice, `amount_credited` became invoice
    credit, `out_of_band_amount` was paid back outside, and `amount_refunded` was to go back through the provider that
    was paid (its refunds say what became of that). It is issued when it is written, and can only be voided:
    what it took is open again then. `trace` holds the facts it was computed from; `verify_credit_note` recomputes it.
    """

    id_prefix = "cn"

    org_id = models.CharField(max_length=100)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    seller = models.ForeignKey(Seller, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=6, choices=CreditNoteStatus, default=CreditNoteStatus.ISSUED)
    currency = models.CharField(max_length=3)
    subtotal = models.BigIntegerField()
    tax = models.BigIntegerField(default=0)
    total = models.BigIntegerField()
    disposition = models.CharField(max_length=16, choices=Disposition, default=Disposition.CUSTOMER_BALANCE)
    amount_applied = models.BigIntegerField(default=0)
    amount_credited = models.BigIntegerField(default=0)
    out_of_band_amount = models.BigIntegerField(default=0)
    amount_refunded = models.BigIntegerField(default=0)
    reason = models.CharField(max_length=22, choices=CreditReason, blank=True)
    memo = models.TextField(blank=True)
    series = models.CharField(max_length=20)
    number = models.BigIntegerField()
    number_text = models.CharField(max_length=40)
    issue_date = models.DateField()
    issued_at = models.DateTimeField()
    voided_at = models.DateTimeField(null=True, blank=True)
    void_reason = models.TextField(blank=True)
    entry = models.OneToOneField(LedgerEntry, on_delete=models.PROTECT, related_name="+")
    approval = models.ForeignKey(
        Approval, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    account_snapshot = models.JSONField(default=dict)
    seller_snapshot = models.JSONField(default=dict)
    trace = models.JSONField(default=dict)
    livemode = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "credit_notes"
        ordering = ["-id"]
        permissions = [
            ("issue_credit_note", "Can issue credit notes"),
            ("void_credit_note", "Can void credit notes"),
            ("approve_credit_note", "Can approve credit notes above the limit"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["seller", "series", "livemode", "number"], name="credit_notes_number_once"),
            models.UniqueConstraint(fields=["approval"], name="credit_notes_approval_once"),
            models.CheckConstraint(condition=Q(total=F("subtotal") + F("tax")), name="credit_notes_total_adds_up"),
            models.CheckConstraint(condition=Q(total__gt=0), name="credit_notes_total_positive"),
            models.CheckConstraint(
                condition=Q(
                    amount_applied__gte=0, amount_credited__gte=0, out_of_band_amount__gte=0, amount_refunded__gte=0
                )
                & Q(total=F("amount_applied") + F("amount_credited") + F("out_of_band_amount") + F("amount_refunded")),
                name="credit_notes_settled",
            ),
            models.CheckConstraint(
                condition=Q(status="void", voided_at__isnull=False) | (~Q(status="void") & Q(voided_at__isnull=True)),
                name="credit_notes_void_has_time",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="credit_notes_of_account"),
            models.Index(fields=["org_id", "-id"], name="credit_notes_of_org"),
            models.Index(fields=["number_text"], name="credit_notes_number_text"),  # lookup by printed number
        ]
        triggers = credit_note_triggers()

    def __str__(self) -> str:
        return self.number_text

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in CREDIT_NOTE_TRANSITIONS[self.status]


class CreditNoteLine(Identified):
    """The net amount that a note credits of one line of its invoice. `trace` says how it came about."""

    id_prefix = "cnl"

    credit_note = models.ForeignKey(CreditNote, on_delete=models.PROTECT, related_name="lines", db_index=False)
    position = models.PositiveIntegerField()
    invoice_line = models.ForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="+")
    description = models.CharField(max_length=500)
    quantity = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    unit_amount = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    amount = models.BigIntegerField()
    trace = models.JSONField(default=dict)

    class Meta:
        db_table = "credit_note_lines"
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["credit_note", "position"], name="credit_note_lines_position_once"),
            models.CheckConstraint(condition=~Q(amount=0), name="credit_note_lines_amount_not_zero"),
        ]
        triggers = credit_note_line_triggers()

    def __str__(self) -> str:
        return self.description


class CreditNoteTax(Identified):
    """
    The tax of one rate that a note credits: `amount` on `base`.

    `invoice_tax` is the rate on the invoice; `rate`, its fraction of the net amount, and `name` are those of there.
    """

    id_prefix = "cnt"

    credit_note = models.ForeignKey(CreditNote, on_delete=models.PROTECT, related_name="taxes", db_index=False)
    position = models.PositiveIntegerField()
    invoice_tax = models.ForeignKey(InvoiceTax, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=255)
    rate = models.DecimalField(max_digits=13, decimal_places=12)
    base = models.BigIntegerField()
    amount = models.BigIntegerField()
    trace = models.JSONField(default=dict)

    class Meta:
        db_table = "credit_note_taxes"
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["credit_note", "position"], name="credit_note_taxes_position_once"),
            models.UniqueConstraint(fields=["credit_note", "invoice_tax"], name="credit_note_taxes_rate_once"),
        ]
        triggers = credit_note_tax_triggers()

    def __str__(self) -> str:
        return self.name


class CreditNoteDocument(Identified):
    """The PDF of a credit note, stored once and never changed."""

    id_prefix = "cnd"

    credit_note = models.OneToOneField(CreditNote, on_delete=models.PROTECT, related_name="document")
    content = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "credit_note_documents"
        triggers = append_only_triggers("credit_note_documents")

    def __str__(self) -> str:
        return self.sha256[:12]
