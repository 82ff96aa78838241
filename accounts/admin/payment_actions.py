"""Money in by hand and money out, from an account's page: record a payment, credit what is owed to a payee, pay out."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.admin.money_actions import MoneyForm
from accounts.models import Account, PaymentMethod, PaymentMethodStatus
from accounts.queries.currencies import require_currency
from accounts.services.bank_account_checks import VERIFICATION_KIND, find_confirmed_method
from accounts.services.money_approvals import find_account
from accounts.services.settlements import SETTLEMENT_KIND, get_settlement_balance, request_settlement_change
from billing_site.backoffice.actions import Call, ObjectForm, service_action
from billing_site.backoffice.approvals import register_effect
from billing_site.backoffice.display import format_money, link_to
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.money import parse_major
from billing_site.platform.models import Approval
from invoicing.models import ManualMethod
from invoicing.queries.owed import list_owed_invoices
from invoicing.services.manual_payment_approvals import record_or_request
from invoicing.services.manual_payments import NewManualPayment
from invoicing.services.payouts import PayoutRequest, create_payout

_INVOICE: Final = "invoice_"
SHOWN_INVOICES: Final = 50


class RecordForm(ObjectForm):
    """Money that came, and what it pays. Cleaned, `parts` says it in minor units by public id."""

    method = forms.ChoiceField(choices=ManualMethod.choices, widget=UnfoldAdminSelectWidget())
    amount = forms.CharField(
        max_length=30, widget=UnfoldAdminTextInputWidget(), help_text="All that came, such as 125.00."
    )
    received_on = forms.DateField(label="Received on", widget=UnfoldAdminDateWidget())
    reference = forms.CharField(
        max_length=140,
        required=False,
        help_text="The number of the cheque or the like.",
        widget=UnfoldAdminTextInputWidget(),
    )
    note = forms.CharField(max_length=1000, required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        account: Account = self.obj
        self.currency = account.currency
        owed = list_owed_invoices(account_id=account.pk, currency=account.currency)[:SHOWN_INVOICES]
        self.invoices = {f"{_INVOICE}{number}": invoice for number, invoice in enumerate(owed, start=1)}
        for name, invoice in self.invoices.items():
            self.fields[name] = forms.CharField(
                max_length=30,
                required=False,
                label=f"Of {invoice}",
                help_text=f"{format_money(invoice.amount_remaining, invoice.currency)} remain.",
                widget=UnfoldAdminTextInputWidget(),
            )
        self.fields["amount"].help_text = f"All that came, in {self.currency.upper()}, such as 125.00."
        self.order_fields(["method", "amount", "received_on", "reference", *self.invoices, "note", "reason"])

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        data["minor"] = self._read("amount", data.get("amount", ""))
        data["parts"] = [
            (invoice.public_id, self._read(name, data.pop(name)))
            for name, invoice in self.invoices.items()
            if (data.get(name) or "").strip()
        ]
        return data

    def _read(self, name: str, text: str) -> int:
        """Return minor units; what cannot be read is an error of the field."""
        try:
            return parse_major(text.strip(), self.currency)
        except ValueError:
            self.add_error(name, f"{text!r:.40} is no amount of {self.currency.upper()}.")
            return 0


class SettlementForm(MoneyForm):
    """How much more, or less, is owed to a payee."""

    amount = forms.CharField(
        max_length=30, widget=UnfoldAdminTextInputWidget(), help_text="25.00 is owed more, -25.00 less."
    )
    source = forms.ChoiceField(
        choices=[
            ("received", "was received for the payee"),
            ("share", "is the payee's share of what we invoiced"),
        ],
        label="The money",
        widget=UnfoldAdminSelectWidget(),
    )


class PayoutForm(ObjectForm):
    """How much is sent where."""

    amount = forms.CharField(max_length=30, widget=UnfoldAdminTextInputWidget(), help_text="Such as 25.00.")
    destination = forms.ChoiceField(widget=UnfoldAdminSelectWidget(), help_text="A verified method of the payee.")
    description = forms.CharField(max_length=500, required=False, widget=UnfoldAdminTextInputWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        account: Account = self.obj
        owed = get_settlement_balance(account=account, currency=account.currency)
        self.fields["amount"].help_text = f"{format_money(owed, account.currency)} are owed."
        rows = PaymentMethod.objects.filter(
            account=account, status=PaymentMethodStatus.ATTACHED, verified_at__isnull=False
        )
        destination: Any = self.fields["destination"]
        destination.choices = [(each.public_id, f"{each} ({each.get_type_display()})") for each in rows]


def _read_amount(text: str, currency: str) -> int:
    try:
        return parse_major(text.strip(), currency)
    except ValueError as error:
        raise ValidationFailed.of("/amount", "invalid", f"{error}.") from error


class PaymentActions:
    """The actions of an account's page that move money in and out."""

    @service_action(
        description="Record a payment",
        permission="invoicing.record_manual_payment",
        effect="Money that came by cheque, in cash or by wire pays the invoices you give a part to; the rest becomes "
        "invoice credit. Above the limit of this installation, another person must approve it first.",
        form=RecordForm,
        icon="receipt",
    )
    def record_payment(self, request: HttpRequest, account: Account, call: Call) -> str:
        data = call.data
        new = NewManualPayment(
            method=data["method"],
            amount=data["minor"],
            currency=account.currency,
            received_on=data["received_on"],
            parts=data["parts"],
            reference=data["reference"],
            note=data["note"],
        )
        done = record_or_request(account=account, new=new, at=call.at, actor=call.actor, reason=call.reason)
        shown = format_money(new.amount, new.currency)
        if isinstance(done, Approval):
            return f"{shown} of {account} wait: another person must approve the payment."
        return f"{shown} of {account} are recorded."

    @service_action(
        description="Change the settlement balance",
        permission="accounts.credit_settlement",
        effect="What is owed to the payee, and can be paid out, changes when another person has approved it.",
        form=SettlementForm,
        icon="savings",
    )
    def credit_settlement(self, request: HttpRequest, account: Account, call: Call) -> str:
        currency = require_currency(call.data["currency"] or account.currency)
        amount = _read_amount(call.data["amount"], currency)
        request_settlement_change(
            account=account,
            amount=amount,
            currency=currency,
            source=call.data["source"],
            at=call.at,
            actor=call.actor,
            reason=call.reason,
        )
        return f"{format_money(amount, currency)} for {account} wait: another person must approve it."

    @service_action(
        description="Pay out",
        permission="invoicing.create_payout",
        effect="The money is held at once and sent to the destination you choose. Above the limit of this "
        "installation, another person must approve it first.",
        form=PayoutForm,
        icon="output",
    )
    def pay_out(self, request: HttpRequest, account: Account, call: Call) -> str:
        data = call.data
        method = PaymentMethod.objects.get(pk=PaymentMethod.parse_id(data["destination"]) or "", account=account)
        asked = PayoutRequest(
            amount=_read_amount(data["amount"], account.currency),
            currency=account.currency,
            destination_type=method.type,
            destination_id=method.public_id,
            description=data["description"],
        )
        payout = create_payout(account=account, request=asked, at=call.at, actor=call.actor, reason=call.reason)
        shown = format_money(payout.amount, payout.currency)
        if payout.approval is not None:
            return f"{shown} for {account} are held: another person must approve the payout."
        return f"{shown} are on their way to {method}."


def render_settlement(approval: Approval) -> SafeString | str:
    """Return what approving a change of a settlement balance books."""
    payload, account = approval.payload, find_account(approval)
    now = 0 if account is None else get_settlement_balance(account=account, currency=payload["currency"])
    return format_html(
        "<p>{} ({}); {} are owed now.</p>",
        format_money(payload["amount"], payload["currency"]),
        "received for the payee" if payload["source"] == "received" else "share of what we invoiced",
        format_money(now, payload["currency"]),
    )


def render_confirmation(approval: Approval) -> SafeString | str:
    """Return which bank account is confirmed."""
    method = find_confirmed_method(approval)
    if method is None:
        return "The payment method is gone."
    return format_html(
        "<p>{} of {} is the payee's own: money can be paid out to it.</p>", link_to(method), link_to(method.account)
    )


register_effect(SETTLEMENT_KIND, render_settlement, find_subject=find_account)
register_effect(VERIFICATION_KIND, render_confirmation, find_subject=find_confirmed_method)
