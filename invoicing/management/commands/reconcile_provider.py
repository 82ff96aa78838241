"""`manage.py reconcile_provider`: hold what we have against what the payment provider has, now."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from invoicing.models import Drift, DriftStatus, ReconciliationRun
from invoicing.services.provider_reconciliation import start_reconciliation, work_reconciliation


class Command(BaseCommand):
    """Exit status 1 with open differences, 2 when the provider stopped it."""

    help = "Compare payments, refunds, disputes and customers with the payment provider and list what differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--provider", default="", help="default: the configured one")
        parser.add_argument("--days", type=int, help="how far back; default: BILLING_RECONCILIATION_DAYS")

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        days = options["days"]
        if days is not None and days < 1:
            raise CommandError("--days is one or more.", returncode=2)
        try:
            run = start_reconciliation(
                at=now, provider_type=options["provider"], since=None if days is None else now - timedelta(days=days)
            )
            is_finished = work_reconciliation(run_id=run.pk, at=now)
        except DomainError as refusal:
            raise CommandError(refusal.detail, returncode=2) from refusal
        run = ReconciliationRun.objects.get(pk=run.pk)
        if not is_finished or run.error:
            raise CommandError(f"{run.error} It goes on where it stopped the next time.", returncode=2)
        self.stdout.write(f"{run}: {run.compared} compared, {run.found} new.")
        drifts = Drift.objects.filter(provider_type=run.provider_type, status=DriftStatus.OPEN).order_by("id")
        for drift in drifts:
            self.stdout.write(f"{drift.public_id}  {drift}  ours {drift.ours or '-'}  theirs {drift.theirs or '-'}")
        if drifts:
            raise CommandError(f"{len(drifts)} open.", returncode=1)
