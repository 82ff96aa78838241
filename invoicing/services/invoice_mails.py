"""
Mails of documents: written as rows in the transaction of what they are about, composed and sent after it.

A seller says which kinds go out. Whoever issues thousands writes thousands with a fixed number of statements; the text
and the file are made when a mail is sent. Source: contract chapter Invoices; ADR 0049.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.template.loader import render_to_string

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound, ValidationFailed
from billing_site.platform.models import Notice, NoticeChannel
from billing_site.platform.services import events
from billing_site.platform.services.notices import (
    Attachment,
    Composed,
    DeliveryRefused,
    NewNotice,
    queue_notices,
    register_composer,
)
from invoicing.documents.mail import MailKind, compose_mail, write_subject
from invoicing.documents.view import InvoiceView
from invoicing.documents.words import choose_locale
from invoicing.models import CreditNote, CreditNoteStatus, Invoice, InvoiceStatus, Refund, RefundStatus
from invoicing.queries.credit_note_documents import load_credit_note_view
from invoicing.queries.documents import load_invoice_view
from invoicing.services.credit_note_documents import get_credit_note_pdf
from invoicing.services.documents import get_invoice_pdf

_COMPOSERS: Final[dict[MailKind, str]] = {
    "invoice": "invoicing.invoice_mail",
    "payment": "invoicing.payment_mail",
    "credit_note": "invoicing.credit_note_mail",
    "refund": "invoicing.refund_mail",
}


def queue_invoice_mails(invoices: Sequence[Invoice]) -> int:
    """
    Write a mail for each issued invoice whose seller mails them, in the caller's transaction; return how many.

    What was paid at issue is one mail, not two. Invoices come with account and seller loaded. Two statements, none
    where no seller mails anything.
    """
    found = []
    for invoice in invoices:
        if invoice.seller.mails_invoices:
            found.append(_new_mail("invoice", invoice))
        elif invoice.seller.mails_receipts and invoice.status == InvoiceStatus.PAID:
            found.append(_new_mail("payment", invoice))
    return queue_notices(found)


def queue_payment_mail(invoice: Invoice) -> int:
    """Write the mail that an invoice is paid, if its seller confirms payments, in the caller's transaction."""
    return queue_notices([_new_mail("payment", invoice)] if invoice.seller.mails_receipts else [])


def queue_credit_note_mail(note: CreditNote) -> int:
    """Write the mail of an issued credit note, if its seller mails them, in the caller's transaction."""
    return queue_notices([_new_mail("credit_note", note)] if note.seller.mails_credit_notes else [])


def queue_refund_mail(refund: Refund) -> int:
    """
    Write the mail that money of a credit note was paid back, if its seller mails notes, in the caller's transaction.

    Refunds without a credit note have no document to go with, and no mail.
    """
    note = refund.credit_note
    if note is None or not note.seller.mails_credit_notes:
        return 0
    return queue_notices(
        [replace(_new_mail("refund", note, key=f"refund.mail:{refund.public_id}"), about=refund.public_id)]
    )


@transaction.atomic
def send_invoice_again(
    *, invoice_id: uuid.UUID, recipient: str, at: datetime, actor: Actor, reason: str = ""
) -> Notice:
    """
    Mail an issued invoice, whatever its seller's switches say, and return the message that will go out.

    The same address gets it once a minute, so that a button pressed twice sends one mail.
    :raises NotFound: if there is no such invoice. :raises InvalidState: for a draft or a void one, and within the
        minute. :raises ValidationFailed: for what is no mail address.
    """
    invoice = Invoice.objects.select_related("account", "seller").filter(id=invoice_id).first()
    if invoice is None:
        raise NotFound("invoice")
    if not is_mailed(invoice):
        raise InvalidState("Only an issued invoice that is not void is mailed.", current_status=invoice.status)
    return _send_again("invoice", invoice, recipient.strip(), at=at, actor=actor, reason=reason)


@transaction.atomic
def send_credit_note_again(
    *, credit_note_id: uuid.UUID, recipient: str, at: datetime, actor: Actor, reason: str = ""
) -> Notice:
    """
    Mail a credit note; see `send_invoice_again`.

    :raises NotFound: if there is none. :raises InvalidState: for a void one, and within the minute.
    :raises ValidationFailed: for what is no mail address.
    """
    note = CreditNote.objects.select_related("account", "seller").filter(id=credit_note_id).first()
    if note is None:
        raise NotFound("credit_note")
    if not is_mailed(note):
        raise InvalidState("A void credit note is not mailed.", current_status=note.status)
    return _send_again("credit_note", note, recipient.strip(), at=at, actor=actor, reason=reason)


def is_mailed(document: Invoice | CreditNote) -> bool:
    """Tell whether a document may be mailed: it is issued, and not void."""
    return document.number is not None and document.status not in (InvoiceStatus.VOID, CreditNoteStatus.VOID)


