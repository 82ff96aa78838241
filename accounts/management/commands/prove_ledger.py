"""`manage.py prove_ledger`: recompute the ledger and name the first row that is wrong."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.queries.proof import prove_ledger


class Command(BaseCommand):
    help = "Recompute every balance and entry of the ledger; exits 1 and names the first row that is wrong."

    def handle(self, *args: Any, **options: Any) -> None:
        proof = prove_ledger()
        if proof.fault is not None:
            raise CommandError(f"The ledger does not hold. {proof.fault}")
        self.stdout.write(
            f"The ledger holds: {proof.entries:,} entries, {proof.postings:,} postings, "
            f"{proof.accounts:,} ledger accounts."
        )
