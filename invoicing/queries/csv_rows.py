"""Rows of CSV exports: amounts as decimal text, and no cell that a spreadsheet would run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from billing_site.kernel.money import format_decimal
from invoicing.queries.dry_runs import DryBatch
from invoicing.queries.what_if import Reconsidered

DRY_RUN_COLUMNS: Final = (
    *("account_id", "external_id", "subscription_id", "invoice", "period_start", "period_end", "line", "type"),
    *("description", "quantity", "amount", "discount", "currency", "invoice_total", "credit_applied", "amount_due"),
    "held",
)
WHAT_IF_COLUMNS: Final = (
    *("account_id", "external_id", "invoice", "currency", "line", "type", "description", "quantity"),
    *("issued", "would_be", "difference", "kept"),
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def clean_row(cells: Iterable[Any]) -> list[str]:
    """Return cells as text; one that begins like a formula and is no number is prefixed."""
    return [_clean("" if cell is None else str(cell)) for cell in cells]


def _clean(text: str) -> str:
    if not text.startswith(_FORMULA) or text[1:].replace(".", "", 1).isdigit():
        return text
    return f"'{text}"


def list_dry_run_rows(batch: DryBatch) -> Iterator[list[str]]:
    """Yield a row for each line of each invoice that a run would make, safe in a spreadsheet."""
    return map(clean_row, list_dry_run_cells(batch))


def list_dry_run_cells(batch: DryBatch) -> Iterator[tuple[Any, ...]]:
    """Yield the same rows as they are."""
    numbers: dict[str, int] = {}
    for each in batch.invoices:
        subscription, invoice = each.previewed.subscription, each.invoice
        name, currency = subscription.public_id, subscription.currency
        numbers[name] = numbers.get(name, 0) + 1
        for position, line in enumerate(invoice.draft.lines, start=1):
            yield (
                subscription.account.public_id,
                subscription.account.external_id,
                line.charge.subscription or name,
                numbers[name],
                _show(line.period.start),
                _show(line.period.end),
                position,
                line.type,
                line.description,
                f"{line.quantity:f}",
                format_decimal(line.amount, currency),
                format_decimal(line.discount, currency),
                currency,
                format_decimal(invoice.draft.total, currency),
                format_decimal(invoice.credit_applied, currency),
                format_decimal(invoice.amount_due, currency),
                each.finding.reason if each.finding else "",
            )


def list_what_if_rows(batch: Iterable[Reconsidered]) -> Iterator[list[str]]:
    """Yield a row for each invoice and for what keeps its price, safe in a spreadsheet."""
    return map(clean_row, list_what_if_cells(batch))


def list_what_if_cells(batch: Iterable[Reconsidered]) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each invoice: its total as issued and as it would have been; then what keeps its price."""
    for each in batch:
        invoice, draft = each.invoice, each.draft
        account, currency = invoice.account, invoice.currency
        head = (account.public_id, account.external_id, invoice.number_text, currency)
        amounts = [format_decimal(amount, currency) for amount in (invoice.total, draft.total, each.difference)]
        yield (*head, "", "invoice", "", "", *amounts, "")
        for kept in each.kept:
            charge = kept.charge
            what = charge.meter_name or charge.plan_name
            yield (*head, "", charge.type, what, f"{charge.quantity:f}", "", "", "", kept.reason)


def _show(moment: datetime) -> str:
    return moment.isoformat()
