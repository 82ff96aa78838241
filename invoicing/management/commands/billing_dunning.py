"""`manage.py billing_dunning`: collect the invoices whose time has come, and do what is due of dunning."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from billing_site.kernel import clock
from invoicing.services.collecting import collect_due
from invoicing.services.dunning_sweep import sweep_dunning


class Command(BaseCommand):
    help = "Retry open invoices whose next attempt is due. The schedule does the same; running both does it once."

    def handle(self, *args: Any, **options: Any) -> None:
        tried, done = collect_due(at=clock.now()), sweep_dunning(at=clock.now())
        self.stdout.write(f"invoices tried: {tried}; of dunning done: {done}")
