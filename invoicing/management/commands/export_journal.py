"""`manage.py export_journal 2026-10`: the journal of a month as CSV, balanced or refused."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from billing_site.kernel.csv_text import write_lines
from billing_site.kernel.money import format_decimal
from invoicing.queries.journal import JOURNAL_COLUMNS, JournalTotals, stream_journal


def read_month(text: str) -> date:
    """Return the first day of `YYYY-MM`. :raises argparse.ArgumentTypeError: for anything else."""
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a month like 2026-10") from None


class Command(BaseCommand):
    help = "Write the journal of a month as CSV; exits 1 when debits and credits differ."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("month", type=read_month, help="YYYY-MM, calendar month in UTC")
        parser.add_argument("--org", default="default", help="organization (default: default)")
        parser.add_argument("--output", type=Path, help="file to write (default: standard output)")

    def handle(self, *args: Any, month: date, org: str, output: Path | None, **options: Any) -> None:
        totals = JournalTotals()
        cells = (row.as_cells() for row in totals.watch(stream_journal(org_id=org, month=month)))
        with transaction.atomic():
            if output is None:
                self._write(cells)
            else:
                with output.open("w", encoding="utf-8", newline="") as file:
                    file.writelines(write_lines([list(JOURNAL_COLUMNS)]))
                    file.writelines(write_lines(cells))
        if not totals.is_balanced:
            raise CommandError(f"The journal does not balance: {', '.join(totals.unbalanced[:5]) or 'totals differ'}.")
        sums = [f"{format_decimal(amount, name)} {name.upper()}" for name, amount in sorted(totals.debits.items())]
        self.stderr.write(f"{totals.rows:,} rows, balanced: {', '.join(sums) or 'nothing was booked'}.")

    def _write(self, cells: Any) -> None:
        for line in write_lines([list(JOURNAL_COLUMNS)]):
            self.stdout.write(line, ending="")
        for line in write_lines(cells):
            self.stdout.write(line, ending="")
