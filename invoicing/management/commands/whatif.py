"""`manage.py whatif`: a month that was invoiced, at the prices of another catalog."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing_site.kernel.errors import DomainError
from billing_site.kernel.money import format_decimal
from catalog.services.documents import read_document
from invoicing.management.choices import read_accounts, read_month
from invoicing.management.csv_output import open_csv
from invoicing.queries.csv_rows import WHAT_IF_COLUMNS, list_what_if_rows
from invoicing.queries.what_if import build_price_book, reconsider_month


class Command(BaseCommand):
    help = (
        "Compute the invoices of a month again with the usage of then and the prices of another catalog document."
        " Writes nothing; what has no price there keeps its own and is listed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--catalog", required=True, help="a catalog document (JSON)")
        parser.add_argument("--period", required=True, help="the month, such as 2026-10")
        parser.add_argument("--org", default="", help="one organization")
        parser.add_argument("--accounts", nargs="*", default=[], help="ids or external ids")
        parser.add_argument(
            "--csv", default="", metavar="FILE", help="a row for each invoice; - is the standard output"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        month, accounts = read_month(options["period"]), read_accounts(options["accounts"])
        book = build_price_book(_read_catalog(options["catalog"]))
        issued, would_be = Counter[str](), Counter[str]()
        by_account: dict[tuple[str, str], list[int]] = {}
        kept: Counter[str] = Counter()
        invoices = 0
        with open_csv(options["csv"], WHAT_IF_COLUMNS) as writer:
            for batch in reconsider_month(month, book, org_id=options["org"], account_ids=accounts):
                for each in batch:
                    invoice, currency = each.invoice, each.invoice.currency
                    invoices += 1
                    issued[currency] += invoice.total
                    would_be[currency] += each.draft.total
                    sums = by_account.setdefault((str(invoice.account), currency), [0, 0])
                    sums[0] += invoice.total
                    sums[1] += each.draft.total
                    kept.update(f"{one.charge.plan_id}: {one.reason}" for one in each.kept)
                if writer is not None:
                    writer.writerows(list_what_if_rows(batch))
        for (name, currency), (before, after) in sorted(by_account.items()):
            self.stderr.write(f"{name}: {_show(before, after, currency)}")
        for reason, count in sorted(kept.items()):
            self.stderr.write(f"price kept for {count:,}: {reason}")
        self.stderr.write(f"{invoices:,} invoices of {options['period']}")
        for currency in sorted(issued):
            self.stderr.write(f"total: {_show(issued[currency], would_be[currency], currency)}")


def _read_catalog(path: str) -> Any:
    try:
        return read_document(json.loads(Path(path).read_text(encoding="utf-8"), parse_float=Decimal))
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from error
    except DomainError as error:
        raise CommandError(f"{path}: {error.detail}") from error


def _show(before: int, after: int, currency: str) -> str:
    change = format_decimal(after - before, currency)
    sign = "" if after < before else "+"
    old, new = format_decimal(before, currency), format_decimal(after, currency)
    return f"{old} issued, {new} at these prices, {sign}{change} {currency.upper()}"
