"""From stored invoices to what their documents show."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from accounts.models import Subscription
from billing_site.kernel.ids import encode_id
from billing_site.kernel.money import EXACT
from catalog.pricing.breakdown import PricedTier
from invoicing.calculation.wording import join_words
from invoicing.documents import CreditView, InvoiceView, LineView, PartyView, PaymentView, TaxLineView
from invoicing.documents.engine_words import name_center, translate_description, translate_source, translate_zero
from invoicing.documents.words import Words, choose_locale, load_words
from invoicing.models import (
    Invoice,
    InvoiceCredit,
    InvoiceDocument,
    InvoiceLine,
    InvoiceStatus,
    InvoiceTax,
    LineType,
    SellerLogo,
)


def build_invoice_view(
    invoice: Invoice,
    lines: Sequence[InvoiceLine],
    credits: Sequence[InvoiceCredit] = (),
    taxes: Sequence[InvoiceTax] = (),
    *,
    logo: bytes = b"",
    replaces: str = "",
) -> InvoiceView:
    """
    Return what the document of `invoice` shows: the snapshots taken when it was drafted, never today's addresses.

    An issued invoice is shown as it was issued, so that its bytes do not depend on when they are made. `replaces` is
    the number of the void invoice that it was issued anew for.
    """
    is_draft = invoice.number is None
    account, seller = invoice.account_snapshot, invoice.seller_snapshot
    locale = choose_locale(str(account.get("language") or ""), str(seller.get("language") or ""))
    words = load_words(locale)
    names = {member["subscription"]: member["name"] for member in invoice.trace.get("members", ())}
    status = "draft" if is_draft else "paid" if invoice.amount_due == 0 else "open"
    return InvoiceView(
        seller=build_party(seller, words),
        buyer=build_party(account, words),
        number=None if is_draft else invoice.number_text,
        status=status,  # type: ignore[arg-type]
        currency=invoice.currency,
        timezone=invoice.trace.get("timezone", "UTC"),
        subtotal=invoice.subtotal,
        total=invoice.total,
        amount_due=invoice.amount_due,
        lines=tuple(_put_below_heading(shown, line, names) for line in lines for shown in _build_lines(line, words)),
        issue_date=invoice.issue_date,
        due_date=invoice.due_date,
        finalized_at=invoice.finalized_at,
        period=invoice.period,
        discount=invoice.discount,
        discount_name=invoice.discount_name,
        credit_applied=invoice.credit_applied,
        credits=tuple(CreditView(translate_source(credit.description, words), credit.amount) for credit in credits),
        reference=str(account.get("id", "")),
        footer=str(seller.get("footer", "")),
        test_mode=not invoice.livemode,
        locale=locale,
        tax_lines=tuple(_build_tax(tax, words) for tax in taxes),
        notes=tuple(_list_tax_notes(taxes, words)),
        logo=logo,
        payment=build_payment(seller),
        replaces=replaces,
    )


def get_stored_document(invoice_id: uuid.UUID) -> bytes | None:
    """Return the stored PDF, or None when it was not made yet."""
    found = InvoiceDocument.objects.filter(invoice_id=invoice_id).values_list("content", flat=True).first()
    return None if found is None else bytes(found)


def load_invoice_view(invoice: Invoice) -> InvoiceView:
    """Return what the document of an invoice shows, with all of its lines. Seven queries at most."""
    lines = list(invoice.lines.order_by("position").prefetch_related("splits"))
    credits = list(InvoiceCredit.objects.filter(invoice=invoice, payment=0).order_by("position"))
    taxes = list(InvoiceTax.objects.filter(invoice=invoice).order_by("position"))
    return build_invoice_view(
        invoice,
        lines,
        credits,
        taxes=taxes,
        logo=load_logos([invoice]).get(invoice.id, b""),
        replaces=load_replaced([invoice]).get(invoice.id, ""),
    )


def _build_tax(tax: InvoiceTax, words: Words) -> TaxLineView:
    """Show the tax of one rate; lines and base are without it, whether the rate is included in prices or not."""
    place = f" ({tax.jurisdiction})" if tax.jurisdiction else ""
    percent = EXACT.multiply(tax.rate, Decimal(100))
    return TaxLineView(f"{translate_zero(tax.name, words)}{place}", percent, base=tax.base, amount=tax.amount)


def _list_tax_notes(taxes: Sequence[InvoiceTax], words: Words) -> Iterator[str]:
    """Yield why tax is zero, and that amounts are without tax where prices were agreed with it."""
    yield from dict.fromkeys(translate_zero(tax.note, words) for tax in taxes if tax.note)
    if any(tax.inclusive for tax in taxes):
        yield words("Unit prices include tax; amounts are without it.")


def load_logos(invoices: Sequence[Invoice]) -> dict[uuid.UUID, bytes]:
    """Return the pictures on the documents of invoices, by invoice. One query, none where no seller had one."""
    wanted = {
        invoice.id: str(invoice.seller_snapshot["logo"]) for invoice in invoices if "logo" in invoice.seller_snapshot
    }
    if not wanted:
        return {}
    rows = SellerLogo.objects.filter(id__in=set(wanted.values())).values_list("id", "content")
    found = {str(key): bytes(content) for key, content in rows}
    return {invoice_id: found[key] for invoice_id, key in wanted.items() if key in found}


def load_replaced(invoices: Sequence[Invoice]) -> dict[uuid.UUID, str]:
    """Return the numbers of the void invoices that some were issued anew for, by invoice. One query where there are."""
    wanted = {invoice.id: invoice.reissues_id for invoice in invoices if invoice.reissues_id is not None}
    if not wanted:
        return {}
    numbers = dict(Invoice.objects.filter(id__in=wanted.values()).values_list("id", "number_text"))
    return {invoice_id: numbers[key] for invoice_id, key in wanted.items()}


def build_payment(snapshot: Mapping[str, Any]) -> PaymentView | None:
    get = {key: str(value or "") for key, value in snapshot.items()}.get
    view = PaymentView(
        account_holder=get("account_holder", "") or "",
        bank_name=get("bank_name", "") or "",
        iban=get("iban", "") or "",
        bic=get("bic", "") or "",
        text=get("payment_text", "") or "",
    )
    return view if view.iban or view.text else None


def build_party(snapshot: Mapping[str, Any], words: Words) -> PartyView:
    get = {key: str(value or "") for key, value in snapshot.items()}.get
    place = " ".join(filter(None, (get("postal_code"), get("city"), get("state"))))
    company, name = get("company", ""), get("name", "") or ""
    lines = [name if company and company != name else "", get("line1"), get("line2"), place]
    return PartyView(
        name=company or name,
        address=tuple(line for line in lines if line),
        tax_ids=tuple(_list_tax_ids(snapshot, words)),
        email=get("email") or "",
        country=get("country") or "",
    )


def _list_tax_ids(snapshot: Mapping[str, Any], words: Words) -> Iterator[str]:
    """Yield the numbers with what they are; one that begins with letters is a VAT number."""
    if number := str(snapshot.get("tax_id") or ""):
        yield (
            words("VAT ID {number}", number=number) if number[:2].isalpha() else words("Tax ID {number}", number=number)
        )
    for row in snapshot.get("other_tax_ids") or ():
        yield " ".join(filter(None, (row["label"], row["value"])))


def describe_line(line: InvoiceLine, words: Words) -> str:
    """Return the description of a line: names as the catalog has them, the engine's own words in the language."""
    charge = line.trace.get("charge", {})
    plan = charge.get("plan_name", "")
    names = (join_words(plan, charge.get("meter_name", "")), plan)
    return translate_description(line.description, names=names, words=words)


