"""Money that people create: deposits and invoice credit, directly or with the approval of a second person."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from accounts.models import Account, AccountStatus
from accounts.queries.currencies import require_currency
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.services.adjustments import ADJUSTMENT_KIND, adjust_invoice_credit
from accounts.services.approval_limits import needs_second_person
from accounts.services.deposits import DEPOSIT_KIND, deposit, is_promotional
from accounts.services.money_approvals import find_account, request_adjustment, request_deposit
from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.approvals import register_effect
from billing_site.backoffice.display import format_money
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.money import parse_major
from billing_site.platform.models import Approval

_LIMIT = "Above the limit of this installation, another person must approve it first."


class MoneyForm(ReasonForm):
    """An amount in major units."""

    amount = forms.CharField(
        max_length=30, widget=UnfoldAdminTextInputWidget(), help_text="In major units, such as 25.00."
    )
    currency = forms.CharField(
        max_length=3, required=False, widget=UnfoldAdminTextInputWidget(), help_text="Empty: the account's."
    )


class DepositForm(MoneyForm):
    """What a deposit needs besides its reason."""

    promotional = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanWidget(),
        help_text="Given away: no money was received.",
    )
    expires_in = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=36_500,
        label="Expires in days",
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Empty or 0: never.",
    )


class AdjustmentForm(MoneyForm):
    """What an adjustment needs besides its reason, which becomes its description."""

    amount = forms.CharField(
        max_length=30,
        widget=UnfoldAdminTextInputWidget(),
        help_text="In major units: 25.00 gives credit, -25.00 takes it.",
    )
    allow_negative = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanWidget(),
        label="May go below zero",
        help_text="Otherwise no more is taken than there is.",
    )


def _is_open(account: Account) -> bool:
    return account.status == AccountStatus.ACTIVE


def _read_money(account: Account, call: Call) -> tuple[int, str]:
    """Return what the form says in minor units. :raises ValidationFailed, CurrencyUnsupported: when it cannot be."""
    currency = require_currency(call.data["currency"] or account.currency)
    try:
        return parse_major(call.data["amount"].strip(), currency), currency
    except ValueError as error:
        raise ValidationFailed.of("/amount", "invalid", f"{error}.") from error


class MoneyActions:
    """The actions of an account's page that create money."""

    @service_action(
        description="Deposit",
        permission="accounts.deposit_money",
        effect=f"The amount is added to the prepaid balance of the account, as a balanced ledger entry. {_LIMIT}",
        allowed=_is_open,
        form=DepositForm,
        icon="add_card",
    )
    def deposit_money(self, request: HttpRequest, account: Account, call: Call) -> str:
        amount, currency = _read_money(account, call)
        tags = "manual,promotion" if call.data["promotional"] else "manual"
        if needs_second_person(amount=amount, actor=call.actor):
            request_deposit(
                account=account,
                amount=amount,
                currency=currency,
                at=call.at,
                actor=call.actor,
                reason=call.reason,
                tags=tags,
                expires_in=call.data["expires_in"],
            )
            return f"{format_money(amount, currency)} for {account} waits: another person must approve the deposit."
        deposit(
            account=account,
            amount=amount,
            currency=currency,
            at=call.at,
            actor=call.actor,
            notes=call.reason,
            tags=tags,
            expires_in=call.data["expires_in"],
            reason=call.reason,
        )
        return f"{format_money(amount, currency)} deposited on {account}."

    @service_action(
        description="Adjust invoice credit",
        permission="accounts.adjust_credit",
        effect=f"The amount changes the credit that settles invoices of the account. {_LIMIT}",
        allowed=_is_open,
        form=AdjustmentForm,
        icon="exposure",
    )
    def adjust_credit(self, request: HttpRequest, account: Account, call: Call) -> str:
        amount, currency = _read_money(account, call)
        if needs_second_person(amount=amount, actor=call.actor):
            request_adjustment(
                account=account, amount=amount, currency=currency, at=call.at, actor=call.actor, reason=call.reason
            )
            return f"{format_money(amount, currency)} for {account} waits: another person must approve the credit."
        adjust_invoice_credit(
            account=account,
            amount=amount,
            currency=currency,
            description=call.reason,
            at=call.at,
            actor=call.actor,
            allow_negative=call.data["allow_negative"],
            reason=call.reason,
        )
        now = get_invoice_credit(account_id=account.pk, currency=currency)
        return f"The invoice credit of {account} is {format_money(now, currency)} now."


def render_deposit(approval: Approval) -> SafeString | str:
    """Return what approving a deposit books."""
    payload = approval.payload
    source = "given away" if is_promotional(payload["tags"]) else "received"
    end = f"It expires {payload['expires_in']} days after the approval." if payload["expires_in"] else "It never ends."
    return format_html(
        "<p>{} is added to the prepaid balance as money {}. {}</p>",
        format_money(payload["amount"], payload["currency"]),
        source,
        end,
    )


def render_adjustment(approval: Approval) -> SafeString | str:
    """Return what approving an adjustment books."""
    payload, account = approval.payload, find_account(approval)
    has = 0 if account is None else get_invoice_credit(account_id=account.pk, currency=payload["currency"])
    return format_html(
        "<p>{} is added to the credit that settles invoices, which is {} now.</p>",
        format_money(payload["amount"], payload["currency"]),
        format_money(has, payload["currency"]),
    )


register_effect(DEPOSIT_KIND, render_deposit, find_subject=find_account)
register_effect(ADJUSTMENT_KIND, render_adjustment, find_subject=find_account)
