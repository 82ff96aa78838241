"""`manage.py prove_usage`: recompute the totals of usage from its events and name every difference."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Account
from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from metering.services.usage_proof import prove_usage, repair_usage
from metering.stores.proof import BEGINNING, END, Difference, ProofScope


class Command(BaseCommand):
    help = "Recompute roll-ups, counters, members and keys from the events; exits 1 and names every difference."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", default="", help="id or external id of one account; default: all accounts")
        parser.add_argument("--from", dest="first", type=date.fromisoformat, help="first UTC day, such as 2026-03-01")
        parser.add_argument("--to", dest="last", type=date.fromisoformat, help="last UTC day, included")
        parser.add_argument("--repair", action="store_true", help="write the totals that differ anew from the events")

    def handle(self, *args: Any, **options: Any) -> None:
        scope = ProofScope(
            at=clock.now(),
            account_id=self.find_account(options["account"]).pk if options["account"] else None,
            start=as_midnight(options["first"]) if options["first"] else BEGINNING,
            end=as_midnight(options["last"]) + timedelta(days=1) if options["last"] else END,
        )
        if scope.end <= scope.start:
            raise CommandError("--to lies before --from.")
        if not options["repair"]:
            proof = prove_usage(scope, tell=self.tell)
            if not proof.holds:
                raise CommandError(f"The totals of usage do not hold: {proof.count:,} differences.")
            self.stdout.write("The totals of usage hold.")
            return
        before = repair_usage(scope, at=scope.at, actor=Actor("system", "prove_usage"), tell=self.tell)
        after = before if before.holds else prove_usage(scope)
        self.stdout.write(f"{before.count:,} differences; the totals of {before.repaired:,} meters were written anew.")
        if not after.holds:
            raise CommandError(f"{after.count:,} differences are left, which no recomputing mends.")

    def tell(self, difference: Difference) -> None:
        self.stdout.write(str(difference))

    def find_account(self, text: str) -> Account:
        """:raises CommandError: if there is none, or several of that name."""
        key = Account.parse_id(text)
        found = list(Account.objects.filter(pk=key) if key else Account.objects.filter(external_id=text)[:2])
        if len(found) != 1:
            raise CommandError(f"There is {'no' if not found else 'more than one'} account {text!r}.")
        return found[0]


def as_midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
