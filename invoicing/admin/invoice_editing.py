"""What people do to invoices by hand: make one, edit a draft, give one up, void and issue again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.models import Account
from accounts.queries.access import find_account
from accounts.queries.currencies import require_currency
from billing_site.backoffice.actions import Call, ObjectForm, ReasonForm, service_action
from billing_site.backoffice.display import format_money
from billing_site.kernel.errors import NotFound, ValidationFailed
from billing_site.kernel.money import parse_major
from invoicing.models import Invoice, InvoiceLine, InvoiceStatus
from invoicing.services.draft_editing import add_lines, apply_coupon, apply_discount, create_invoice, remove_line
from invoicing.services.given_lines import NewLine
from invoicing.services.invoices import find_void_obstacle
from invoicing.services.reissuing import reissue_invoice
from invoicing.services.uncollectible import mark_uncollectible

EDIT = "invoicing.edit_draft"
_AMOUNT = "In the currency of the invoice, such as 25.00; below zero for a credit."


class LineForm(ReasonForm):
    """One line."""

    description = forms.CharField(max_length=500, widget=UnfoldAdminTextInputWidget())
    amount = forms.CharField(max_length=30, help_text=_AMOUNT, widget=UnfoldAdminTextInputWidget())


class NewInvoiceForm(LineForm):
    """Whom it is for, and its first line."""

    account = forms.CharField(
        max_length=255, help_text="Id or external id of the account.", widget=UnfoldAdminTextInputWidget()
    )
    currency = forms.CharField(
        max_length=3, required=False, help_text="Empty: that of the account.", widget=UnfoldAdminTextInputWidget()
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order_fields(["account", "currency", "description", "amount", "reason"])


class RemoveLineForm(ObjectForm):
    """Which line."""

    line = forms.ChoiceField(widget=UnfoldAdminSelectWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows: list[InvoiceLine] = [] if self.obj is None else list(self.obj.lines.order_by("position"))
        field: Any = self.fields["line"]
        field.choices = [
            (row.public_id, f"{row.position}. {row.description}: {format_money(row.amount, row.currency)}")
            for row in rows
        ]


class DraftDiscountForm(ReasonForm):
    """A percentage, an amount or a coupon."""

    percent = forms.DecimalField(required=False, min_value=0, max_value=100, widget=UnfoldAdminTextInputWidget())
    amount = forms.CharField(max_length=30, required=False, widget=UnfoldAdminTextInputWidget())
    coupon = forms.CharField(max_length=64, required=False, widget=UnfoldAdminTextInputWidget())
    name = forms.CharField(max_length=255, required=False, widget=UnfoldAdminTextInputWidget())

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if sum(bool(data.get(name)) for name in ("percent", "amount", "coupon")) != 1:
            raise forms.ValidationError("Give a percentage, an amount or a coupon, one of them.")
        return data


def _is_draft(invoice: Invoice) -> bool:
    return invoice.status == InvoiceStatus.DRAFT


def _read_amount(text: str, currency: str) -> int:
    try:
        return parse_major(text.strip(), currency)
    except ValueError as error:
        raise ValidationFailed.of("/amount", "invalid", f"{text!r:.40} is no amount of {currency.upper()}.") from error


def _go_to(invoice: Invoice) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:invoicing_invoice_change", args=[invoice.pk]))


def _tell(invoice: Invoice) -> str:
    return f"The draft is over {format_money(invoice.total, invoice.currency)} now."


def _foresee_reissue(invoices: Sequence[Invoice]) -> str:
    names = ", ".join(f"{each} over {format_money(each.total, each.currency)}" for each in invoices)
    return (
        f"{names} is voided: its entry is reversed, stored money that paid it comes back. A draft with the same lines "
        "and today's addresses takes its place, names it, and can be edited before it is finalized under a new number."
    )


def _warn_of_fees(invoices: Sequence[Invoice]) -> list[str]:
    """Say which lines nobody bills again, once they are taken off."""
    rows = InvoiceLine.objects.filter(invoice__in=list(invoices), type="subscription", subscription_item__isnull=False)
    return [
        f"“{row.description}” over {format_money(row.amount, row.currency)} is let off when it is taken off: no run "
        "bills this fee again. To bill it later, leave an item for the next invoice."
        for row in rows.order_by("position")
    ]


class EditingActions:
    """The buttons of an invoice."""

    @service_action(
        description="New invoice",
        permission=EDIT,
        effect="A draft with one line is made; more lines and a discount are added on its page. It has no number "
        "and is posted nowhere before it is finalized.",
        form=NewInvoiceForm,
        confirm_label="Make the draft",
        icon="add",
    )
    def create(self, request: HttpRequest, obj: None, call: Call) -> HttpResponse:
        account = find_account(Account.objects.all(), call.data["account"])
        if account is None:
            raise NotFound("account")
        currency = require_currency(call.data["currency"].strip().lower() or account.currency)
        line = NewLine(call.data["description"], _read_amount(call.data["amount"], currency))
        return _go_to(
            create_invoice(
                account=account, lines=[line], currency=currency, at=call.at, actor=call.actor, reason=call.reason
            )
        )

    @service_action(
        description="Add line",
        permission=EDIT,
        effect="The line is added, and discount, tax and total are computed again.",
        allowed=_is_draft,
        form=LineForm,
        icon="playlist_add",
    )
    def add_line(self, request: HttpRequest, invoice: Invoice, call: Call) -> str:
        line = NewLine(call.data["description"], _read_amount(call.data["amount"], invoice.currency))
        return _tell(add_lines(invoice_id=invoice.pk, lines=[line], at=call.at, actor=call.actor, reason=call.reason))

    @service_action(
        description="Remove line",
        permission=EDIT,
        effect="The line is taken off, and discount, tax and total are computed again. What had waited for this "
        "invoice waits for the next one, and usage of a subscription comes with its next invoice.",
        warnings=_warn_of_fees,
        allowed=lambda invoice: _is_draft(invoice) and invoice.lines.exists(),
        form=RemoveLineForm,
        icon="playlist_remove",
    )
    def take_line(self, request: HttpRequest, invoice: Invoice, call: Call) -> str:
        key = InvoiceLine.parse_id(call.data["line"])
        if key is None:
            raise ValidationFailed.of("/line", "unknown", "The draft has no such line.")
        return _tell(remove_line(invoice_id=invoice.pk, line_id=key, at=call.at, actor=call.actor, reason=call.reason))

    @service_action(
        description="Discount",
        permission=EDIT,
        effect="It takes the place of the discount that the draft has, takes at most the subtotal, and tax and "
        "total are computed again. A coupon is counted as used.",
        allowed=_is_draft,
        form=DraftDiscountForm,
        icon="percent",
    )
    def put_discount(self, request: HttpRequest, invoice: Invoice, call: Call) -> str:
        data = call.data
        by: dict[str, Any] = {"invoice_id": invoice.pk, "at": call.at, "actor": call.actor, "reason": call.reason}
        if data["coupon"]:
            return _tell(apply_coupon(code=data["coupon"], name=data["name"], **by))
        amount = _read_amount(data["amount"], invoice.currency) if data["amount"] else None
        return _tell(apply_discount(percent_off=data["percent"] or None, amount_off=amount, name=data["name"], **by))

    @service_action(
        description="Give up",
        permission="invoicing.mark_uncollectible",
        effect=lambda invoices: " ".join(
            f"{format_money(each.amount_remaining, each.currency)} of {each} becomes bad debt; it can still be paid, "
            "and each payment takes its part back."
            for each in invoices
        ),
        allowed=lambda invoice: invoice.can_become(InvoiceStatus.UNCOLLECTIBLE),
        icon="money_off",
        variant="danger",
    )
    def give_up(self, request: HttpRequest, invoice: Invoice, call: Call) -> str:
        mark_uncollectible(invoice_id=invoice.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{invoice} is given up as uncollectible."

    @service_action(
        description="Void and reissue",
        permission="invoicing.void_invoice",
        effect=_foresee_reissue,
        allowed=lambda invoice: (
            invoice.number is not None and invoice.status in (InvoiceStatus.OPEN, InvoiceStatus.VOID)
        ),
        refuses=lambda _user, invoice: find_void_obstacle(invoice) if invoice.status == InvoiceStatus.OPEN else "",
        icon="restart_alt",
        variant="danger",
    )
    def reissue(self, request: HttpRequest, invoice: Invoice, call: Call) -> HttpResponse:
        return _go_to(reissue_invoice(invoice_id=invoice.pk, at=call.at, actor=call.actor, reason=call.reason))
