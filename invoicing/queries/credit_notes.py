"""Credit notes: what one is computed from, and as callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet, Sum

from accounts.queries.access import visible_accounts
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound
from invoicing.calculation.credit_facts import CreditFacts, InvoicedLine, InvoicedRate, Wish
from invoicing.calculation.unused import UnusedFacts
from invoicing.models import (
    CreditNote,
    CreditNoteLine,
    CreditNoteStatus,
    CreditNoteTax,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    InvoiceTax,
)

# What is issued and not void; a paid invoice can be corrected as well.
CREDITABLE_STATUSES = (InvoiceStatus.OPEN, InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE)


def load_credit_facts(invoice: Invoice, wish: Wish) -> CreditFacts:
    """
    Return what a note of `invoice` is computed from: its lines and tax, and what the notes that stand took of them.

    Four queries. To be decided on, it is read under the invoice's lock.
    """
    rows = list(InvoiceLine.objects.filter(invoice=invoice).order_by("position"))
    taxes = list(InvoiceTax.objects.filter(invoice=invoice).order_by("position"))
    borne = [_find_bearers(rows, tax, index) for index, tax in enumerate(taxes)]
    credited = _sum_lines(invoice)
    lines = tuple(
        InvoicedLine(
            id=row.public_id,
            description=row.description,
            net=row.amount - row.discount,
            credited=credited.get(row.id, 0),
            rates=tuple(tax.public_id for tax, bearers in zip(taxes, borne, strict=True) if row.id in bearers),
        )
        for row in rows
    )
    return CreditFacts(
        currency=invoice.currency,
        lines=lines,
        rates=_load_rates(invoice, taxes, lines),
        wish=wish,
        rounding=invoice.trace.get("rounding", "half_up"),
    )


def _find_bearers(rows: Sequence[InvoiceLine], tax: InvoiceTax, index: int) -> set[UUID]:
    """
    Return the lines that bear a tax.

    They have a share in it. One whose share is nothing, as at a rate of zero, is among them where the base needs it.
    """
    nets = {row.id: row.amount - row.discount for row in rows}
    found = {row.id for row in rows if index < len(row.tax_shares) and row.tax_shares[index]}
    missing = tax.base - sum(nets[key] for key in found)
    silent = [key for key, net in nets.items() if key not in found and net]
    if missing and missing == sum(nets[key] for key in silent):
        return found | set(silent)
    return found | {next(key for key in silent if nets[key] == missing)} if missing in map(nets.get, silent) else found


def _load_rates(
    invoice: Invoice, taxes: Sequence[InvoiceTax], lines: Sequence[InvoicedLine]
) -> tuple[InvoicedRate, ...]:
    if not taxes:
        return ()
    credited = _sum_taxes(invoice)
    return tuple(
        InvoicedRate(
            id=tax.public_id,
            name=tax.name,
            rate=tax.rate,
            base=sum(line.net for line in lines if tax.public_id in line.rates),
            amount=tax.amount,
            credited_base=credited.get(tax.id, (0, 0))[0],
            credited=credited.get(tax.id, (0, 0))[1],
        )
        for tax in taxes
    )


def sum_credited(invoice: Invoice) -> int:
    """Return what the notes of an invoice that stand come to, with tax, minor units."""
    rows = CreditNote.objects.filter(invoice=invoice, status=CreditNoteStatus.ISSUED)
    return int(rows.aggregate(credited=Sum("total"))["credited"] or 0)


def _sum_lines(invoice: Invoice) -> dict[UUID, int]:
    rows = CreditNoteLine.objects.filter(credit_note__invoice=invoice, credit_note__status=CreditNoteStatus.ISSUED)
    return dict(rows.order_by().values_list("invoice_line").annotate(credited=Sum("amount")))


def _sum_taxes(invoice: Invoice) -> dict[UUID, tuple[int, int]]:
    """Return base and tax that notes took of each rate."""
    rows = CreditNoteTax.objects.filter(credit_note__invoice=invoice, credit_note__status=CreditNoteStatus.ISSUED)
    sums = rows.order_by().values_list("invoice_tax").annotate(Sum("base"), Sum("amount"))
    return {key: (base, amount) for key, base, amount in sums}


def read_unused(line: CreditNoteLine) -> UnusedFacts | None:
    """Return the unused time that a line of a note gives back; None when it is for something else."""
    stored = line.trace.get("unused")
    return None if stored is None else UnusedFacts.from_dict(stored)


def visible_credit_notes(principal: Principal) -> QuerySet[CreditNote]:
    """Return the credit notes the caller may see, with their parts: public callers see their own."""
    lines = CreditNoteLine.objects.select_related("invoice_line").order_by("position")
    notes = CreditNote.objects.select_related("account__test_clock", "invoice", "entry").prefetch_related(
        Prefetch("lines", queryset=lines),
        Prefetch("taxes", queryset=CreditNoteTax.objects.order_by("position")),
        "refunds",
    )
    if principal.is_internal:
        return notes if principal.org is None else notes.filter(org_id=principal.org)
    return notes.filter(account__in=visible_accounts(principal))


def get_visible_credit_note(principal: Principal, reference: str) -> CreditNote:
    """
    Return a credit note by id or printed number (`CN-0001`), of several the newest.

    :raises NotFound: if the caller sees none.
    """
    key = CreditNote.parse_id(reference)
    condition = Q(id=key) if key else Q(number_text__iexact=reference.strip())
    found = visible_credit_notes(principal).filter(condition).order_by("-id").first()
    if found is None:
        raise NotFound("credit_note")
    return found
