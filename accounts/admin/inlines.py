"""What an account's page shows below its profile."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts.models import LedgerAccount, LedgerEntry, LedgerKind, LedgerType, Member
from billing_site.backoffice.admin import ReadOnlyInline
from billing_site.backoffice.display import (
    NOTHING,
    link_to,
    money,
    timestamp_display,
)

CREDIT_TYPES = (LedgerType.LIABILITY, LedgerType.REVENUE)


def natural_balance(pot: LedgerAccount) -> int:
    """Return the balance as people read it: what is owed or earned counts as positive."""
    return -pot.balance if pot.type in CREDIT_TYPES else pot.balance


class MemberInline(ReadOnlyInline):
    model = Member
    verbose_name_plural = "Members"
    fields = ("person", "role", "user_id", "email", "since")
    readonly_fields = fields
    since = timestamp_display("added_at", description="Since")

    @admin.display(description="Person")
    def person(self, member: Member) -> SafeString | str:
        return link_to(member)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        rows: QuerySet[Member] = super().get_queryset(request)
        return rows.select_related("account")


class BalanceInline(ReadOnlyInline):
    model = LedgerAccount
    verbose_name_plural = "Balances"
    fields = ("pot", "type", "amount")
    readonly_fields = fields

    @admin.display(description="Pot")
    def pot(self, ledger_account: LedgerAccount) -> SafeString | str:
        return link_to(ledger_account, f"{ledger_account.get_kind_display()} {ledger_account.currency.upper()}")

    @admin.display(description="Balance")
    def amount(self, ledger_account: LedgerAccount) -> SafeString | str:
        return money(natural_balance(ledger_account), ledger_account.currency)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerAccount]:
        rows: QuerySet[LedgerAccount] = super().get_queryset(request)
        return rows.select_related("account")


class EntryInline(ReadOnlyInline):
    model = LedgerEntry
    verbose_name_plural = "Ledger entries"
    fields = ("entry", "when", "description", "tags", "moved")
    readonly_fields = fields
    ordering = ("-id",)
    per_page = 20
    when = timestamp_display("created_at", description="When")

    @admin.display(description="Entry")
    def entry(self, entry: LedgerEntry) -> SafeString | str:
        return link_to(entry, entry.type)

    @admin.display(description="On the account")
    def moved(self, entry: LedgerEntry) -> SafeString | str:
        """The part of the account's own pots: what was owed to the customer counts as positive."""
        own = [posting for posting in entry.postings.all() if posting.ledger_account.account_id is not None]
        if not own:
            return NOTHING
        first = own[0]
        sign = 1 if first.ledger_account.kind == LedgerKind.RECEIVABLE else -1
        return money(sign * first.amount, first.currency)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerEntry]:
        rows: QuerySet[LedgerEntry] = super().get_queryset(request)
        return rows.select_related("account").prefetch_related("postings__ledger_account")
