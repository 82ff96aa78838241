"""
The mails that documents go with: what they say, composed from the document's view, in its language.

Texts only; templates set them as plain text and as HTML. Plain Python: no Django, no clock. Source: ADR 0049.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from invoicing.documents.formats import Formats
from invoicing.documents.sheet import Block, compose_sheet
from invoicing.documents.view import InvoiceView
from invoicing.documents.words import load_words, marked

MailKind = Literal["invoice", "payment", "credit_note", "refund"]

_SUBJECTS: Final[dict[MailKind, str]] = {
    "invoice": marked("Invoice {number} from {seller}"),
    "payment": marked("Payment received: invoice {number} from {seller}"),
    "credit_note": marked("Credit note {number} from {seller}"),
    "refund": marked("Refund for credit note {number} from {seller}"),
}
_OPENINGS: Final[dict[MailKind, str]] = {
    "invoice": marked("Your invoice {number} over {total} is attached."),
    "payment": marked("Your invoice {number} over {total} is paid. Thank you. It is attached once more."),
    "credit_note": marked("Your credit note {number} over {total} for invoice {invoice} is attached."),
    "refund": marked(
        "We have paid back {amount} for credit note {number}, the way you had paid invoice {invoice}. Banks may take a "
        "few days to show it. The credit note is attached once more."
    ),
}


@dataclass(frozen=True, slots=True)
class MailText:
    """
    A mail in words. `pairs` are what one looks for first, `blocks` how to pay, `alarm` a line above everything.

    `link` is a label and the address to go to.
    """

    language: str
    subject: str
    alarm: str
    greeting: str
    opening: str
    pairs: tuple[tuple[str, str], ...]
    asks: str
    blocks: tuple[Block, ...]
    closing: str
    sender: tuple[str, ...]
    footer: str
    link: tuple[str, str] | None = None


def write_subject(kind: MailKind, *, number: str, seller: str, locale: str) -> str:
    """Return the subject of the mail that a document goes with."""
    return load_words(locale)(_SUBJECTS[kind], number=number, seller=seller)


def compose_mail(document: InvoiceView, kind: MailKind, *, amount: int | None = None) -> MailText:
    """
    Return the mail that an issued document goes with, in the document's language; one of a payment asks for nothing.

    `amount`, minor units, is what was paid back, for the mail of a refund; its document is the credit note.

    :raises ValueError: for a draft.
    """
    if document.number is None:
        raise ValueError("a draft is not mailed")
    words = load_words(document.locale)
    sheet = compose_sheet(document, locale=document.locale)
    formats = Formats(locale=document.locale, currency=document.currency, timezone=document.timezone)
    total, is_due = formats.money_with_code(document.total), kind == "invoice" and document.amount_remaining > 0
    pairs = [*sheet.details]
    if sheet.period:
        pairs.append(sheet.period)
    pairs.append((words("Total"), total))
    if kind == "invoice":
        pairs.append((sheet.due.caption, sheet.due.headline))
    values = {"number": document.number, "total": total, "invoice": document.corrects}
    if amount is not None:
        values["amount"] = formats.money_with_code(amount)
    return MailText(
        language=document.locale.replace("_", "-"),
        subject=write_subject(kind, number=document.number, seller=document.seller.name, locale=document.locale),
        alarm=sheet.test_notice,
        greeting=words("Hello {name},", name=document.buyer.name) if document.buyer.name else words("Hello,"),
        opening=words(_OPENINGS[kind], **values),
        pairs=tuple(pairs),
        asks=f"{sheet.due.aside}." if kind == "invoice" and sheet.due.aside else "",
        blocks=tuple(block for block in sheet.blocks if block.pairs) if is_due else (),
        closing=words("Kind regards"),
        sender=tuple(filter(None, (document.seller.name, document.seller.email))),
        footer=document.footer,
    )