def _send_again(
    kind: MailKind, document: Invoice | CreditNote, address: str, *, at: datetime, actor: Actor, reason: str
) -> Notice:
    try:
        validate_email(address)
    except ValidationError as error:
        raise ValidationFailed.of("/recipient", "invalid", f"{address[:100]!r} is not a mail address.") from error
    key = f"{kind}.again:{document.public_id}:{address.lower()[:100]}:{at:%Y%m%d%H%M}"
    if not queue_notices([_new_mail(kind, document, key=key, recipient=address)]):
        raise InvalidState(f"It went to {address} a moment ago.", current_status=document.status)
    events.emit(
        f"{kind}.sent",
        subject=document,
        account_id=document.account_id,
        at=at,
        actor=actor,
        data={"id": document.public_id, "number": document.number_text, "recipient": address},
        reason=reason,
    )
    return Notice.objects.get(key=key)


def get_recipient(document: Invoice | CreditNote) -> str:
    """Return the address that mails of a document go to: what was asked for on it, else the account's. No query."""
    # While a run writes documents, what they say of the account is JSON text, just written from the account.
    snapshot = document.__dict__.get("account_snapshot")
    address = snapshot.get("email") if isinstance(snapshot, dict) else ""
    return str(address or document.account.email or "")


def _new_mail(kind: MailKind, document: Invoice | CreditNote, *, key: str = "", recipient: str = "") -> NewNotice:
    account, seller = document.account, document.seller
    paid_at = document.paid_at if isinstance(document, Invoice) and kind == "payment" else None
    return NewNotice(
        key=key or f"{kind}.mail:{document.public_id}" + (f":{paid_at:%Y%m%dT%H%M%S.%f}" if paid_at else ""),
        channel=NoticeChannel.MAIL,
        subject=write_subject(
            kind,
            number=document.number_text,
            seller=seller.name,
            locale=choose_locale(account.language, seller.language),
        ),
        recipient=recipient or get_recipient(document),
        account_id=account.pk,
        about=document.public_id,
        composer=_COMPOSERS[kind],
    )


# ---- writing what is sent -------------------------------------------------------------------------------------------
def _compose_invoice(notice: Notice) -> Composed:
    invoice = Invoice.objects.get(pk=_read_key(Invoice, notice))
    if invoice.status == InvoiceStatus.VOID:
        raise DeliveryRefused("The invoice was voided before it was mailed.")
    kind: MailKind = "payment" if notice.composer == _COMPOSERS["payment"] else "invoice"
    # The file is the document as it was issued; the mail asks for what is still to pay.
    view = replace(load_invoice_view(invoice), amount_paid=invoice.amount_paid)
    return _compose(view, kind, get_invoice_pdf(invoice))


def _compose_credit_note(notice: Notice) -> Composed:
    note = CreditNote.objects.select_related("invoice").get(pk=_read_key(CreditNote, notice))
    if note.status == CreditNoteStatus.VOID:
        raise DeliveryRefused("The credit note was voided before it was mailed.")
    return _compose(load_credit_note_view(note), "credit_note", get_credit_note_pdf(note))


def _compose_refund(notice: Notice) -> Composed:
    refund = Refund.objects.select_related("credit_note__invoice").get(pk=_read_key(Refund, notice))
    note = refund.credit_note
    if refund.status != RefundStatus.SUCCEEDED or note is None:
        raise DeliveryRefused("The refund came back before it was told of.")
    return _compose(load_credit_note_view(note), "refund", get_credit_note_pdf(note), amount=refund.amount)


def _read_key(model: type[Invoice | CreditNote | Refund], notice: Notice) -> uuid.UUID:
    key = model.parse_id(notice.about)
    if key is None:
        raise LookupError(f"{notice.about!r} is no id of this kind")
    return key


def _compose(view: InvoiceView, kind: MailKind, content: bytes, *, amount: int | None = None) -> Composed:
    text = compose_mail(view, kind, amount=amount)
    name = f"{(view.number or '').replace('/', '-')}.pdf"
    return Composed(
        subject=text.subject,
        body=render_to_string("invoicing/mail.txt", {"mail": text}),
        html=render_to_string("invoicing/mail.html", {"mail": text}),
        attachments=(Attachment(name, content, "application/pdf"),),
    )


def register_mail_composers() -> None:
    """Make the writers known to the outbox; called when the app is ready."""
    register_composer(_COMPOSERS["invoice"], _compose_invoice)
    register_composer(_COMPOSERS["payment"], _compose_invoice)
    register_composer(_COMPOSERS["credit_note"], _compose_credit_note)
    register_composer(_COMPOSERS["refund"], _compose_refund)
