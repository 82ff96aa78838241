"""Bank transfers: the review list, matching by hand, and the references that payers quote."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from accounts.models import Account
from accounts.queries.access import find_account
from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.approvals import register_effect
from billing_site.backoffice.display import (
    NOTHING,
    format_money,
    link_display,
    link_to,
    money_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.platform.models import Approval
from invoicing.models import (
    BankTransfer,
    BankTransferInstruction,
    BankTransferStatus,
    BankTransferUse,
    InstructionStatus,
)
from invoicing.queries.bank_candidates import list_candidates
from invoicing.services.bank_instructions import expire_instruction
from invoicing.services.bank_transfer_matching import (
    MATCH_KIND,
    find_matched_transfer,
    find_matching_account,
    match_or_request,
)
from invoicing.services.bank_transfer_reviews import dismiss_transfer, restore_transfer

MATCH = "invoicing.match_bank_transfer"
DISMISS = "invoicing.dismiss_bank_transfer"
EXPIRE = "invoicing.expire_bank_instruction"


class MatchForm(ReasonForm):
    """Whose money a transfer is."""

    account = forms.CharField(
        max_length=255,
        help_text="Id or external id of the account.",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "acme/alice"}),
    )
    apply_to_invoices = forms.BooleanField(
        required=False,
        label="Settle what is owed",
        help_text="Oldest invoice first; otherwise all of it stays invoice credit.",
        widget=UnfoldBooleanSwitchWidget(),
    )

    def clean_account(self) -> Account:
        found = find_account(Account.objects.select_related("test_clock"), self.cleaned_data["account"].strip())
        if found is None:
            raise forms.ValidationError("There is no account with this id or external id.")
        return found


class BankTransferUseInline(ReadOnlyInline):
    """What was settled when the transfer was booked."""

    model = BankTransferUse
    verbose_name_plural = "Settled with it"
    fields = ("invoice_link", "shown_amount")
    readonly_fields = fields
    shown_amount = money_display("amount", "transfer.currency", description="Amount")

    @admin.display(description="Invoice")
    def invoice_link(self, use: BankTransferUse) -> SafeString | str:
        return link_to(use.invoice)

    def get_queryset(self, request: HttpRequest) -> QuerySet[BankTransferUse]:
        rows: QuerySet[BankTransferUse] = super().get_queryset(request)
        return rows.select_related("invoice", "transfer")


def _waits(transfer: BankTransfer) -> bool:
    return transfer.status == BankTransferStatus.UNMATCHED


def _is_dismissed(transfer: BankTransfer) -> bool:
    return transfer.status == BankTransferStatus.DISMISSED


@admin.register(BankTransfer)
class BankTransferAdmin(BackOfficeAdmin):
    """Every transfer that arrived. What waits is matched by hand, or dismissed."""

    financial = True
    nav_icon = "account_balance"
    nav_order = 33
    nav_title = "Bank transfers"
    empty_title = "No transfer has arrived yet"
    empty_text = "Transfers come through the API. Those that quote no active reference wait here for you."
    list_display = ("label", "state", "shown_amount", "reference", "payer_name", "account_link", "received")
    list_filter = ("status", "mismatch", "source", "currency")
    list_select_related = ("account",)
    search_fields = ("=bank_transaction_id", "reference", "payer_name", "text", "account__name")
    search_help_text = "The bank's id, a reference, a payer, an account's name, or an id such as bt_…"
    actions_detail = ("match", "dismiss", "restore")
    inlines = (BankTransferUseInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("label", "state"),
                    ("shown_amount", "received"),
                    ("reference", "mismatch"),
                    ("payer_name", "payer_account"),
                    "text",
                    ("account_link", "instruction_link"),
                    ("entry_link", "approval_link"),
                    ("source", "public_id"),
                    "dismiss_reason",
                )
            },
        ),
        ("Who it may be from", {"fields": ("candidates",)}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("label", "state", "shown_amount", "received", "account_link", "instruction_link", "entry_link"),
        *("approval_link", "public_id", "candidates", "timeline"),
    )
    state = status_badge(tones={"matched": "good", "unmatched": "warn", "dismissed": "neutral"})
    shown_amount = money_display("amount", description="Amount")
    received = timestamp_display("received_at", description="Received")
    account_link = link_display("account", description="Account")
    instruction_link = link_display("instruction", description="By the reference of")
    entry_link = link_display("entry", description="Ledger entry")
    approval_link = link_display("approval", description="Approved")
    timeline = timeline_display()

    @admin.display(description="Bank transaction", ordering="bank_transaction_id")
    def label(self, transfer: BankTransfer) -> str:
        return str(transfer)

    @admin.display(description="")
    def candidates(self, transfer: BankTransfer) -> SafeString | str:
        found = list_candidates(transfer)
        if not found:
            return "Nothing in it points to an account."
        rows = ((link_to(each.account), ", ".join(each.reasons)) for each in found)
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}: {}</li>", rows))

    def get_fieldsets(self, request: HttpRequest, obj: BankTransfer | None = None) -> list[object]:
        """Candidates are shown while somebody has to choose."""
        waits = obj is not None and _waits(obj)
        return [part for part in super().get_fieldsets(request, obj) if waits or part[0] != "Who it may be from"]

    def get_inlines(self, request: HttpRequest, obj: BankTransfer | None = None) -> Any:
        """Only what is booked settled something."""
        return self.inlines if obj is not None and obj.status == BankTransferStatus.MATCHED else ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[BankTransfer]:
        rows: QuerySet[BankTransfer] = super().get_queryset(request)
        return rows.select_related("account__test_clock", "instruction", "entry", "approval")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[BankTransfer], search_term: str
    ) -> tuple[QuerySet[BankTransfer], bool]:
        key = BankTransfer.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    @service_action(
        description="Match by hand",
        permission=MATCH,
        effect="The money becomes invoice credit of the account you name. Above the limit of this installation, "
        "another person must approve it first. A booked transfer is not matched again.",
        allowed=_waits,
        form=MatchForm,
        icon="link",
        variant="primary",
    )
    def match(self, request: HttpRequest, transfer: BankTransfer, call: Call) -> str:
        account = call.data["account"]
        done = match_or_request(
            transfer_id=transfer.pk,
            account=account,
            at=call.at,
            actor=call.actor,
            reason=call.reason,
            apply_to_invoices=call.data["apply_to_invoices"],
        )
        shown = format_money(transfer.amount, transfer.currency)
        if isinstance(done, Approval):
            return f"{shown} for {account} wait: another person must approve the match."
        return f"{shown} are invoice credit of {account} now."

    @service_action(
        description="Dismiss",
        permission=DISMISS,
        effect="The transfer is nobody's payment: nothing is booked, it leaves the review list and stays on record.",
        allowed=_waits,
        icon="block",
        variant="danger",
    )
    def dismiss(self, request: HttpRequest, transfer: BankTransfer, call: Call) -> str:
        dismiss_transfer(transfer_id=transfer.pk, at=call.at, actor=call.actor, reason=call.reason)
        return "The transfer is dismissed."

    @service_action(
        description="Put back",
        permission=DISMISS,
        effect="The transfer waits for review again.",
        allowed=_is_dismissed,
        icon="undo",
    )
    def restore(self, request: HttpRequest, transfer: BankTransfer, call: Call) -> str:
        restore_transfer(transfer_id=transfer.pk, at=call.at, actor=call.actor, reason=call.reason)
        return "The transfer waits for review again."


@admin.register(BankTransferInstruction)
class BankTransferInstructionAdmin(BackOfficeAdmin):
    """What accounts were told to pay to, and to quote."""

    financial = True
    nav_icon = "pin"
    nav_order = 34
    nav_title = "Bank references"
    empty_title = "No reference was issued yet"
    empty_text = "Your application issues bank details with a reference to an account through the API."
    list_display = ("reference", "account_link", "type", "currency", "state", "bank_name", "account_number")
    list_filter = ("status", "type", "currency")
    list_select_related = ("account",)
    search_fields = ("=reference", "account__name", "account__external_id__iexact")
    search_help_text = "A reference, or the account's name or external id"
    actions_detail = ("expire",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("reference", "state"),
                    ("account_link", "currency"),
                    ("type", "bank_name"),
                    ("account_holder", "account_number"),
                    ("routing_number", "bic"),
                    "iban",
                    ("public_id", "ended"),
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = ("state", "account_link", "public_id", "ended", "timeline")
    state = status_badge(tones={"active": "good"})
    account_link = link_display("account", description="Account", ordering="account__name")
    ended = timestamp_display("expired_at", zone="account.timezone", description="Expired")
    timeline = timeline_display()

    @service_action(
        description="Expire",
        permission=EXPIRE,
        effect="Transfers that quote this reference are not booked by themselves any more: they wait for review.",
        allowed=lambda instruction: instruction.can_become(InstructionStatus.EXPIRED),
        icon="timer_off",
        variant="danger",
    )
    def expire(self, request: HttpRequest, instruction: BankTransferInstruction, call: Call) -> str:
        expire_instruction(instruction_id=instruction.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{instruction} has expired."


def render_match(approval: Approval) -> SafeString | str:
    """Return what approving a match books."""
    transfer, account = find_matched_transfer(approval), find_matching_account(approval)
    if transfer is None or account is None:
        return "The transfer or the account is gone."
    then = "It then settles what is owed, oldest first." if approval.payload["apply_to_invoices"] else ""
    return format_html(
        "<p>{} from {} (quoted: {}) become invoice credit of {}. {}</p>",
        format_money(transfer.amount, transfer.currency),
        transfer.payer_name or "an unnamed payer",
        transfer.reference or NOTHING,
        link_to(account),
        then,
    )


register_effect(MATCH_KIND, render_match, find_subject=find_matched_transfer)
