"""Recompute the hash chains of the event log."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing_site.platform.services import events


class Command(BaseCommand):
    help = "Verify the hash chains of the event log and name the first wrong row of each broken chain."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--chain", help="only this chain: an account's UUID, or `platform`")

    def handle(self, *args: Any, **options: Any) -> None:
        chain: str | None = options["chain"]
        reports = [events.verify_chain_consistently(chain)] if chain else events.verify_all()
        chains = checked = 0
        faults = []
        for report in reports:
            chains += 1
            checked += report.checked
            if report.fault:
                faults.append(report.fault)
                self.stderr.write(str(report.fault))
        if faults:
            raise CommandError(f"{len(faults)} of {chains} chains are broken.")
        self.stdout.write(f"{checked} events in {chains} chains: intact.")
