"""`manage.py shadow`: a month that was invoiced, computed again by today's code. Exits 1 where it differs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from invoicing.management.choices import read_accounts, read_month
from invoicing.services.shadow import shadow_month


class Command(BaseCommand):
    help = (
        "Compute the invoices of a month again, from the facts stored with them and from facts gathered anew, and list"
        " every value that is not what was issued. Writes nothing; exits 1 when one differs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--period", required=True, help="the month, such as 2026-10")
        parser.add_argument("--org", default="", help="one organization")
        parser.add_argument("--accounts", nargs="*", default=[], help="ids or external ids")

    def handle(self, *args: Any, **options: Any) -> None:
        month, accounts = read_month(options["period"]), read_accounts(options["accounts"])
        checked, wrong, late, gathered = 0, 0, 0, 0
        for batch in shadow_month(month, org_id=options["org"], account_ids=accounts):
            for each in batch:
                checked += 1
                wrong += not each.holds
                late += bool(each.late)
                gathered += each.gathered
                for difference in each.stored:
                    self.stdout.write(f"{each.invoice}: {difference}")
                for difference in each.anew:
                    self.stdout.write(f"{each.invoice}, gathered anew: {difference}")
                for usage in each.late:
                    self.stdout.write(f"{each.invoice}: late usage, {usage}")
        self.stdout.write(
            f"{checked:,} invoices of {options['period']} computed again, {gathered:,} charges gathered anew,"
            f" {late:,} invoices with late usage, {wrong:,} differ"
        )
        if wrong:
            raise CommandError(f"{wrong} of {checked} invoices are not what today's code computes.", returncode=1)
