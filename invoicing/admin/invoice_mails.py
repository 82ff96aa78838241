"""Mails of documents in the back office: what became of them, and sending one again."""

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
from invoicing.models import CreditNote, Invoice
from invoicing.services.invoice_mails import (
    get_recipient,
    is_mailed,
    send_credit_note_again,
    send_invoice_again,
)


class RecipientForm(ObjectForm):
    """To whom."""

    recipient = forms.EmailField(max_length=254, label="To", widget=UnfoldAdminEmailInputWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.obj is not None:
            self.fields["recipient"].initial = get_recipient(self.obj)


def _foresee(documents: Sequence[Invoice | CreditNote]) -> str:
    names = ", ".join(str(document) for document in documents)
    return (
        f"{names} goes out by mail with its PDF, in the language of the document, whatever the seller's switches say."
    )


def _warn(documents: Sequence[Invoice | CreditNote]) -> Iterable[str]:
    for document in documents:
        if not get_recipient(document):
            yield f"{document.account} has no mail address: write one below."


class MailActions:
    """Sending a document again, and the list of its messages."""

    @service_action(
        description="Send by mail",
        permission="invoicing.send_document",
        effect=_foresee,
        warnings=_warn,
        allowed=is_mailed,
        form=RecipientForm,
        icon="outgoing_mail",
    )
    def send_again(self, request: HttpRequest, document: Invoice | CreditNote, call: Call) -> str:
        to: dict[str, Any] = {"recipient": call.data["recipient"], "at": call.at, "actor": call.actor}
        if isinstance(document, Invoice):
            send_invoice_again(invoice_id=document.pk, reason=call.reason, **to)
        else:
            send_credit_note_again(credit_note_id=document.pk, reason=call.reason, **to)
        return f"{document} goes to {to['recipient']}."

    @admin.display(description="")
    def mails(self, document: Invoice | CreditNote) -> SafeString | str:
        return render_notices(document.public_id, zone=document.account.timezone)
