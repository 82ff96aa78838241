"""What each kind of job computes: tables that are read once, and a summary of what went by."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from accounts.models import Account
from billing_site.kernel.money import get_exponent
from catalog.services.documents import read_document
from invoicing.models import BillingJob, JobKind
from invoicing.queries.csv_rows import DRY_RUN_COLUMNS, WHAT_IF_COLUMNS, list_dry_run_cells, list_what_if_cells
from invoicing.queries.dry_runs import DryBatch, dry_run
from invoicing.queries.period_invoices import Month, count_candidates
from invoicing.queries.what_if import Reconsidered, build_price_book, reconsider_month
from invoicing.services.billing_jobs.exporting import AccountExportWork, JournalWork, ReportWork
from invoicing.services.billing_jobs.sheets import Sheet
from invoicing.services.shadow import Shadow, shadow_month

LISTED: Final = 50
SHADOW_COLUMNS: Final = ("account_id", "external_id", "invoice", "kind", "where", "issued", "computed")
Tell = Callable[[int, "int | None"], None]


class Work(Protocol):
    """One job under way."""

    @property
    def file_name(self) -> str:
        """The name of the file, without how it ends."""
        ...

    @property
    def sheets(self) -> Sequence[Sheet]:
        """The tables. Reading them does the work."""
        ...

    def summarize(self) -> dict[str, Any]:
        """Return what went by, as plain values: `counts`, `totals` by currency, and what the kind lists besides."""
        ...


def make_work(job: BillingJob, tell: Tell) -> Work:
    """
    Return the work that a job asks for. While its tables are read it calls `tell(done, total)`, outside of any
    transaction of its own; `total` is None where it is not known.

    :raises DomainError: for what cannot be done.
    """
    kinds: dict[str, Callable[[BillingJob, Tell], Work]] = {
        JobKind.DRY_RUN: _DryRun,
        JobKind.WHAT_IF: _WhatIf,
        JobKind.SHADOW: _ShadowRun,
        JobKind.ACCOUNT_EXPORT: AccountExportWork,
        JobKind.JOURNAL: JournalWork,
        JobKind.REPORT: ReportWork,
    }
    return kinds[job.kind](job, tell)


@dataclass(frozen=True, slots=True)
class _Scope:
    """A month, of an organization, of some accounts; how many invoices were looked at is told as they go by."""

    month: Month
    org_id: str
    account_ids: Sequence[uuid.UUID]

    @classmethod
    def read(cls, job: BillingJob) -> _Scope:
        keys = [uuid.UUID(key) for key in job.parameters.get("accounts", [])]
        return cls(Month.parse(job.parameters["period"]), job.org_id, keys)

    def count(self, tell: Tell) -> Callable[[int], None]:
        """Return what is called with the number of invoices that were read."""
        total = count_candidates(self.month, org_id=self.org_id, account_ids=self.account_ids)
        done = 0

        def add(count: int) -> None:
            nonlocal done
            done += count
            tell(done, total)

        tell(0, total)
        return add


class _DryRun:
    """What a run would issue: a row for each line."""

    def __init__(self, job: BillingJob, tell: Tell) -> None:
        self._job, self._tell = job, tell
        self._as_of = datetime.fromisoformat(job.parameters["as_of"])
        self._counts: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._findings: list[dict[str, str]] = []
        self.file_name = f"dry-run-{job.org_id}-{self._as_of:%Y-%m-%d}"
        numbers = frozenset({"quantity", "amount", "discount", "invoice_total", "credit_applied", "amount_due"})
        self.sheets = [Sheet("dry_run", DRY_RUN_COLUMNS, self._list_rows(), numbers)]

    def _list_rows(self) -> Iterator[Sequence[Any]]:
        for batch in dry_run(org_id=self._job.org_id, as_of=self._as_of):
            self._add(batch)
            self._tell(self._counts["subscriptions"], batch.total)
            yield from list_dry_run_cells(batch)

    def _add(self, batch: DryBatch) -> None:
        self._counts["subscriptions"] += batch.subscriptions
        for each in batch.invoices:
            self._totals[each.invoice.draft.facts.currency] += each.invoice.draft.total
            self._counts["held" if each.finding else "invoices"] += 1
            if each.finding:
                account = each.previewed.subscription.account
                self._note(account.external_id or account.public_id, f"held for review: {each.finding.reason}")
        for failure in batch.failures:
            self._counts["failed"] += len(failure.subscription_ids)
            self._note(failure.account_id, f"cannot be computed: {failure.error}")

    def _note(self, account: str, text: str) -> None:
        if len(self._findings) < LISTED:
            self._findings.append({"name": account, "text": text[:500]})

    def summarize(self) -> dict[str, Any]:
        return {
            "counts": [
                ["Subscriptions due", self._counts["subscriptions"]],
                ["Invoices that would be issued", self._counts["invoices"]],
                ["Held for review", self._counts["held"]],
                ["Subscriptions that would fail", self._counts["failed"]],
            ],
            "totals": [{"currency": currency, "amount": self._totals[currency]} for currency in sorted(self._totals)],
            "findings": self._findings,
            "finding_count": self._counts["held"] + self._counts["failed"],
        }


class _WhatIf:
    """
    A month at other prices: a row for each invoice.

    Two sums are kept for each account with an invoice in the month; names are read for those that are shown.
    """

    def __init__(self, job: BillingJob, tell: Tell) -> None:
        self._tell, self._scope = tell, _Scope.read(job)
        self._book = build_price_book(read_document(job.catalog))
        self._sums: dict[tuple[uuid.UUID, str], list[int]] = {}
        self._kept: Counter[str] = Counter()
        self._invoices = 0
        self.file_name = f"what-if-{self._scope.month.first:%Y-%m}"
        numbers = frozenset({"quantity", "issued", "would_be", "difference"})
        self.sheets = [Sheet("what_if", WHAT_IF_COLUMNS, self._list_rows(), numbers)]

    def _list_rows(self) -> Iterator[Sequence[Any]]:
        scope = self._scope
        batches = reconsider_month(
            scope.month,
            self._book,
            org_id=scope.org_id,
            account_ids=scope.account_ids,
            tell=scope.count(self._tell),
        )
        for batch in batches:
            self._add(batch)
            yield from list_what_if_cells(batch)

    def _add(self, batch: Iterable[Reconsidered]) -> None:
        for each in batch:
            self._invoices += 1
            sums = self._sums.setdefault((each.invoice.account_id, each.invoice.currency), [0, 0])
            sums[0] += each.invoice.total
            sums[1] += each.draft.total
            self._kept.update(f"{one.charge.plan_id}: {one.reason}" for one in each.kept)

    def summarize(self) -> dict[str, Any]:
        """Differences by account, the largest first; amounts of several currencies are compared in major units."""
        currencies = sorted({currency for _, currency in self._sums})
        changed = [(key, sums) for key, sums in self._sums.items() if sums[0] != sums[1]]
        changed.sort(key=lambda one: (-abs(one[1][1] - one[1][0]) * 10 ** (4 - get_exponent(one[0][1])), one[0]))
        shown = changed[:LISTED]
        names = {row.pk: row for row in Account.objects.filter(pk__in=[key for (key, _), _ in shown])}
        return {
            "counts": [["Invoices", self._invoices], ["Accounts that differ", len({key for (key, _), _ in changed})]],
            "totals": [
                {
                    "currency": currency,
                    "issued": sum(sums[0] for (_, each), sums in self._sums.items() if each == currency),
                    "would_be": sum(sums[1] for (_, each), sums in self._sums.items() if each == currency),
                }
                for currency in currencies
            ],
            "accounts": [
                {
                    "id": names[key].public_id,
                    "name": str(names[key]),
                    "currency": currency,
                    "issued": sums[0],
                    "would_be": sums[1],
                }
                for (key, currency), sums in shown
            ],
            "account_count": len(changed),
            "kept": [[reason, count] for reason, count in sorted(self._kept.items())],
        }


class _ShadowRun:
    """A month computed again: a row for each value that is not what was issued, and for late usage."""

    def __init__(self, job: BillingJob, tell: Tell) -> None:
        self._tell, self._scope = tell, _Scope.read(job)
        self._counts: Counter[str] = Counter()
        self._findings: list[dict[str, str]] = []
        self.file_name = f"shadow-{self._scope.month.first:%Y-%m}"
        self.sheets = [Sheet("differences", SHADOW_COLUMNS, self._list_rows())]

    def _list_rows(self) -> Iterator[Sequence[Any]]:
        scope = self._scope
        tell = scope.count(self._tell)
        for batch in shadow_month(scope.month, org_id=scope.org_id, account_ids=scope.account_ids, tell=tell):
            for each in batch:
                self._add(each)
                yield from _list_shadow_rows(each)

    def _add(self, each: Shadow) -> None:
        self._counts["checked"] += 1
        self._counts["gathered"] += each.gathered
        self._counts["late"] += bool(each.late)
        self._counts["wrong"] += not each.holds
        found = [("", difference) for difference in each.stored]
        found += [("gathered anew, ", difference) for difference in each.anew]
        self._counts["differences"] += len(found)
        for origin, difference in found[: LISTED - len(self._findings)]:
            self._findings.append({"name": str(each.invoice), "text": f"{origin}{difference}"[:500]})

    def summarize(self) -> dict[str, Any]:
        return {
            "counts": [
                ["Invoices computed again", self._counts["checked"]],
                ["Charges gathered anew", self._counts["gathered"]],
                ["Invoices with late usage", self._counts["late"]],
                ["Invoices that differ", self._counts["wrong"]],
            ],
            "totals": [],
            "findings": self._findings,
            "finding_count": self._counts["differences"],
        }


def _list_shadow_rows(each: Shadow) -> Iterator[Sequence[Any]]:
    account = each.invoice.account
    head = (account.public_id, account.external_id, each.invoice.number_text)
    for kind, differences in (("stored", each.stored), ("gathered anew", each.anew)):
        for one in differences:
            yield (*head, kind, one.where, one.stored, one.computed)
    for late in each.late:
        yield (*head, "late usage", late, "", "")
