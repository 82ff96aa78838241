"""The ledger: double entry, append-only, balanced per entry and currency at commit."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models.account import Account
from accounts.models.ledger_triggers import ENTRY_TRIGGERS, POSTING_TRIGGERS, kept_triggers
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import append_only_triggers


class LedgerKind(models.TextChoices):
    """Which pot. The first three and the receivable belong to an account, the others to the platform."""

    PREPAID = "prepaid"
    INVOICE_CREDIT = "invoice_credit"
    SETTLEMENT = "settlement"
    RECEIVABLE = "receivable"
    CASH = "cash"
    BANK = "bank"
    REVENUE = "revenue"
    DEFERRED_REVENUE = "deferred_revenue"
    BAD_DEBT = "bad_debt"
    FEES = "fees"
    TAX = "tax"
    PROMOTIONS = "promotions"
    DISPUTES_HELD = "disputes_held"
    CREDIT_GRANTS = "credit_grants"
    REFUNDS_PENDING = "refunds_pending"


ACCOUNT_KINDS = ("prepaid", "invoice_credit", "settlement", "receivable", "credit_grants", "refunds_pending")


class LedgerType(models.TextChoices):
    ASSET = "asset"
    LIABILITY = "liability"
    REVENUE = "revenue"
    EXPENSE = "expense"


LEDGER_TYPES: dict[str, str] = {
    "prepaid": "liability",
    "invoice_credit": "liability",
    "settlement": "liability",
    "receivable": "asset",
    "cash": "asset",
    "bank": "asset",
    "revenue": "revenue",
    "deferred_revenue": "liability",
    "bad_debt": "expense",
    "fees": "revenue",
    "tax": "liability",
    "promotions": "expense",
    "disputes_held": "asset",
    "credit_grants": "liability",
    "refunds_pending": "liability",
}


class LedgerAccount(Identified):
    """
    One pot in one currency, with its balance materialised in the transaction of each posting.

    `balance` is signed minor units, debit positive: a prepaid balance of 5.00 is -500 here.
    """

    id_prefix = "la"

    kind = models.CharField(max_length=16, choices=LedgerKind)
    type = models.CharField(max_length=10, choices=LedgerType)
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    balance = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "ledger_accounts"
        ordering = ["kind", "currency"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "kind", "currency"],
                name="ledger_accounts_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(account__isnull=False, kind__in=ACCOUNT_KINDS)
                | (Q(account__isnull=True) & ~Q(kind__in=ACCOUNT_KINDS)),
                name="ledger_accounts_kind_matches_owner",
            ),
        ]
        # A pot is never removed and never becomes another one; only its balance moves.
        triggers = kept_triggers("ledger_accounts", "id", "kind", "type", "account_id", "currency")

    def __str__(self) -> str:
        return f"{self.kind}:{self.account_id or 'platform'} {self.currency}"


class LedgerEntry(Identified):
    """A movement: two or more postings that sum to zero per currency. Never changed, only reversed."""

    id_prefix = "txn"

    key = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=40)
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    description = models.TextField(blank=True)
    tags = models.CharField(max_length=255, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    reverses = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="reversals")
    livemode = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "ledger_entries"
        verbose_name_plural = "ledger entries"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account", "-id"], name="ledger_entries_of_account"),  # transaction list
            models.Index(fields=["account", "-id"], condition=Q(type="usage"), name="ledger_entries_usage"),  # charges
            # Daily credit used today, asked at every charge of usage.
            models.Index(
                fields=["account", "created_at"], condition=Q(tags="daily-credit"), name="ledger_entries_daily_credit"
            ),
        ]
        permissions = [
            ("approve_deposit", "Can approve deposits above the limit"),
            ("approve_adjustment", "Can approve adjustments above the limit"),
            ("approve_settlement", "Can approve changes of settlement balances"),
            ("approve_bank_account", "Can approve that bank accounts are confirmed"),
        ]
        triggers = [*append_only_triggers("ledger_entries"), *ENTRY_TRIGGERS]

    def __str__(self) -> str:
        return self.key


class Posting(Identified):
    """One leg of an entry: signed minor units, debit positive."""

    id_prefix = "post"

    entry = models.ForeignKey(LedgerEntry, on_delete=models.PROTECT, related_name="postings")
    ledger_account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="postings")
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)

    class Meta:
        db_table = "ledger_postings"
        ordering = ["id"]
        constraints = [models.CheckConstraint(condition=~Q(amount=0), name="ledger_postings_amount_not_zero")]
        indexes = [models.Index(fields=["ledger_account", "-id"], name="ledger_postings_newest")]  # one pot's movements
        triggers = [*append_only_triggers("ledger_postings"), *POSTING_TRIGGERS]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class CreditLot(Identified):
    """
    A deposit that is spent by earliest end date and, when it has one, expires with what is left.

    `amount` and `remaining` are minor units of `currency`; `remaining` is `amount` less the sum of its takings.
    """

    id_prefix = "lot"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    entry = models.OneToOneField(LedgerEntry, on_delete=models.PROTECT, related_name="lot")
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField()
    remaining = models.BigIntegerField()
    promotional = models.BooleanField(default=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "credit_lots"
        ordering = ["expires_at", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="credit_lots_amount_positive"),
            models.CheckConstraint(
                condition=Q(remaining__gte=0, remaining__lte=models.F("amount")), name="credit_lots_remaining_in_range"
            ),
        ]
        indexes = [
            # The hourly expiry sweep.
            models.Index(
                fields=["expires_at"],
                condition=Q(remaining__gt=0, expires_at__isnull=False),
                name="credit_lots_expiring",
            ),
            models.Index(fields=["account", "currency", "expires_at"], name="credit_lots_spend_order"),
        ]
        # Only what remains and the end date move.
        triggers = kept_triggers("credit_lots", "id", "account_id", "entry_id", "currency", "amount", "promotional")

    def __str__(self) -> str:
        return f"{self.remaining} of {self.amount} {self.currency}"


class LotTaking(Identified):
    """
    What an entry took from a lot, minor units: spending, expiry, or a debt the deposit paid off.

    Below zero where a correction gave money back. Kept as written, so that what is left of a lot can be proven.
    """

    id_prefix = "tak"

    lot = models.ForeignKey(CreditLot, on_delete=models.PROTECT, related_name="takings")
    entry = models.ForeignKey(LedgerEntry, on_delete=models.PROTECT, related_name="takings")
    amount = models.BigIntegerField()

    class Meta:
        db_table = "credit_lot_takings"
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0), name="credit_lot_takings_amount_not_zero"),
            models.UniqueConstraint(fields=["lot", "entry"], name="credit_lot_takings_once"),
        ]
        triggers = append_only_triggers("credit_lot_takings")

    def __str__(self) -> str:
        return f"{self.amount} of {self.lot_id}"
