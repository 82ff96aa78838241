"""
The issued invoices of a month, whoever they were issued to, in batches.

An invoice is of the month in which the newest usage it bills began; without usage, in which its newest line began: that
of 1 November with the usage of October is of October, as is that of 1 October with October's fee alone. Months are
those of the account's own zone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models import Prefetch, QuerySet

from billing_site.kernel.periods import add_months
from billing_site.kernel.read_only import read_only
from invoicing.models import Invoice, InvoiceLine, InvoiceStatus

BATCH: Final = 500
_ISSUED: Final = (InvoiceStatus.OPEN, InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE)
_SLACK: Final = timedelta(days=1)  # no zone is further from UTC


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month, by its first day."""

    first: date

    @classmethod
    def parse(cls, text: str) -> Month:
        """Return the month written as 2026-10. :raises ValueError: for anything else."""
        return cls(datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date())

    def has(self, invoice: Invoice) -> bool:
        """Tell whether an invoice with its lines loaded is of this month."""
        lines = list(invoice.lines.all())
        newest = [line for line in lines if line.type == "usage"] or lines
        if not newest:
            return False
        zone = ZoneInfo(invoice.trace.get("timezone", "UTC"))
        return max(line.period_start for line in newest).astimezone(zone).date().replace(day=1) == self.first


def list_period_invoices(
    month: Month,
    *,
    org_id: str = "",
    account_ids: Collection[uuid.UUID] = (),
    size: int = BATCH,
    tell: Callable[[int], None] | None = None,
) -> Iterator[list[Invoice]]:
    """
    Yield the issued invoices of a month, with lines, splits and account, oldest first.

    Each batch is read in a read-only transaction of its own, by three queries. Outside of it, `tell` is called with the
    number of candidates that were read: at most `count_candidates`.
    """
    rows = _list_candidates(month, org_id, account_ids)
    last: uuid.UUID | None = None
    while True:
        with read_only():
            batch = list((rows if last is None else rows.filter(id__gt=last))[:size])
        if not batch:
            return
        last = batch[-1].pk
        if tell is not None:
            tell(len(batch))
        yield [invoice for invoice in batch if month.has(invoice)]


def count_candidates(month: Month, *, org_id: str = "", account_ids: Collection[uuid.UUID] = ()) -> int:
    """Return how many issued invoices may be of a month: those whose period touches it. One query."""
    return _list_candidates(month, org_id, account_ids).count()


def _list_candidates(month: Month, org_id: str, account_ids: Collection[uuid.UUID]) -> QuerySet[Invoice]:
    start = datetime.combine(month.first, time(), UTC) - _SLACK
    end = datetime.combine(add_months(month.first, 1), time(), UTC) + _SLACK
    lines = InvoiceLine.objects.order_by("position").prefetch_related("splits")
    found = Invoice.objects.filter(status__in=_ISSUED, period_start__lt=end, period_end__gt=start)
    if org_id:
        found = found.filter(org_id=org_id)
    if account_ids:
        found = found.filter(account_id__in=list(account_ids))
    return found.select_related("account").prefetch_related(Prefetch("lines", lines)).order_by("id")
