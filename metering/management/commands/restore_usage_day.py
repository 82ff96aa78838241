"""`manage.py restore_usage_day FILE`: read a day of usage events back from its file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_site.kernel import clock
from metering.stores.archive import ArchiveUnreadable, restore_day
from metering.stores.brief_locks import StorageBusy


class Command(BaseCommand):
    help = (
        "Read a day of usage events back from the file it left for. Its totals have stayed; it leaves again in 30 days."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="such as usage-events-2026-01-31.jsonl.gz")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            restored = restore_day(options["file"], at=clock.now())
        except ArchiveUnreadable as error:
            raise CommandError(f"{error}.") from error
        except StorageBusy as error:
            raise CommandError(f"Others were in the way ({error}); run it again.") from error
        self.stdout.write(f"{restored.events:,} events of {restored.day} are back.")
