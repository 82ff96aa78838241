"""`manage.py handle_webhooks`: handle the webhooks that wait, in this process."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from invoicing.models import InboundEvent
from invoicing.queries.inbound_events import compute_health, list_parked
from invoicing.services.inbound_events import handle_again
from invoicing.webhooks.inbox import sweep_events


class Command(BaseCommand):
    help = (
        "Handle the webhooks that are due and say what is left. With --parked also those that were given up,"
        " with --event one that was handled already."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--limit", type=int, default=1000, help="handle about so many at most (1000)")
        parser.add_argument("--parked", action="store_true", help="take up again what was parked")
        parser.add_argument(
            "--event", action="append", default=[], metavar="ID", help="our id (ie_…) or the provider's"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        again = [key for name in options["event"] for key in self._find(name)]
        if options["parked"]:
            again += list_parked()
        for key in again:
            try:
                handle_again(event_id=key, at=clock.now(), actor=Actor("system", "handle_webhooks"))
            except DomainError as refusal:
                self.stderr.write(refusal.detail)
        settled = sweep_events(limit=options["limit"])
        health = compute_health()
        self.stdout.write(f"{settled} settled, {health.pending} pending, {health.parked} parked")

    def _find(self, name: str) -> list[Any]:
        key = InboundEvent.parse_id(name)
        rows = InboundEvent.objects.filter(pk=key) if key is not None else InboundEvent.objects.filter(event_id=name)
        found = list(rows.values_list("pk", flat=True))
        if not found:
            raise CommandError(f"There is no event {name!r}.")
        return found
