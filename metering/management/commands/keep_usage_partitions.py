"""`manage.py keep_usage_partitions`: make the partitions of usage that are due now, as the schedule does."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_site.kernel import clock
from metering.services.usage_partitions import keep_partitions


class Command(BaseCommand):
    help = "Make the daily partitions of usage that are missing and move events into them; safe to run again."

    def handle(self, *args: Any, **options: Any) -> None:
        upkeep = keep_partitions(at=clock.now())
        self.stdout.write(
            f"{len(upkeep.added)} days added, {upkeep.moved:,} events moved, {upkeep.strays:,} left without a day."
        )
        if upkeep.waiting:
            raise CommandError(f"Others were in the way of {len(upkeep.waiting)} days; run it again.")
