"""From stored credit notes to what their documents show."""

from __future__ import annotations

import uuid
from decimal import Decimal

from billing_site.kernel.money import EXACT
from invoicing.calculation.wording import UNUSED_TIME, join_words
from invoicing.documents import InvoiceView, LineView, TaxLineView
from invoicing.documents.engine_words import translate_description, translate_zero
from invoicing.documents.words import Words, choose_locale, load_words, marked
from invoicing.models import CreditNote, CreditNoteDocument, CreditNoteLine, CreditNoteTax, SellerLogo
from invoicing.queries.credit_notes import read_unused
from invoicing.queries.documents import build_party, describe_line

_REASONS = {
    "duplicate": marked("Duplicate"),
    "fraudulent": marked("Fraudulent"),
    "order_change": marked("Order changed"),
    "product_unsatisfactory": marked("Product unsatisfactory"),
}


def load_credit_note_view(note: CreditNote) -> InvoiceView:
    """
    Return what the document of a credit note shows: as it was issued, whatever became of it later. Five queries.

    Amounts are what it gives back; lines that gave something back already are below zero.
    """
    account, seller = note.account_snapshot, note.seller_snapshot
    locale = choose_locale(str(account.get("language") or ""), str(seller.get("language") or ""))
    words = load_words(locale)
    lines = CreditNoteLine.objects.filter(credit_note=note).select_related("invoice_line").order_by("position")
    taxes = CreditNoteTax.objects.filter(credit_note=note).order_by("position")
    memo = (note.memo,) if note.memo else ()
    return InvoiceView(
        kind="credit_note",
        seller=build_party(seller, words),
        buyer=build_party(account, words),
        number=note.number_text,
        status="open",
        currency=note.currency,
        timezone=str(note.invoice.trace.get("timezone", "UTC")),
        subtotal=note.subtotal,
        total=note.total,
        amount_due=0,
        lines=tuple(_build_line(line, words) for line in lines),
        issue_date=note.issue_date,
        finalized_at=note.issued_at,
        tax_lines=tuple(_build_tax(tax, words) for tax in taxes),
        corrects=note.invoice.number_text,
        reason=words(_REASONS[note.reason]) if note.reason in _REASONS else "",
        notes=memo,
        reference=str(account.get("id", "")),
        footer=str(seller.get("footer", "")),
        test_mode=not note.livemode,
        locale=locale,
        logo=_load_logo(note),
    )


def get_stored_credit_note(note_id: uuid.UUID) -> bytes | None:
    """Return the stored PDF, or None when it was not made yet."""
    found = CreditNoteDocument.objects.filter(credit_note_id=note_id).values_list("content", flat=True).first()
    return None if found is None else bytes(found)


def _build_line(line: CreditNoteLine, words: Words) -> LineView:
    unused = read_unused(line)
    return LineView(
        description=_describe(line, words),
        amount=line.amount,
        quantity=line.quantity,
        unit_amount=line.unit_amount,
        period=line.invoice_line.period if unused is None else unused.period,
    )


def _describe(line: CreditNoteLine, words: Words) -> str:
    """Translate what the engine writes, and the invoice's own description, also where somebody put a text before it."""
    if read_unused(line) is not None:
        plan = line.description.removesuffix(join_words("", UNUSED_TIME))
        return translate_description(line.description, names=(plan,), words=words)
    before = line.description.removesuffix(line.invoice_line.description)
    if before == line.description:
        return line.description
    return f"{before}{describe_line(line.invoice_line, words)}"


def _build_tax(tax: CreditNoteTax, words: Words) -> TaxLineView:
    percent = EXACT.multiply(tax.rate, Decimal(100))
    return TaxLineView(translate_zero(tax.name, words), percent, base=tax.base, amount=tax.amount)


def _load_logo(note: CreditNote) -> bytes:
    key = note.seller_snapshot.get("logo")
    found = SellerLogo.objects.filter(id=key).values_list("content", flat=True).first() if key else None
    return b"" if found is None else bytes(found)
