"""
Recomputing issued documents: rebuild the facts from the trace, run the engine again, compare to the cent.

Source: design, Trace; ADR 0005.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.db.models import Sum

from invoicing.calculation.draft import Draft, DraftLine, draft_invoice
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts
from invoicing.calculation.texts import format_exact
from invoicing.models import Invoice, InvoiceCredit, InvoiceLine, InvoiceTax
from invoicing.services.drafting import get_tax_mode
from metering.queries.measuring import MeasureRequest, measure_usage
from metering.stores import list_voidings


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not what the engine computes."""

    where: str
    stored: str
    computed: str

    def __str__(self) -> str:
        return f"{self.where}: stored {self.stored}, computed {self.computed}"


@dataclass(frozen=True, slots=True)
class Verification:
    """The result for one invoice. `late_usage` names meters whose usage of the period grew after the invoice."""

    invoice: Invoice
    differences: list[Difference]
    late_usage: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.differences


def verify_invoice(invoice: Invoice, *, check_usage: bool = False) -> Verification:
    """
    Recompute `invoice` from its trace and return every difference.

    With `check_usage` the quantities are read again from the usage store; more usage than billed is reported as late
    usage, and so is less where events were taken back since; else less is a difference. An unreadable trace is a
    difference, not an exception.
    """
    lines = list(InvoiceLine.objects.filter(invoice=invoice).order_by("position").prefetch_related("splits"))
    try:
        draft = draft_invoice(InvoiceFacts.from_dict(invoice.trace))
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        return Verification(invoice, [Difference("trace", "unreadable", str(error))])
    differences = [*_compare_document(invoice, draft), *_compare_lines(lines, draft), *_compare_taxes(invoice, draft)]
    differences += _compare_credits(invoice)
    late: list[str] = []
    if check_usage:
        missing, late = _compare_usage(lines, draft)
        differences += missing
    return Verification(invoice, differences, late)


def compare_draft(invoice: Invoice, lines: list[InvoiceLine], draft: Draft) -> list[Difference]:
    """Return every value in which an issued invoice is not what `draft` says; its lines come with their splits."""
    return [*_compare_document(invoice, draft), *_compare_lines(lines, draft)]


def _compare_document(invoice: Invoice, draft: Draft) -> Iterator[Difference]:
    pairs = {
        "currency": (invoice.currency, draft.facts.currency),
        "boundary": (invoice.boundary, draft.facts.boundary),
        "subtotal": (invoice.subtotal, draft.subtotal),
        "discount": (invoice.discount, draft.discount),
        "discount name": (invoice.discount_name, draft.discount_name[:255]),
        "tax": (invoice.tax, draft.tax),
        "tax mode": (invoice.tax_mode, get_tax_mode(draft)),
        "total": (invoice.total, draft.total),
        "amount_due": (invoice.amount_due, draft.amount_due - invoice.credit_applied),
        "period": (invoice.period, draft.period if draft.lines or draft.facts.period else None),
    }
    for name, (stored, computed) in pairs.items():
        if stored != computed:
            yield Difference(name, str(stored), str(computed))


def _compare_credits(invoice: Invoice) -> Iterator[Difference]:
    """What stored money paid at issue is what is kept of each source."""
    paid = InvoiceCredit.objects.filter(invoice=invoice, payment=0).aggregate(total=Sum("amount"))["total"] or 0
    if paid != invoice.credit_applied:
        yield Difference("credit applied", str(invoice.credit_applied), str(paid))


def _compare_taxes(invoice: Invoice, draft: Draft) -> Iterator[Difference]:
    rows = list(InvoiceTax.objects.filter(invoice=invoice).order_by("position"))
    if len(rows) != len(draft.taxes):
        yield Difference("number of tax lines", str(len(rows)), str(len(draft.taxes)))
        return
    for row, tax in zip(rows, draft.taxes, strict=True):
        pairs = {
            "name": (row.name, tax.rate.name),
            "rate": (row.rate, tax.rate.rate),
            "inclusive": (row.inclusive, tax.rate.inclusive),
            "jurisdiction": (row.jurisdiction, tax.rate.jurisdiction),
            "base": (row.base, tax.base),
            "amount": (row.amount, tax.amount),
            "note": (row.note, tax.note),
        }
        for name, (stored, computed) in pairs.items():
            if stored != computed:
                yield Difference(f"tax {row.position} {name}", str(stored), str(computed))


