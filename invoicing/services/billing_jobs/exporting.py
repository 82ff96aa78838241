"""Jobs that hand out what is stored: the data of an account, the journal of a month, a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import Any, Final

from django.utils.text import slugify

from billing_site.kernel.errors import DomainError, NotFound
from invoicing.models import BillingJob, Seller
from invoicing.queries import account_export
from invoicing.queries.account_export import choose_days
from invoicing.queries.journal import JOURNAL_COLUMNS, JournalTotals, stream_journal
from invoicing.queries.period_invoices import Month
from invoicing.queries.reports.asking import AMOUNTS, Asked, choose_months
from invoicing.queries.reports.catalogue import get_report
from invoicing.services.billing_jobs.sheets import Sheet

EVERY: Final = 2_000
REPORT_MONTHS: Final = 12


class JournalUnbalanced(DomainError):
    code, title, status = "journal_unbalanced", "The journal does not balance", 409


def _count_rows(
    rows: Iterable[Sequence[Any]], tell: Callable[[int, int | None], None], counted: list[int]
) -> Iterator[Sequence[Any]]:
    """Hand on rows, count them in `counted`, and tell of it from time to time."""
    for row in rows:
        counted[0] += 1
        if counted[0] % EVERY == 0:
            tell(counted[0], None)
        yield row
    tell(counted[0], None)


class AccountExportWork:
    """The billing data of an account: a table for each part."""

    def __init__(self, job: BillingJob, tell: Callable[[int, int | None], None]) -> None:
        if job.account is None:
            raise NotFound("account")
        account, asked = job.account, job.parameters
        days = choose_days(year=None, start=_read_day(asked.get("start")), end=_read_day(asked.get("end")))
        now = account.clock_time or job.requested_at
        tables = account_export.list_parts(account, days, now=now, detailed=asked.get("detailed", False))
        total = [0]
        self._counts: dict[str, list[int]] = {name: [0] for name in tables}

        def tell_sum(_done: int, _total: int | None) -> None:
            total[0] = sum(count for (count,) in self._counts.values())
            tell(total[0], None)

        self.file_name = f"account-{slugify(account.external_id or account.public_id)}"
        self.sheets = [
            Sheet(name, table.columns, _count_rows(table.rows, tell_sum, self._counts[name]))
            for name, table in tables.items()
        ]

    def summarize(self) -> dict[str, Any]:
        return {"counts": [[f"Rows of {name}", count] for name, (count,) in self._counts.items()], "totals": []}


def _read_day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


class JournalWork:
    """The journal of a month, balanced or refused."""

    def __init__(self, job: BillingJob, tell: Callable[[int, int | None], None]) -> None:
        month = Month.parse(job.parameters["month"]).first
        seller = Seller.objects.filter(pk=job.parameters["seller"]).first() if job.parameters.get("seller") else None
        self._totals, counted = JournalTotals(), [0]
        rows = stream_journal(org_id=job.org_id, month=month, seller_id=None if seller is None else seller.pk)
        cells = (row.as_cells() for row in self._totals.watch(rows))
        prefix = "" if seller is None else f"{slugify(seller.invoice_prefix)}-"
        self.file_name = f"journal-{slugify(job.org_id)}-{prefix}{month:%Y-%m}"
        numbers = frozenset({"debit", "credit"})
        self.sheets = [Sheet("journal", JOURNAL_COLUMNS, _count_rows(cells, tell, counted), numbers)]

    def summarize(self) -> dict[str, Any]:
        """:raises JournalUnbalanced: when debits and credits differ."""
        if not self._totals.is_balanced:
            raise JournalUnbalanced(
                f"The journal does not balance: {', '.join(self._totals.unbalanced[:5]) or 'totals differ'}."
            )
        return {
            "counts": [["Rows, debits equal to credits", self._totals.rows]],
            "totals": [
                {"currency": currency, "amount": self._totals.debits[currency]}
                for currency in sorted(self._totals.debits)
            ],
        }


class ReportWork:
    """A report of finance. Its rows are few; computing them takes the time."""

    def __init__(self, job: BillingJob, tell: Callable[[int, int | None], None]) -> None:
        asked = job.parameters
        report = get_report(asked["report"])
        first, last = choose_months(
            start=asked.get("start"), end=asked.get("end"), count=REPORT_MONTHS, at=job.requested_at
        )
        table = report.make(
            Asked(job.requested_at, first, last, org_id=job.org_id or None, currency=asked.get("currency") or None)
        )
        self._counted = [0]
        rows = ([row[column] for column in table.columns] for row in table.rows)
        self.file_name = f"{report.name}-{last:%Y-%m}"
        minor = AMOUNTS.intersection(table.columns) if "currency" in table.columns else frozenset()
        self.sheets = [
            Sheet(report.name, table.columns, _count_rows(rows, tell, self._counted), minor=frozenset(minor))
        ]

    def summarize(self) -> dict[str, Any]:
        return {"counts": [["Rows", self._counted[0]]], "totals": []}
