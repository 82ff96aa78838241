"""`manage.py verify_invoice`: recompute invoices and credit notes from their stored trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from invoicing.models import CreditNote, Invoice
from invoicing.services.credit_note_verification import CreditNoteVerification, verify_credit_note
from invoicing.services.verification import Verification, verify_invoice


class Command(BaseCommand):
    help = "Recompute invoices and credit notes from their trace and compare every amount. Exits 1 when one differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "references", nargs="*", metavar="DOCUMENT", help="id (in_…, cn_…) or number (INV-0042, CN-0001)"
        )
        parser.add_argument("--all", action="store_true", help="every issued invoice and credit note")
        parser.add_argument("--usage", action="store_true", help="read the quantities again from the usage store too")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["references"]) == bool(options["all"]):
            raise CommandError("Name one or more documents, or give --all.")
        checked = {"invoice": 0, "credit note": 0}
        wrong = 0
        for document in self._select(options):
            result = _verify(document, check_usage=options["usage"])
            checked["invoice" if isinstance(document, Invoice) else "credit note"] += 1
            wrong += not result.holds
            for difference in result.differences:
                self.stdout.write(f"{document}: {difference}")
            for late in result.late_usage if isinstance(result, Verification) else ():
                self.stdout.write(f"{document}: late usage, {late}")
            if result.holds and options["verbosity"] >= 1 and not options["all"]:
                self.stdout.write(f"{document}: recomputed, {document.total} {document.currency.upper()} to the cent")
        notes = f" and {checked['credit note']} credit notes" if checked["credit note"] else ""
        self.stdout.write(f"{checked['invoice']} invoices{notes} recomputed, {wrong} differ")
        if wrong:
            raise CommandError(f"{wrong} of {sum(checked.values())} are not what their trace says.", returncode=1)

    def _select(self, options: dict[str, Any]) -> Iterator[Invoice | CreditNote]:
        if options["all"]:
            yield from Invoice.objects.exclude(number__isnull=True).order_by("id").iterator(chunk_size=1_000)
            yield from CreditNote.objects.select_related("invoice").order_by("id").iterator(chunk_size=1_000)
            return
        for reference in options["references"]:
            found = [*_find(Invoice, reference), *_find(CreditNote, reference)]
            if not found:
                raise CommandError(f"No invoice or credit note {reference}.")
            yield from found


def _find(model: type[Invoice] | type[CreditNote], reference: str) -> list[Any]:
    key = model.parse_id(reference)
    return list(model.objects.filter(id=key) if key else model.objects.filter(number_text__iexact=reference))


def _verify(document: Invoice | CreditNote, *, check_usage: bool) -> Verification | CreditNoteVerification:
    if isinstance(document, CreditNote):
        return verify_credit_note(document)
    return verify_invoice(document, check_usage=check_usage)
