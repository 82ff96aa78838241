"""How the amounts of invoices and credit notes came about, line by line, as admin pages show it."""

from __future__ import annotations

from typing import Any

from django.utils.safestring import SafeString

from billing_site.backoffice.display import format_money, format_period
from billing_site.backoffice.history import Explanation, Step, render_explanations
from invoicing.models import CreditNote, CreditNoteLine, CreditNoteTax, Invoice, InvoiceLine

_SHOWN = 50


def explain_lines(invoice: Invoice) -> SafeString:
    """Return the derivation of the first lines, from what was stored with them."""
    lines = InvoiceLine.objects.filter(invoice=invoice).order_by("position")[:_SHOWN]
    explained = [_explain(line, invoice) for line in lines]
    return render_explanations(explained, intro="Stored when the invoice was made; each line is rounded once.")


def explain_note(note: CreditNote) -> SafeString:
    """Return the derivation of a note's first lines and of its taxes, from what was stored with them."""
    lines = CreditNoteLine.objects.filter(credit_note=note).order_by("position")[:_SHOWN]
    taxes = CreditNoteTax.objects.filter(credit_note=note).order_by("position")
    parts = [(f"{line.position}. {line.description}", line.amount, line.trace) for line in lines]
    parts += [(f"Tax {tax.name}", tax.amount, tax.trace) for tax in taxes]
    explained = [
        Explanation(title=title, value=format_money(amount, note.currency), steps=_read_steps(trace))
        for title, amount, trace in parts
    ]
    return render_explanations(
        explained, intro="Stored when the credit note was issued; net and tax are rounded apart."
    )


def _read_steps(trace: dict[str, Any]) -> list[Step]:
    return [Step(step["title"], step["formula"], step["value"]) for step in trace.get("steps", [])]


def _explain(line: InvoiceLine, invoice: Invoice) -> Explanation:
    return Explanation(
        title=f"{line.position}. {line.description}",
        value=format_money(line.amount, line.currency),
        subtitle=str(format_period(line.period_start, line.period_end, invoice.account.timezone)),
        steps=_read_steps(line.trace),
    )
