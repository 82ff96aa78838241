"""
Billing runs: planned as rows, worked off by any number of processes, finished by whoever finds nothing left.

A crash loses nothing: rows are claimed with SKIP LOCKED inside the transaction that bills them, so what a dead worker
held is free again, and what it committed is done. Source: design of jobs; contract chapter Renewal and cycle.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Count, Q
from django.db.models.functions import Now

from accounts.models import Account
from billing_site.kernel import jobs
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from billing_site.platform.models.bulk import copy_rows
from billing_site.platform.services import events
from billing_site.platform.services.keyed_requests import RequestKeyReused
from invoicing.models import BillingRun, OutcomeStatus, RunOutcome, RunScope, RunStatus
from invoicing.models.run import WORKABLE_RUNS
from invoicing.queries.due import DueSubscription, list_due, list_due_orgs
from invoicing.queries.grouping import find_wanting

# Workers that one run keeps busy at the most; each of them goes on until nothing is left.
MAX_WORKERS = 8
_SUBSCRIPTIONS_PER_WORKER = 1_000


class CycleInProgress(DomainError):
    code, title, status, retryable = "cycle_in_progress", "Another run holds this organization", 409, True


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Who asks for a run and how a repeat of the same request is recognised (hex digests, or empty)."""

    actor: Actor
    reason: str = ""
    key: str = ""
    hash: str = ""


@transaction.atomic
def plan_run(
    *,
    org_id: str,
    as_of: datetime,
    request: RunRequest,
    livemode: bool,
    account: Account | None = None,
    limit: int | None = None,
) -> BillingRun:
    """
    Write a run and one pending row per due subscription, and return it; a repeat of the request returns the first run.

    :raises CycleInProgress: if a run of the same organization is not finished; a paused one is not.
    :raises RequestKeyReused: if the key was used for a different request.
    """
    if request.key and (found := _find_repeat(request, org_id)) is not None:
        return found
    run = BillingRun(
        org_id=org_id,
        scope=RunScope.ORG if account is None else RunScope.ACCOUNT,
        account=account,
        as_of=as_of,
        max_subscriptions=limit,
        status=RunStatus.RUNNING,
        requested_by=str(request.actor),
        reason=request.reason,
        request_key=request.key,
        request_hash=request.hash,
        livemode=livemode,
        started_at=as_of,
    )
    try:
        with transaction.atomic():
            run.save(force_insert=True)
    except IntegrityError as error:
        if "billing_runs_request_once" in str(error):
            return _require_repeat(request, org_id)
        if "billing_runs_one_per_org" in str(error):
            raise CycleInProgress from error
        raise
    due = list_due(as_of=as_of, org_id=org_id, account_id=account.id if account else None, limit=limit)
    copy_rows(_plan_rows(run, due.items))
    BillingRun.objects.filter(id=run.id).update(remaining=due.remaining, started_at=Now(), working_since=Now())
    run.refresh_from_db()
    events.emit(
        "billing_run.started",
        subject=run,
        account_id=account.id if account else None,
        at=as_of,
        actor=request.actor,
        data={"id": run.public_id, "org_id": org_id, "as_of": as_of, "subscriptions": len(due.items)},
        reason=request.reason,
    )
    return run


def _plan_rows(run: BillingRun, due: Sequence[DueSubscription]) -> list[RunOutcome]:
    """Return a row for each subscription; those of an account that wants one invoice follow the first of them."""
    counts = Counter(each.account_id for each in due)
    several = {account_id for account_id, count in counts.items() if count > 1}
    wanting = find_wanting(several) if several else set()
    leaders: dict[uuid.UUID, uuid.UUID] = {}
    rows = [RunOutcome(run=run, subscription_id=each.subscription_id, account_id=each.account_id) for each in due]
    for row in rows:
        if row.account_id in wanting:
            row.leader = leaders.setdefault(row.account_id, row.id)
    return rows


def _find_repeat(request: RunRequest, org_id: str) -> BillingRun | None:
    found = BillingRun.objects.filter(request_key=request.key, org_id=org_id).first()
    if found is not None and found.request_hash != request.hash:
        raise RequestKeyReused
    return found


def _require_repeat(request: RunRequest, org_id: str) -> BillingRun:
    found = _find_repeat(request, org_id)
    if found is None:
        raise CycleInProgress
    return found


def start_due_runs(*, as_of: datetime, actor: Actor, livemode: bool) -> list[BillingRun]:
    """Plan and dispatch a run for each organization with something due; busy ones are left. Returns the runs."""
    started = []
    for org_id in list_due_orgs(as_of=as_of):
        try:
            run = plan_run(org_id=org_id, as_of=as_of, request=RunRequest(actor), livemode=livemode)
        except CycleInProgress:
            continue
        dispatch_run(run)
        started.append(run)
    return started


def dispatch_run(run: BillingRun) -> int:
    """Ring for as many workers as the run can use and return how many."""
    pending = RunOutcome.objects.filter(run=run, status=OutcomeStatus.PENDING).count()
    workers = max(1, min(MAX_WORKERS, pending // _SUBSCRIPTIONS_PER_WORKER))
    for _ in range(workers):
        jobs.enqueue("invoicing.work_billing_run", run_id=str(run.id))
    return workers


@transaction.atomic
def finish_run(*, run_id: uuid.UUID, actor: Actor) -> BillingRun:
    """Mark the run completed when no row is left; otherwise leave it to whoever holds the last row. Idempotent."""
    run = BillingRun.objects.select_for_update(no_key=True).get(id=run_id)
    open_rows = RunOutcome.objects.filter(run=run, status=OutcomeStatus.PENDING)
    if run.status not in WORKABLE_RUNS or open_rows.exists():
        return run
    BillingRun.objects.filter(id=run.id).update(status=RunStatus.COMPLETED, finished_at=Now(), updated_at=Now())
    run.refresh_from_db()
    counts = count_outcomes(run)
    events.emit(
        "billing_run.completed",
        subject=run,
        account_id=run.account_id,
        at=run.finished_at or run.as_of,
        actor=actor,
        data={"id": run.public_id, "org_id": run.org_id, **counts},
    )
    return run


def count_outcomes(run: BillingRun) -> dict[str, int]:
    """Return how many subscriptions of the run have each outcome. One query."""
    found: dict[str, int] = RunOutcome.objects.filter(run=run).aggregate(
        **{status.value: Count("id", filter=Q(status=status)) for status in OutcomeStatus}
    )
    return found


def list_unfinished_runs() -> list[uuid.UUID]:
    """Return the runs that the sweep has to look at, oldest first; paused ones wait for a person."""
    return list(BillingRun.objects.filter(status__in=WORKABLE_RUNS).order_by("id").values_list("id", flat=True))