def _compare_lines(lines: list[InvoiceLine], draft: Draft) -> Iterator[Difference]:
    if len(lines) != len(draft.lines):
        yield Difference("number of lines", str(len(lines)), str(len(draft.lines)))
        return
    for row, line in zip(lines, draft.lines, strict=True):
        for name, stored, computed in _line_values(row, line):
            if stored != computed:
                yield Difference(f"line {row.position} {name}", str(stored), str(computed))


def _line_values(row: InvoiceLine, line: DraftLine) -> Iterator[tuple[str, object, object]]:
    yield "type", row.type, line.type
    yield "description", row.description, line.description
    yield "quantity", row.quantity, line.quantity
    yield "unit amount", row.unit_amount, line.unit_amount
    yield "amount", row.amount, line.amount
    yield "discount", row.discount, line.discount
    yield "tax", row.tax, line.tax
    yield "tax shares", tuple(row.tax_shares), line.taxes
    yield "period", row.period, line.period
    yield "trace", row.trace, line.trace
    yield (
        "splits",
        [(split.code, split.name, split.quantity, split.amount) for split in row.splits.all()],
        [(split.center.code, split.center.name, split.center.quantity, split.amount) for split in line.splits],
    )


def _compare_usage(lines: list[InvoiceLine], draft: Draft) -> tuple[list[Difference], list[str]]:
    metered = [
        (row, line, MeasureRequest(row.invoice.account_id, row.meter_id, row.period, line.charge.price))
        for row, line in zip(lines, draft.lines, strict=False)
        if row.meter_id is not None and line.type == "usage" and line.charge.given is None
    ]
    newest = _find_newest([row for row, _, _ in metered])
    missing, late = [], []
    for (row, line, _), found in zip(metered, measure_usage([request for *_, request in metered]), strict=True):
        now, billed = found.usage.quantity, line.charge.quantity
        after = newest.get(row.original_line_id or row.id)
        if after is not None and after.id != row.id:
            then = ChargeFacts.from_dict(after.trace["charge"]).quantity
            if then != billed:
                late.append(f"{line.charge.meter_name}: {_describe_change(then - billed)}, billed on {after.invoice}")
            billed = then
        if now < billed and (corrected := _count_corrected(row, line)):
            events = "1 event" if corrected == 1 else f"{corrected} events"
            late.append(f"{line.charge.meter_name}: {_describe_change(now - billed)} ({events})")
        elif now < billed:
            missing.append(Difference(f"line {row.position} usage", str(billed), str(now)))
        elif now > billed:
            late.append(f"{line.charge.meter_name}: {_describe_change(now - billed)}")
    return missing, late


def _find_newest(rows: Sequence[InvoiceLine]) -> dict[uuid.UUID, InvoiceLine]:
    """Return the newest line on top of each first one, by the id of the first. One query."""
    firsts = {row.original_line_id or row.id for row in rows}
    found = InvoiceLine.objects.filter(original_line__in=firsts, is_reversed=False).select_related("invoice")
    return {line.original_line_id: line for line in found.order_by("sequence") if line.original_line_id is not None}


def _describe_change(change: Decimal) -> str:
    if change < 0:
        return f"{format_exact(-change)} taken back after the invoice"
    return f"{format_exact(change)} recorded after the invoice"


def _count_corrected(row: InvoiceLine, line: DraftLine) -> int:
    """Return how many events of a usage line were taken back since it was made."""
    since = line.charge.source.last_recorded_at
    if row.meter_id is None or since is None:
        return 0
    return len(list_voidings(account_id=row.invoice.account_id, meter_id=row.meter_id, period=row.period, since=since))
