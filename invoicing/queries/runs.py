"""Runs as their doors answer them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q
from django.db.models.functions import Now

from accounts.models import Account
from invoicing.models import BillingRun, OutcomeStatus, RunOutcome
from invoicing.models.run import WORKABLE_RUNS

_SUCCESSFUL = (OutcomeStatus.ISSUED, OutcomeStatus.NOTHING_TO_BILL)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of one subscription of a run, with public ids."""

    account_id: str
    subscription_id: str
    invoice_id: str | None
    success: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class RunProgress:
    """
    How far a run is: subscriptions by outcome, and when it will be through if it goes on as fast as since it began.

    `ends_at` is None where nothing can be told yet or nothing is to come; `left` is how long that is from now.
    """

    status: str
    counts: dict[str, int]
    ends_at: datetime | None = None
    left: timedelta | None = None

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def pending(self) -> int:
        return self.counts[OutcomeStatus.PENDING]

    @property
    def done(self) -> int:
        return self.total - self.pending


def measure_progress(run: BillingRun) -> RunProgress:
    """
    Return how far a run is. Two queries.

    The pace is that of the rows settled since it was started, resumed or retried last, by the database's clock.
    """
    found = BillingRun.objects.filter(pk=run.pk).annotate(moment=Now()).values("status", "working_since", "moment")[0]
    since, now = found["working_since"], found["moment"]
    counts: dict[str, int] = RunOutcome.objects.filter(run=run).aggregate(
        **{status.value: Count("id", filter=Q(status=status)) for status in OutcomeStatus},
        since=Count("id", filter=Q(finished_at__gte=since) & ~Q(status=OutcomeStatus.PENDING)),
    )
    settled = counts.pop("since")
    pending = counts[OutcomeStatus.PENDING]
    left = None
    if found["status"] in WORKABLE_RUNS and since is not None and settled and pending:
        left = (now - since) * pending / settled
    return RunProgress(found["status"], counts, None if left is None else now + left, left)


def list_results(run: BillingRun) -> list[RunResult]:
    """
    Return the settled rows of a run in the order they were due; rows still pending are left out. One query.

    Held for review and canceled are no success: a person or a later run has to do the rest.
    """
    rows = (
        RunOutcome.objects.filter(run=run)
        .exclude(status=OutcomeStatus.PENDING)
        .select_related("account", "subscription", "last_invoice")
        .order_by("id")
    )
    return [
        RunResult(
            account_id=row.account.public_id,
            subscription_id=row.subscription.public_id,
            invoice_id=row.last_invoice.public_id if row.last_invoice is not None else None,
            success=row.status in _SUCCESSFUL,
            error=_describe_problem(row),
        )
        for row in rows
    ]


def _describe_problem(row: RunOutcome) -> str | None:
    if row.status == OutcomeStatus.CANCELED:
        return "run_canceled: The run was canceled before it came to this subscription."
    return f"{row.error_code}: {row.error_detail}" if row.error_code else None


def get_org_names(org_ids: list[str]) -> dict[str, str]:
    """Return a name for each organization: the newest one its accounts carry, else empty."""
    names = Account.objects.filter(org_id__in=org_ids).exclude(org_name="").order_by("id")
    return dict.fromkeys(org_ids, "") | dict(names.values_list("org_id", "org_name"))
