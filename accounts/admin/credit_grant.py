"""Credit grants: what accounts hold, what it paid, giving it and taking it back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from accounts.models import Account, AccountStatus, CreditBurn, CreditGrant
from accounts.queries.credit_grants import with_details
from accounts.queries.currencies import require_currency
from accounts.services.credit_approvals import find_account, grant_or_request
from accounts.services.credit_grants import GRANT_KIND, MAX_PRIORITY, void_grant
from accounts.terms.burning import is_usable
from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.approvals import register_effect
from billing_site.backoffice.display import (
    badge,
    format_money,
    json_display,
    link_display,
    link_to,
    money,
    money_display,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.money import parse_major
from billing_site.platform.models import Approval

GRANT = "accounts.grant_credit"
VOID = "accounts.cancel_creditgrant"


def get_state(grant: CreditGrant) -> tuple[str, str]:
    """Return whether the grant can pay now, as a word and its tone."""
    now = clock.now(grant.account)
    if grant.is_voided:
        return "void", "bad"
    if grant.is_ended(now):
        return "ended", "neutral"
    if not grant.remaining:
        return "spent", "neutral"
    return ("usable", "good") if is_usable(grant.as_burnable(), now) else ("to come", "info")


class _GrantColumns:
    """What lists and pages show of a grant."""

    left = money_display("remaining", description="Left")
    granted = money_display("amount", description="Granted")
    effective = timestamp_display("effective_at", description="Usable from")
    ends = timestamp_display("expires_at", description="Ends")

    @admin.display(description="State")
    def state(self, grant: CreditGrant) -> SafeString:
        return badge(*get_state(grant))

    @admin.display(description="Pays")
    def pays(self, grant: CreditGrant) -> str:
        meters = ", ".join(limit.meter.display_name for limit in grant.limits.all())
        what = f"usage of {meters}" if meters else "everything and tax"
        return f"{what}, of one subscription" if grant.subscription_id else what


class CreditGrantInline(_GrantColumns, ReadOnlyInline):
    """The credit of an account, newest first."""

    model = CreditGrant
    verbose_name_plural = "Credit"
    fields = ("grant", "granted", "left", "state", "pays", "ends")
    readonly_fields = fields
    ordering = ("-id",)
    per_page = 20

    @admin.display(description="Grant")
    def grant(self, grant: CreditGrant) -> SafeString | str:
        return link_to(grant)

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditGrant]:
        rows: QuerySet[CreditGrant] = super().get_queryset(request)
        return with_details(rows)


class BurnInline(ReadOnlyInline):
    """What a grant paid, newest first."""

    model = CreditBurn
    verbose_name_plural = "Paid"
    fields = ("entry_link", "when", "charge", "meter", "paid")
    readonly_fields = fields
    ordering = ("-id",)
    per_page = 50
    entry_link = link_display("entry", description="Ledger entry")
    when = timestamp_display("created_at", zone="grant.account.timezone", description="When")
    paid = money_display("amount", "grant.currency", description="Amount")

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditBurn]:
        rows: QuerySet[CreditBurn] = super().get_queryset(request)
        return rows.select_related("entry", "grant__account")


@admin.register(CreditGrant)
class CreditGrantAdmin(_GrantColumns, BackOfficeAdmin):
    """Credit of all accounts: given away or bought, what is left of it, and what it paid."""

    financial = True
    nav_icon = "loyalty"
    nav_order = 45
    nav_title = "Credit grants"
    empty_title = "No credit yet"
    empty_text = "Credit pays invoices before money does. Open an account and choose “Grant credit”."
    list_display = ("__str__", "account_link", "granted", "left", "state", "priority", "tags", "ends")
    list_filter = ("promotional", "currency", "effective_at")
    search_fields = ("name", "tags", "account__name", "account__external_id__iexact", "account__email__iexact")
    search_help_text = "Name, tags, account, or an id such as cgr_…"
    actions_detail = ("void",)
    inlines = (BurnInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("account_link", "state"),
                    ("granted", "left"),
                    ("spent_shown", "released_shown"),
                    ("effective", "ends"),
                    ("pays", "priority"),
                    ("promotional", "tags"),
                    ("entry_link", "public_id"),
                )
            },
        ),
        ("Each period", {"fields": (("recurring_shown", "rolled_over_shown"), ("before_link", "renews"))}),
        ("Voided", {"fields": (("voided", "voided_by"), "void_reason")}),
        ("History", {"fields": ("shown_metadata", "timeline")}),
    )
    readonly_fields = (
        "account_link",
        "state",
        "granted",
        "left",
        "spent_shown",
        "released_shown",
        "effective",
        "ends",
        "pays",
        "priority",
        "promotional",
        "tags",
        "entry_link",
        "public_id",
        "recurring_shown",
        "rolled_over_shown",
        "before_link",
        "renews",
        "voided",
        "voided_by",
        "void_reason",
        "shown_metadata",
        "timeline",
    )
    account_link = link_display("account", description="Account", ordering="account__name")
    entry_link = link_display("entry", description="Ledger entry")
    before_link = link_display("renewed_from", description="Period before")
    spent_shown = money_display("spent", description="Paid", ordering=False)
    released_shown = money_display("released", description="Taken back")
    recurring_shown = money_display("recurring_amount", description="Set back to")
    rolled_over_shown = money_display("rolled_over", description="Rolled over")
    renews = timestamp_display("renews_at", description="Next period")
    voided = timestamp_display("voided_at", description="Voided")
    shown_metadata = json_display("metadata", description="Metadata")
    timeline = timeline_display()

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditGrant]:
        rows: QuerySet[CreditGrant] = super().get_queryset(request)
        return with_details(rows).select_related("entry", "renewed_from")

    def get_fieldsets(self, request: HttpRequest, obj: CreditGrant | None = None) -> Any:
        """Leave out what does not concern this grant."""
        unneeded = set()
        if obj is not None and obj.recurring_amount is None:
            unneeded.add("Each period")
        if obj is not None and not obj.is_voided:
            unneeded.add("Voided")
        return [part for part in super().get_fieldsets(request, obj) if part[0] not in unneeded]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[CreditGrant], search_term: str
    ) -> tuple[QuerySet[CreditGrant], bool]:
        key = CreditGrant.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    @service_action(
        description="Void",
        permission=VOID,
        effect="What is left can no longer be used. What it paid stays paid; a recurring one is not renewed.",
        warnings=lambda grants: [
            f"{format_money(grant.remaining, grant.currency)} will be taken from {grant.account}."
            for grant in grants
            if grant.remaining
        ],
        allowed=lambda grant: not grant.is_voided,
        icon="block",
        variant="danger",
    )
    def void(self, request: HttpRequest, grant: CreditGrant, call: Call) -> str:
        done = void_grant(grant_id=grant.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{done} is void."


class GrantForm(ReasonForm):
    """What credit needs besides its reason."""

    amount = forms.CharField(
        max_length=30, widget=UnfoldAdminTextInputWidget(), help_text="In major units, such as 25.00."
    )
    currency = forms.CharField(
        max_length=3, required=False, widget=UnfoldAdminTextInputWidget(), help_text="Empty: the account's."
    )
    name = forms.CharField(
        max_length=255, required=False, widget=UnfoldAdminTextInputWidget(), help_text="Shown to the customer."
    )
    expires_in = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=36_500,
        label="Ends in days",
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Empty or 0: never.",
    )
    priority = forms.IntegerField(
        initial=0,
        min_value=-MAX_PRIORITY,
        max_value=MAX_PRIORITY,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Lower burns first.",
    )
    meters = forms.CharField(
        max_length=1000,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Event names of meters whose usage alone it pays, with commas. Empty: every line and tax.",
    )
    tags = forms.CharField(
        max_length=255,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="“paid” marks credit that was paid for; anything else was given away.",
    )


def _describe_granting(_accounts: Sequence[Account]) -> str:
    first = "The account gets credit that pays its next invoices before money does, as a balanced ledger entry."
    limit = settings.BILLING_APPROVAL_LIMIT
    return f"{first} Above {limit} minor units of its currency another person must approve it first."


class GrantCreditAction:
    """The button on an account's page."""

    @service_action(
        description="Grant credit",
        permission=GRANT,
        effect=_describe_granting,
        allowed=lambda account: account.status == AccountStatus.ACTIVE,
        form=GrantForm,
        icon="redeem",
    )
    def grant_credit(self, request: HttpRequest, account: Account, call: Call) -> str:
        currency = require_currency(call.data["currency"] or account.currency)
        try:
            amount = parse_major(call.data["amount"].strip(), currency)
        except ValueError as error:
            raise ValidationFailed.of("/amount", "invalid", f"{error}.") from error
        days = call.data["expires_in"]
        given = grant_or_request(
            account=account,
            amount=amount,
            currency=currency,
            name=call.data["name"],
            expires_at=call.at + timedelta(days=days) if days else None,
            priority=call.data["priority"],
            eligibility=[name.strip() for name in call.data["meters"].split(",") if name.strip()],
            tags=call.data["tags"],
            at=call.at,
            actor=call.actor,
            reason=call.reason,
        )
        shown = format_money(amount, currency)
        if isinstance(given, Approval):
            return f"{shown} of credit for {account} waits for the approval of another person."
        return f"{shown} of credit granted to {account}."


def render_grant(approval: Approval) -> SafeString | str:
    """Return what approving a request for credit gives, and to whom."""
    terms = approval.payload
    limits = f"usage of {', '.join(terms['eligibility'])}" if terms["eligibility"] else "every line and tax"
    return format_html(
        "<p>{} gets {} of credit. It pays {}, {}.</p>",
        link_to(find_account(approval)),
        money(terms["amount"], terms["currency"]),
        limits,
        f"until {terms['expires_at'][:10]}" if terms["expires_at"] else "without an end",
    )


register_effect(GRANT_KIND, render_grant, find_subject=find_account)
