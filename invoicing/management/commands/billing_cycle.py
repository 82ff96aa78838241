"""`manage.py billing_cycle`: bill what is due, all organizations, in this process."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from invoicing.models import BillingRun
from invoicing.queries.due import list_due_orgs
from invoicing.services.run_work import work_run
from invoicing.services.runs import CycleInProgress, RunRequest, count_outcomes, list_unfinished_runs, plan_run


class Command(BaseCommand):
    help = (
        "Bill every subscription that is due, all organizations, and finish runs that were left behind."
        " What failed is reported and does not stop the rest."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        now, actor = clock.now(), Actor("system", "billing_cycle")
        # A run whose process died, or that another process is working on: helping is safe, rows are claimed.
        for run_id in list_unfinished_runs():
            self._report(work_run(run_id=run_id, actor=actor))
        for org_id in list_due_orgs(as_of=now):
            try:
                run = plan_run(org_id=org_id, as_of=now, request=RunRequest(actor), livemode=settings.BILLING_LIVEMODE)
            except CycleInProgress:
                self.stderr.write(f"{org_id}: another run has just begun, left to it")
                continue
            self._report(work_run(run_id=run.id, actor=actor))

    def _report(self, run: BillingRun) -> None:
        counts = ", ".join(f"{count} {name}" for name, count in count_outcomes(run).items() if count)
        self.stdout.write(f"{run.org_id}: run {run.public_id} {run.status}: {counts or 'nothing due'}")
