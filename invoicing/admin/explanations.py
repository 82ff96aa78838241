"""How the amounts of an invoice came about, line by line, as admin pages show it."""

from __future__ import annotations

from typing import Any

from django.utils.safestring import SafeString

from billing_site.backoffice.display import format_money, format_period
from billing_site.backoffice.history import Explanation, Step, render_explanations
from invoicing.models import Invoice, InvoiceLine

_SHOWN = 50


def explain_lines(invoice: Invoice) -> SafeString:
    """Return the derivation of the first lines, from what was stored with them."""
    lines = InvoiceLine.objects.filter(invoice=invoice).order_by("position")[:_SHOWN]
    explained = [_explain(line, invoice) for line in lines]
    return render_explanations(explained, intro="Stored when the invoice was made; each line is rounded once.")


def _explain(line: InvoiceLine, invoice: Invoice) -> Explanation:
    steps: list[dict[str, Any]] = line.trace.get("steps", [])
    return Explanation(
        title=f"{line.position}. {line.description}",
        value=format_money(line.amount, line.currency),
        subtitle=str(format_period(line.period_start, line.period_end, invoice.account.timezone)),
        steps=[Step(step["title"], step["formula"], step["value"]) for step in steps],
    )
