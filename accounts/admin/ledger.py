"""The ledger, to look at. Nothing here is ever edited."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.enums import ActionVariant

from accounts.admin.inlines import natural_balance
from accounts.models import CreditLot, Hold, HoldStatus, LedgerAccount, LedgerEntry, LotTaking, Posting
from accounts.services.holds import void_hold
from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    format_money,
    json_display,
    link_display,
    link_to,
    money,
    money_display,
    status_badge,
    timestamp_display,
)


class PostingInline(ReadOnlyInline):
    """The legs of an entry: debits and credits."""

    model = Posting
    verbose_name_plural = "Postings"
    fields: tuple[str, ...] = ("pot", "debit", "credit")
    readonly_fields: tuple[str, ...] = fields
    ordering = ("id",)

    @admin.display(description="Ledger account")
    def pot(self, posting: Posting) -> SafeString | str:
        return link_to(posting.ledger_account, describe_pot(posting.ledger_account))

    @admin.display(description="Debit")
    def debit(self, posting: Posting) -> SafeString | str:
        return money(posting.amount, posting.currency) if posting.amount > 0 else ""

    @admin.display(description="Credit")
    def credit(self, posting: Posting) -> SafeString | str:
        return money(-posting.amount, posting.currency) if posting.amount < 0 else ""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Posting]:
        rows: QuerySet[Posting] = super().get_queryset(request)
        return rows.select_related("ledger_account__account")


class MovementInline(PostingInline):
    """The movements of one ledger account, newest first."""

    verbose_name_plural = "Movements"
    fields = ("entry_link", "when", "debit", "credit")
    readonly_fields = fields
    ordering = ("-id",)
    entry_link = link_display("entry", description="Entry")
    when = timestamp_display("entry.created_at", description="When", zone="ledger_account.account.timezone")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Posting]:
        return super().get_queryset(request).select_related("entry")


class TakingInline(ReadOnlyInline):
    """What was taken from a deposit, newest first; below zero where a correction gave back."""

    model = LotTaking
    verbose_name_plural = "Taken"
    fields = ("entry_link", "when", "amount_shown")
    readonly_fields = fields
    ordering = ("-id",)
    entry_link = link_display("entry", description="Entry")
    when = timestamp_display("entry.created_at", description="When", zone="lot.account.timezone")

    @admin.display(description="Amount")
    def amount_shown(self, taking: LotTaking) -> SafeString | str:
        return money(taking.amount, taking.lot.currency)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LotTaking]:
        rows: QuerySet[LotTaking] = super().get_queryset(request)
        return rows.select_related("entry", "lot__account")


def describe_pot(pot: LedgerAccount) -> str:
    """Return whose pot it is, and which: `Prepaid of Acme`, `Platform revenue`."""
    kind = pot.get_kind_display()
    return f"Platform {kind.lower()}" if pot.account is None else f"{kind} of {pot.account}"


@admin.register(LedgerEntry)
class LedgerEntryAdmin(BackOfficeAdmin):
    """Every movement of money, with its postings."""

    financial = True
    nav_icon = "menu_book"
    nav_order = 50
    empty_title = "No entry yet"
    empty_text = "Deposits and issued invoices are booked here."
    list_display = ("key", "type", "account_link", "description", "tags", "when")
    list_filter = ("type", "created_at")
    list_select_related = ("account",)
    search_fields = ("=key", "account__external_id__iexact", "account__email__iexact")
    search_help_text = "An exact key, an id such as txn_…, or the account's external id or e-mail"
    inlines = (PostingInline,)
    fields = (
        ("key", "type"),
        ("account_link", "when"),
        "description",
        ("tags", "expires"),
        ("reverses_link", "public_id"),
        "shown_metadata",
    )
    readonly_fields = (
        "key",
        "type",
        "account_link",
        "when",
        "description",
        "tags",
        "expires",
        "reverses_link",
        "public_id",
        "shown_metadata",
    )
    account_link = link_display("account", description="Account", ordering="account__name")
    reverses_link = link_display("reverses", description="Reverses")
    when = timestamp_display("created_at", description="When")
    expires = timestamp_display("expires_at", description="Expires")
    shown_metadata = json_display("metadata", description="Metadata")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LedgerEntry], search_term: str
    ) -> tuple[QuerySet[LedgerEntry], bool]:
        key = LedgerEntry.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates


@admin.register(LedgerAccount)
class LedgerAccountAdmin(BackOfficeAdmin):
    """Pots and their balances; what is owed or earned counts as positive."""

    financial = True
    nav_icon = "account_balance_wallet"
    nav_order = 60
    empty_title = "No ledger account yet"
    empty_text = "The first booking opens them."
    list_display = ("label", "type", "account_link", "shown_balance")
    list_filter = ("kind", "type", "currency")
    list_select_related = ("account",)
    search_fields = ("account__name", "account__external_id__iexact")
    inlines = (MovementInline,)
    fields = (("label", "type"), ("account_link", "shown_balance"))
    readonly_fields = ("label", "type", "account_link", "shown_balance")
    account_link = link_display("account", description="Account", ordering="account__name")

    @admin.display(description="Ledger account", ordering="kind")
    def label(self, pot: LedgerAccount) -> str:
        return describe_pot(pot)

    @admin.display(description="Balance", ordering="balance")
    def shown_balance(self, pot: LedgerAccount) -> SafeString | str:
        return money(natural_balance(pot), pot.currency)


@admin.register(CreditLot)
class CreditLotAdmin(BackOfficeAdmin):
    """Deposits: what each had and what is left of it."""

    financial = True
    nav_icon = "redeem"
    nav_order = 70
    nav_title = "Deposits"
    empty_title = "No deposit yet"
    empty_text = "Open an account and choose Deposit."
    list_display = ("account_link", "amount_shown", "remaining_shown", "promotional", "expires", "when")
    list_filter = ("promotional", "currency", "expires_at")
    list_select_related = ("account", "entry")
    search_fields = ("account__name", "account__external_id__iexact", "account__email__iexact")
    inlines = (TakingInline,)
    fields = (
        ("account_link", "entry_link"),
        ("amount_shown", "remaining_shown"),
        ("promotional", "expires"),
        ("when", "public_id"),
    )
    readonly_fields = (
        "account_link",
        "entry_link",
        "amount_shown",
        "remaining_shown",
        "promotional",
        "expires",
        "when",
        "public_id",
    )
    account_link = link_display("account", description="Account", ordering="account__name")
    entry_link = link_display("entry", description="Ledger entry")
    amount_shown = money_display("amount")
    remaining_shown = money_display("remaining", description="Left")
    expires = timestamp_display("expires_at", description="Expires")
    when = timestamp_display("created_at", description="Deposited")


def _is_pending(hold: Hold) -> bool:
    return hold.status == HoldStatus.PENDING


@admin.register(Hold)
class HoldAdmin(BackOfficeAdmin):
    """Prepaid money set aside: for how long, and what became of it."""

    financial = True
    nav_icon = "front_hand"
    nav_order = 75
    empty_title = "No hold yet"
    empty_text = "Money that is set aside for a charge to come appears here."
    list_display = ("account_link", "amount_shown", "state", "captured_shown", "description", "expires", "ended")
    list_filter = ("status", "currency", "expires_at")
    list_select_related = ("account",)
    search_fields = ("=key", "account__name", "account__external_id__iexact", "account__email__iexact")
    actions_detail = ("let_go",)
    fields = (
        ("account_link", "state"),
        ("amount_shown", "captured_shown"),
        ("when", "expires", "ended"),
        ("key", "entry_link"),
        ("description", "public_id"),
        "shown_metadata",
    )
    readonly_fields = (
        "account_link",
        "state",
        "amount_shown",
        "captured_shown",
        "when",
        "expires",
        "ended",
        "key",
        "entry_link",
        "description",
        "public_id",
        "shown_metadata",
    )
    account_link = link_display("account", description="Account", ordering="account__name")
    entry_link = link_display("entry", description="Ledger entry")
    amount_shown = money_display("amount")
    captured_shown = money_display("captured_amount", description="Captured")
    state = status_badge(tones={"captured": "good"})
    when = timestamp_display("created_at", description="Held")
    expires = timestamp_display("expires_at", description="Until")
    ended = timestamp_display("ended_at", description="Ended")
    shown_metadata = json_display("metadata", description="Metadata")

    @service_action(
        description="Let go",
        permission="accounts.cancel_hold",
        effect="The money is free again: it can be spent, withdrawn, and expires when its time is over.",
        allowed=_is_pending,
        icon="lock_open",
        variant=ActionVariant.DANGER,
    )
    def let_go(self, request: HttpRequest, hold: Hold, call: Call) -> str:
        void_hold(hold_id=hold.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{format_money(hold.amount, hold.currency)} of {hold.account} is free again."
