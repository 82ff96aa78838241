"""Bank transfers: what accounts are told to quote, and every transfer that arrived."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

from accounts.models import Account, LedgerEntry
from billing_site.platform.models import Approval
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import append_only_triggers
from invoicing.models.invoice import Invoice
from invoicing.models.kept_rows import kept_row_triggers


class TransferType(models.TextChoices):
    ACH = "ach", "ACH"
    WIRE = "wire", "Wire"
    SEPA = "sepa", "SEPA"


class InstructionStatus(models.TextChoices):
    ACTIVE = "active"
    EXPIRED = "expired"


INSTRUCTION_TRANSITIONS: Final[dict[str, frozenset[str]]] = {"active": frozenset({"expired"}), "expired": frozenset()}


class BankTransferInstruction(Identified, Timestamped):
    """
    Bank details issued to an account, with the reference that its payer quotes.

    `reference` is 8 hex characters in lower case, one active instruction each. Of the account number only the last four
    characters are kept (`****6789`; four or fewer stay as they are).
    """

    id_prefix = "bti"

    org_id = models.CharField(max_length=100)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    type = models.CharField(max_length=4, choices=TransferType)
    status = models.CharField(max_length=7, choices=InstructionStatus, default=InstructionStatus.ACTIVE)
    currency = models.CharField(max_length=3)
    reference = models.CharField(max_length=8)
    bank_name = models.CharField(max_length=255)
    account_holder = models.CharField(max_length=255, blank=True)
    account_number = models.CharField(max_length=8)
    routing_number = models.CharField(max_length=40, blank=True)
    iban = models.CharField(max_length=34, blank=True)
    bic = models.CharField(max_length=11, blank=True)
    expired_at = models.DateTimeField(null=True, blank=True)
    livemode = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "bank_transfer_instructions"
        ordering = ["-id"]
        verbose_name = "bank transfer instruction"
        constraints = [
            models.UniqueConstraint(
                fields=["reference"], condition=Q(status="active"), name="bank_transfer_instructions_reference_once"
            ),
            models.CheckConstraint(
                condition=Q(reference__regex=r"^[0-9a-f]{8}$"), name="bank_transfer_instructions_reference_is_hex"
            ),
            models.CheckConstraint(
                condition=Q(status="active", expired_at__isnull=True) | Q(status="expired", expired_at__isnull=False),
                name="bank_transfer_instructions_expired_has_time",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="bank_instructions_of_account"),
            models.Index(fields=["org_id", "-id"], name="bank_instructions_of_org"),
            models.Index(fields=["reference"], name="bank_instructions_reference"),  # also those that have expired
        ]
        triggers = kept_row_triggers(
            "bank_transfer_instructions",
            mutable=("expired_at", "metadata"),
            begins="active",
            transitions=INSTRUCTION_TRANSITIONS,
        )

    def __str__(self) -> str:
        return f"{self.get_type_display()} {self.reference}"

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in INSTRUCTION_TRANSITIONS[self.status]


class BankTransferStatus(models.TextChoices):
    UNMATCHED = "unmatched"
    MATCHED = "matched"
    DISMISSED = "dismissed"


# What was dismissed by mistake can be put back; what is booked stays booked.
BANK_TRANSFER_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "unmatched": frozenset({"matched", "dismissed"}),
    "matched": frozenset(),
    "dismissed": frozenset({"unmatched"}),
}


class TransferSource(models.TextChoices):
    API = "api", "API"
    STATEMENT = "statement", "Bank statement"


class Mismatch(models.TextChoices):
    """Why a transfer was not matched when it arrived."""

    NO_REFERENCE = "reference_not_matched", "No active reference"
    CURRENCY = "currency_mismatch", "Another currency"


class BankTransfer(Identified, Timestamped):
    """
    Money that arrived at the bank: `amount` minor units of `currency`, above zero. Every one is kept.

    It is written unmatched. Matched, it is booked once, by `entry`, as invoice credit of `account`. `reference` is what
    was quoted, `reference_key` the same without case and spaces; `bank_transaction_id` is the bank's own name of it,
    and names it once.
    """

    id_prefix = "bt"

    org_id = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=9, choices=BankTransferStatus, default=BankTransferStatus.UNMATCHED)
    source = models.CharField(max_length=9, choices=TransferSource, default=TransferSource.API)
    reference = models.CharField(max_length=140, blank=True)
    reference_key = models.CharField(max_length=140, blank=True)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    bank_transaction_id = models.CharField(max_length=255, blank=True)
    received_at = models.DateTimeField()
    payer_name = models.CharField(max_length=255, blank=True)
    payer_account = models.CharField(max_length=8, blank=True)
    text = models.TextField(blank=True)
    mismatch = models.CharField(max_length=21, choices=Mismatch, blank=True)
    account = models.ForeignKey(
        Account, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    instruction = models.ForeignKey(
        BankTransferInstruction, null=True, blank=True, on_delete=models.PROTECT, related_name="transfers"
    )
    entry = models.OneToOneField(LedgerEntry, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    approval = models.ForeignKey(
        Approval, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    matched_at = models.DateTimeField(null=True, blank=True)
    dismissed_at = models.DateTimeField(null=True, blank=True)
    dismiss_reason = models.TextField(blank=True)
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "bank_transfers"
        ordering = ["-id"]
        permissions = [
            ("match_bank_transfer", "Can match bank transfers by hand"),
            ("approve_bank_transfer", "Can approve matches of bank transfers above the limit"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["livemode", "bank_transaction_id"],
                condition=~Q(bank_transaction_id=""),
                name="bank_transfers_bank_id_once",
            ),
            models.UniqueConstraint(fields=["approval"], name="bank_transfers_approval_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="bank_transfers_amount_positive"),
            models.CheckConstraint(
                condition=Q(status="matched", entry__isnull=False, account__isnull=False, matched_at__isnull=False)
                | (~Q(status="matched") & Q(entry__isnull=True, account__isnull=True, matched_at__isnull=True)),
                name="bank_transfers_matched_is_booked",
            ),
            models.CheckConstraint(
                condition=Q(status="dismissed", dismissed_at__isnull=False)
                | (~Q(status="dismissed") & Q(dismissed_at__isnull=True)),
                name="bank_transfers_dismissed_has_time",
            ),
        ]
        indexes = [
            # The review list.
            models.Index(fields=["-id"], condition=Q(status="unmatched"), name="bank_transfers_to_review"),
            models.Index(fields=["account", "-id"], name="bank_transfers_of_account"),
        ]
        triggers = kept_row_triggers(
            "bank_transfers",
            mutable=(
                *("reference", "reference_key", "org_id", "mismatch"),
                *("account_id", "instruction_id", "entry_id", "approval_id"),
                *("matched_at", "dismissed_at", "dismiss_reason"),
            ),
            begins="unmatched",
            transitions=BANK_TRANSFER_TRANSITIONS,
        )

    def __str__(self) -> str:
        return self.bank_transaction_id or self.public_id

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in BANK_TRANSFER_TRANSITIONS[self.status]


class BankTransferUse(Identified):
    """What was settled of an invoice when a transfer was booked: minor units, from invoice credit."""

    id_prefix = "btu"

    transfer = models.ForeignKey(BankTransfer, on_delete=models.PROTECT, related_name="uses", db_index=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="+")
    amount = models.BigIntegerField()

    class Meta:
        db_table = "bank_transfer_uses"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["transfer", "invoice"], name="bank_transfer_uses_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="bank_transfer_uses_amount_positive"),
        ]
        triggers = append_only_triggers("bank_transfer_uses")

    def __str__(self) -> str:
        return f"{self.invoice}: {self.amount}"