def _build_lines(line: InvoiceLine, words: Words) -> Iterator[LineView]:
    """Show a line, or its part of each cost center; the tiers of the price stand below the first, for all of them."""
    shown = _build_line(line, words)
    parts = list(line.splits.all())
    for number, part in enumerate(parts):
        yield replace(
            shown,
            description=join_words(shown.description, name_center(part.name, words)),
            detail=part.code,
            quantity=part.quantity,
            amount=part.amount,
            parts=() if number else shown.parts,
            discount=0 if number else shown.discount,
        )
    if not parts:
        yield shown


def _put_below_heading(shown: LineView, line: InvoiceLine, names: Mapping[str, str]) -> LineView:
    """Return the line with the subscription it stands below on an invoice for several."""
    if line.subscription_id is None:
        return shown
    key = encode_id(Subscription.id_prefix, line.subscription_id)
    return replace(shown, group=key, group_name=names.get(key, ""))


def _build_line(line: InvoiceLine, words: Words) -> LineView:
    charge = line.trace.get("charge", {})
    unit = charge.get("price", {}).get("unit") if line.type == LineType.USAGE else ""
    parts = tuple(PricedTier.from_dict(tier) for tier in line.trace.get("tiers", ()))
    return LineView(
        description=describe_line(line, words),
        amount=line.amount,
        quantity=line.quantity,
        unit=unit or "",
        unit_amount=None if parts else line.unit_amount,
        period=line.period,
        parts=parts,
        discount=line.discount,
    )


def list_missing_documents(*, limit: int) -> list[uuid.UUID]:
    """Return issued invoices without a stored document, oldest first, at most `limit`."""
    issued = Invoice.objects.filter(number__isnull=False).exclude(status=InvoiceStatus.DRAFT)
    return list(issued.filter(documents__isnull=True).order_by("id").values_list("id", flat=True)[:limit])
