"""From stored invoices to what their documents show."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from billing_site.kernel.money import EXACT
from catalog.pricing.breakdown import PricedTier
from invoicing.documents import CreditView, InvoiceView, LineView, PartyView, TaxLineView
from invoicing.models import Invoice, InvoiceCredit, InvoiceDocument, InvoiceLine, InvoiceStatus, InvoiceTax, LineType


def build_invoice_view(
    invoice: Invoice,
    lines: list[InvoiceLine],
    credits: Sequence[InvoiceCredit] = (),
    taxes: Sequence[InvoiceTax] = (),
) -> InvoiceView:
    """
    Return what the document of `invoice` shows: the snapshots taken when it was drafted, never today's addresses.

    An issued invoice is shown as it was issued, so that its bytes do not depend on when they are made.
    """
    is_draft = invoice.number is None
    status = "draft" if is_draft else "paid" if invoice.amount_due == 0 else "open"
    return InvoiceView(
        seller=_build_party(invoice.seller_snapshot),
        buyer=_build_party(invoice.account_snapshot),
        number=None if is_draft else invoice.number_text,
        status=status,  # type: ignore[arg-type]
        currency=invoice.currency,
        timezone=invoice.trace.get("timezone", "UTC"),
        subtotal=invoice.subtotal,
        total=invoice.total,
        amount_due=invoice.amount_due,
        lines=tuple(shown for line in lines for shown in _build_lines(line)),
        issue_date=invoice.issue_date,
        due_date=invoice.due_date,
        finalized_at=invoice.finalized_at,
        period=invoice.period,
        discount=invoice.discount,
        discount_name=invoice.discount_name,
        tax_lines=tuple(_build_tax(tax) for tax in taxes),
        notes=tuple(_list_tax_notes(taxes)),
        credit_applied=invoice.credit_applied,
        credits=tuple(CreditView(credit.description, credit.amount) for credit in credits),
        reference=str(invoice.account_snapshot.get("id", "")),
        footer=str(invoice.seller_snapshot.get("footer", "")),
        test_mode=not invoice.livemode,
    )


def _build_tax(tax: InvoiceTax) -> TaxLineView:
    place = f" ({tax.jurisdiction})" if tax.jurisdiction else ""
    return TaxLineView(f"{tax.name}{place}", EXACT.multiply(tax.rate, Decimal(100)), tax.base, tax.amount)


def _list_tax_notes(taxes: Sequence[InvoiceTax]) -> Iterator[str]:
    """Yield why tax is zero, and that amounts are without tax where prices were agreed with it."""
    yield from dict.fromkeys(tax.note for tax in taxes if tax.note)
    if any(tax.inclusive for tax in taxes):
        yield "Unit prices include tax; amounts are without it."


def get_stored_document(invoice_id: uuid.UUID) -> bytes | None:
    """Return the stored PDF, or None when it was not made yet."""
    found = InvoiceDocument.objects.filter(invoice_id=invoice_id).values_list("content", flat=True).first()
    return None if found is None else bytes(found)


def _build_party(snapshot: Mapping[str, Any]) -> PartyView:
    get = {key: str(value or "") for key, value in snapshot.items()}.get
    place = " ".join(filter(None, (get("postal_code"), get("city"), get("state"))))
    company, name = get("company", ""), get("name", "") or ""
    lines = [name if company and company != name else "", get("line1"), get("line2"), place, get("country")]
    return PartyView(
        name=company or name,
        address=tuple(line for line in lines if line),
        tax_ids=tuple(filter(None, (get("tax_id"),))),
        email=get("email") or "",
    )


def _build_lines(line: InvoiceLine) -> Iterator[LineView]:
    """Show a line, or its part of each cost center; the tiers of the price stand below the first, for all of them."""
    shown = _build_line(line)
    parts = list(line.splits.all())
    for number, part in enumerate(parts):
        yield replace(
            shown,
            description=f"{line.description} · {part}",
            detail=part.code,
            quantity=part.quantity,
            amount=part.amount,
            parts=() if number else shown.parts,
        )
    if not parts:
        yield shown


def _build_line(line: InvoiceLine) -> LineView:
    charge = line.trace.get("charge", {})
    unit = charge.get("price", {}).get("unit") if line.type == LineType.USAGE else ""
    parts = tuple(PricedTier.from_dict(tier) for tier in line.trace.get("tiers", ()))
    return LineView(
        description=line.description,
        amount=line.amount,
        quantity=line.quantity,
        unit=unit or "",
        unit_amount=None if parts else line.unit_amount,
        period=line.period,
        parts=parts,
    )


def list_missing_documents(*, limit: int) -> list[uuid.UUID]:
    """Return issued invoices without a stored document, oldest first, at most `limit`."""
    issued = Invoice.objects.filter(number__isnull=False).exclude(status=InvoiceStatus.DRAFT)
    return list(issued.filter(documents__isnull=True).order_by("id").values_list("id", flat=True)[:limit])
