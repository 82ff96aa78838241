"""
What stands on a document, word by word: composed once from its view, then drawn as PDF or shown as a page.

Plain frozen texts in the document's language; amounts, prices and days are written. Plain Python: no Django, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from babel import Locale

from invoicing.documents.formats import Formats
from invoicing.documents.parts import describe_parts
from invoicing.documents.view import InvoiceView, LineView, PartyView, PaymentView
from invoicing.documents.words import Words, load_words, marked

Tone = Literal["plain", "alarm"]

_TITLES: Final = {
    "invoice": (marked("Invoice"), marked("Invoice {number}"), marked("Draft invoice")),
    "credit_note": (marked("Credit note"), marked("Credit note {number}"), marked("Draft credit note")),
}
_IBAN_GROUP: Final = 4


@dataclass(frozen=True, slots=True)
class Party:
    """A side of the document: what is small is printed below the address."""

    label: str
    name: str
    address: tuple[str, ...]
    small: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """The number that the reader looks for, with what it is and what to do."""

    caption: str
    headline: str
    aside: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table; `details` stand smaller below the description, a `heading` above what it begins."""

    description: str
    details: tuple[str, ...]
    quantity: str
    unit: str
    price: str
    amount: str
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Total:
    """A line below the table."""

    label: str
    value: str
    strong: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Text below the totals: labelled values, then paragraphs."""

    label: str
    pairs: tuple[tuple[str, str], ...] = ()
    paragraphs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """A document in words. `page_text` has places for `{page}` and `{count}`."""

    heading: str
    title: str
    subject: str
    number: str
    mark: str
    tone: Tone
    test_notice: str
    parties: tuple[Party, ...]
    details_label: str
    details: tuple[tuple[str, str], ...]
    period: tuple[str, str] | None
    due: Due
    columns: tuple[str, str, str, str]
    rows: tuple[Row, ...]
    totals: tuple[Total, ...]
    blocks: tuple[Block, ...]
    sender: str
    footer: str
    page_text: str


def compose_sheet(document: InvoiceView, *, locale: str) -> Sheet:
    """Return what the document says, in the words, numbers and dates of `locale`."""
    return _Composer(_folded(document), locale).compose()


class _Composer:
    def __init__(self, document: InvoiceView, locale: str) -> None:
        self.document = document
        self.locale = locale
        self.words: Words = load_words(locale)
        self.formats = Formats(locale=locale, currency=document.currency, timezone=document.timezone)

    def compose(self) -> Sheet:
        document, words, formats = self.document, self.words, self.formats
        heading, numbered, unnumbered = _TITLES[document.kind]
        title = words(numbered, number=document.number) if document.number else words(unnumbered)
        is_void = document.status == "void"
        return Sheet(
            heading=words(heading),
            title=title,
            subject=words("{document} to {name}", document=title, name=document.buyer.name),
            number=document.number or words("Draft, not issued"),
            mark=words("VOID") if is_void else words("DRAFT") if document.is_draft else "",
            tone="alarm" if is_void else "plain",
            test_notice=words("Test mode: not a request for payment") if document.test_mode else "",
            parties=(
                self._party(words("From"), document.seller),
                self._party(words("Bill to") if document.kind == "invoice" else words("To"), document.buyer),
            ),
            details_label=words("Details"),
            details=tuple(self._details()),
            period=(words("Period"), formats.period(document.period)) if document.period else None,
            due=self._due(),
            columns=(
                words("Description"),
                words("Quantity"),
                words("Unit price"),
                words("Amount ({currency})", currency=document.currency.upper()),
            ),
            rows=tuple(self._rows()),
            totals=tuple(self._totals()),
            blocks=tuple(self._blocks()),
            sender="  ·  ".join(filter(None, (document.seller.name, document.seller.email))),
            footer=document.footer,
            page_text=words("Page {page} of {count}"),
        )

    def _party(self, label: str, party: PartyView) -> Party:
        country = Locale.parse(self.locale).territories.get(party.country, party.country)
        return Party(
            label=label,
            name=party.name,
            address=(*party.address, *filter(None, (country,))),
            small=tuple(filter(None, (*party.tax_ids, party.email, party.phone))),
        )

    def _details(self) -> list[tuple[str, str]]:
        document, words, formats = self.document, self.words, self.formats
        pairs = []
        if document.issue_date:
            pairs.append((words("Issued"), formats.day(document.issue_date)))
        if document.due_date and document.kind == "invoice":
            pairs.append((words("Due"), formats.day(document.due_date)))
        if document.corrects:
            pairs.append((words("Corrects"), document.corrects))
        if document.reference:
            pairs.append((words("Account"), document.reference))
        return [*pairs, *document.extra_details]

    def _due(self) -> Due:
        document, words = self.document, self.words
        headline = self.formats.money_with_code(document.amount_remaining)
        if document.status == "void":
            nothing = words("This document was voided; nothing is to be paid")
            return Due(words("Status"), words("Void"), nothing, "alarm")
        if document.kind == "credit_note":
            credited = self.formats.money_with_code(document.total)
            aside = words("This draft may still change") if document.is_draft else ""
            return Due(words("Amount credited"), credited, aside)
        if document.is_draft:
            return Due(words("Amount due when issued"), headline, words("This draft may still change"))
        if document.amount_remaining == 0:
            paid = words("Paid in full") if document.amount_paid else words("Nothing to pay")
            return Due(words("Amount due"), headline, paid)
        day = self.formats.day(document.due_date) if document.due_date else ""
        return Due(words("Amount due"), headline, words("Please pay by {day}", day=day) if day else "")

    def _rows(self) -> Iterator[Row]:
        lines = self.document.lines
        has_groups = len({line.group for line in lines}) > 1
        for number, line in enumerate(lines):
            begins = has_groups and (not number or lines[number - 1].group != line.group)
            heading = line.group_name or self.words("Account")
            yield replace(self._row(line), heading=heading if begins else "")

    def _row(self, line: LineView) -> Row:
        formats = self.formats
        first = "  ·  ".join(filter(None, (formats.period(line.period) if line.period else "", line.detail)))
        less = self.words("Discount {amount}", amount=formats.plain_money(-line.discount)) if line.discount else ""
        parts = describe_parts(line.parts, formats, self.words)
        return Row(
            description=line.description,
            details=tuple(text for text in (first, *parts, less) if text),
            quantity="" if line.quantity is None else formats.quantity(line.quantity),
            unit=line.unit if line.quantity is not None else "",
            price="" if line.unit_amount is None else formats.line_price(line.unit_amount),
            amount=formats.plain_money(line.amount),
        )

    def _totals(self) -> list[Total]:
        document, words, money = self.document, self.words, self.formats.money
        totals = [Total(words("Subtotal"), money(document.subtotal))]
        if document.discount:
            totals.append(Total(words("Discount"), money(-document.discount), detail=document.discount_name))
        for tax in document.tax_lines:
            on = words("included in {base}") if tax.is_inclusive else words("on {base}")
            label = f"{tax.name} {self.formats.percent(tax.rate_percent)}"
            totals.append(Total(label, money(tax.amount), detail=on.format(base=money(tax.base))))
        totals.append(Total(words("Total"), money(document.total), strong=True))
        if document.kind == "credit_note":
            return totals
        credits = [(credit.description, credit.amount) for credit in document.credits]
        for name, amount in credits or [("", document.credit_applied)]:
            if amount:
                totals.append(Total(words("Credit applied"), money(-amount), detail=name))
        if document.amount_paid:
            totals.append(Total(words("Paid"), money(-document.amount_paid)))
        totals.append(Total(words("Amount due"), money(document.amount_remaining), strong=True))
        return totals

    def _blocks(self) -> list[Block]:
        document, words = self.document, self.words
        notes = list(document.notes)
        if document.reverse_charge:
            notes.append(words("Reverse charge: the recipient accounts for the tax."))
        if document.replaces:
            notes.append(words("This document replaces {number}, which is void.", number=document.replaces))
        if document.corrects and document.reason:
            notes.append(words("Reason: {reason}", reason=document.reason))
        blocks = []
        payable = document.kind == "invoice" and document.amount_remaining > 0 and document.status != "void"
        if document.payment is not None and payable:
            blocks.append(compose_payment(document.payment, words, number=document.number or ""))
        kept = tuple(note.strip() for note in notes if note.strip())
        return [*blocks, *([Block(words("Notes"), paragraphs=kept)] if kept else [])]


def compose_payment(payment: PaymentView, words: Words, *, number: str) -> Block:
    """Return where to pay to, in words; `number` is what to name."""
    text = payment.iban
    grouped = " ".join(text[start : start + _IBAN_GROUP] for start in range(0, len(text), _IBAN_GROUP))
    pairs = (
        (words("Account holder"), payment.account_holder),
        (words("Bank"), payment.bank_name),
        ("IBAN", grouped),
        ("BIC", payment.bic),
        (words("Reference"), number),
    )
    note = payment.text.replace("{number}", number)
    return Block(
        words("How to pay"),
        tuple((label, value) for label, value in pairs if value),
        (note,) if note.strip() else (),
    )


def _folded(document: InvoiceView) -> InvoiceView:
    """
    Leave away the line's own period where it is the document's.

    Every line of a usual invoice covers the period in the head; repeating it would only be noise.
    """
    if document.period is None or any(line.period != document.period for line in document.lines):
        return document
    return replace(document, lines=tuple(replace(line, period=None) for line in document.lines))
