"""`manage.py verify_invoice`: recompute issued documents from their stored trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from invoicing.models import Invoice
from invoicing.services.verification import verify_invoice


class Command(BaseCommand):
    help = "Recompute invoices from their trace and compare every amount. Exits 1 when one differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("references", nargs="*", metavar="INVOICE", help="id (in_…) or number (INV-0042)")
        parser.add_argument("--all", action="store_true", help="every issued invoice")
        parser.add_argument("--usage", action="store_true", help="read the quantities again from the usage store too")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["references"]) == bool(options["all"]):
            raise CommandError("Name one or more invoices, or give --all.")
        checked, wrong = 0, 0
        for invoice in self._select(options):
            result = verify_invoice(invoice, check_usage=options["usage"])
            checked += 1
            wrong += not result.holds
            for difference in result.differences:
                self.stdout.write(f"{invoice}: {difference}")
            for late in result.late_usage:
                self.stdout.write(f"{invoice}: late usage, {late}")
            if result.holds and options["verbosity"] >= 1 and not options["all"]:
                self.stdout.write(f"{invoice}: recomputed, {invoice.total} {invoice.currency.upper()} to the cent")
        self.stdout.write(f"{checked} invoices recomputed, {wrong} differ")
        if wrong:
            raise CommandError(f"{wrong} of {checked} invoices are not what their trace says.", returncode=1)

    def _select(self, options: dict[str, Any]) -> Iterator[Invoice]:
        if options["all"]:
            yield from Invoice.objects.exclude(number__isnull=True).order_by("id").iterator(chunk_size=1_000)
            return
        for reference in options["references"]:
            key = Invoice.parse_id(reference)
            found = list(
                Invoice.objects.filter(id=key) if key else Invoice.objects.filter(number_text__iexact=reference)
            )
            if not found:
                raise CommandError(f"No invoice {reference}.")
            yield from found
