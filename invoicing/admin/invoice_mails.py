"""Mails of an invoice in the back office: what became of them, and sending one again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminEmailInputWidget

from billing_site.backoffice.actions import Call, ObjectForm, service_action
from billing_site.backoffice.admin.notices import render_notices
from invoicing.models import Invoice, InvoiceStatus
from invoicing.services.invoice_mails import get_recipient, send_invoice_again


class RecipientForm(ObjectForm):
    """To whom."""

    recipient = forms.EmailField(max_length=254, label="To", widget=UnfoldAdminEmailInputWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.obj is not None:
            self.fields["recipient"].initial = get_recipient(self.obj)


def _foresee(invoices: Sequence[Invoice]) -> str:
    names = ", ".join(str(invoice) for invoice in invoices)
    return (
        f"{names} goes out by mail with its PDF, in the language of the document, whatever the seller's switches say."
    )


def _warn(invoices: Sequence[Invoice]) -> Iterable[str]:
    for invoice in invoices:
        if not get_recipient(invoice):
            yield f"{invoice.account} has no mail address: write one below."


class MailActions:
    """Sending an invoice again, and the list of its messages."""

    @service_action(
        description="Send by mail",
        permission="invoicing.send_invoice",
        effect=_foresee,
        warnings=_warn,
        allowed=lambda invoice: invoice.number is not None and invoice.status != InvoiceStatus.VOID,
        form=RecipientForm,
        icon="outgoing_mail",
    )
    def send_again(self, request: HttpRequest, invoice: Invoice, call: Call) -> str:
        address = call.data["recipient"]
        send_invoice_again(invoice_id=invoice.pk, recipient=address, at=call.at, actor=call.actor, reason=call.reason)
        return f"{invoice} goes to {address}."

    @admin.display(description="")
    def mails(self, invoice: Invoice) -> SafeString | str:
        return render_notices(invoice.public_id, zone=invoice.account.timezone)
