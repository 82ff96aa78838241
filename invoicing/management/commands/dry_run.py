"""`manage.py dry_run`: what the next billing run of an organization would issue, written nowhere."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing_site.kernel import clock
from billing_site.kernel.money import format_decimal
from invoicing.management.csv_output import open_csv
from invoicing.queries.csv_rows import DRY_RUN_COLUMNS, list_dry_run_rows
from invoicing.queries.dry_runs import dry_run


class Command(BaseCommand):
    help = "Compute what a billing run of an organization would issue, in read-only transactions. Totals go to stderr."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--org", required=True, help="the organization")
        parser.add_argument("--at", default="", help="as of when, with offset from UTC; now without it")
        parser.add_argument("--limit", type=int, help="the most subscriptions")
        parser.add_argument("--csv", default="", metavar="FILE", help="a row for each line; - is the standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        totals: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        with open_csv(options["csv"], DRY_RUN_COLUMNS) as writer:
            for batch in dry_run(org_id=options["org"], as_of=_read_instant(options["at"]), limit=options["limit"]):
                counts["subscriptions"] += batch.subscriptions
                for each in batch.invoices:
                    totals[each.invoice.draft.facts.currency] += each.invoice.draft.total
                    counts["held" if each.finding else "invoices"] += 1
                for failure in batch.failures:
                    counts["failed"] += len(failure.subscription_ids)
                    self.stderr.write(f"{', '.join(failure.subscription_ids)}: {failure.error}")
                if writer is not None:
                    writer.writerows(list_dry_run_rows(batch))
                if options["verbosity"] > 1:
                    self.stderr.write(f"{counts['subscriptions']:,} of {batch.total:,} subscriptions")
        self.stderr.write(
            f"{counts['subscriptions']:,} subscriptions due: {counts['invoices']:,} invoices would be issued,"
            f" {counts['held']:,} held for review, {counts['failed']:,} would fail"
        )
        for currency, total in sorted(totals.items()):
            self.stderr.write(f"{format_decimal(total, currency)} {currency.upper()}")


def _read_instant(text: str) -> datetime:
    if not text:
        return clock.now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError("--at is a time such as 2026-11-01T00:00:00Z.") from error
    if moment.tzinfo is None:
        raise CommandError("--at needs an offset from UTC: 2026-11-01T00:00:00Z.")
    return moment
