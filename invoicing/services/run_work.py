"""
Working a billing run off, chunk by chunk.

A chunk is one transaction: claim rows (SKIP LOCKED), bill them with set-based statements, record the outcomes. A chunk
that fails is rolled back and its rows are tried one by one, so a bad subscription is reported alone and stops nobody.
"""

from __future__ import annotations

import gc
import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from billing_site.platform.models.bulk import prefer_indexes, update_rows
from invoicing.models import BillingRun, OutcomeStatus, RunOutcome
from invoicing.models.run import WORKABLE_RUNS
from invoicing.services.billing import BilledSubscription, bill_subscriptions
from invoicing.services.drafting import PeriodAlreadyInvoiced
from invoicing.services.runs import finish_run
from invoicing.services.schedule_steps import sweep_due_schedules

logger = logging.getLogger(__name__)

_OUTCOME_COLUMNS: Final = {
    "status": "text",
    "invoice_count": "integer",
    "last_invoice_id": "uuid",
    "attempts": "integer",
    "finished_at": "timestamptz",
    "error_code": "text",
    "error_detail": "text",
}
_RETRIES = 3
_SERIALIZATION_FAILURES = ("40001", "40P01")


def work_run(*, run_id: uuid.UUID, actor: Actor) -> BillingRun:
    """
    Work on a run until no row can be claimed, then finish it if nothing is left anywhere, and return it.

    Before each chunk it looks whether somebody has paused or canceled the run, and stops then.

    Steps of schedules that are due come first, because billing waits for them. Any number of processes may do this at
    the same time. Losing the database raises; the sweep comes back.
    """
    run = BillingRun.objects.get(id=run_id)
    if run.status not in WORKABLE_RUNS:
        return run
    sweep_due_schedules(at=run.as_of, org_id=run.org_id, account_id=run.account_id, limit=None, actor=actor)
    while _may_go_on(run) and _work_chunk(run, actor, settings.BILLING_RUN_CHUNK_SIZE):
        pass
    return finish_run(run_id=run.id, actor=actor)


def _may_go_on(run: BillingRun) -> bool:
    return BillingRun.objects.filter(pk=run.pk, status__in=WORKABLE_RUNS).exists()


def _work_chunk(run: BillingRun, actor: Actor, size: int) -> bool:
    """Bill one chunk; False when there was nothing to claim."""
    claimed: list[uuid.UUID] = []
    for attempt in range(1, _RETRIES + 1):
        claimed.clear()
        try:
            with transaction.atomic():
                rows = list(_claimable(run).order_by("id")[:size])
                claimed.extend(row.id for row in rows)
                if rows:
                    prefer_indexes()
                    with _without_collecting():
                        _bill_rows(run, rows, actor)
            return bool(rows)
        except (OperationalError, InterfaceError) as error:
            if not _is_serialization_failure(error) or attempt == _RETRIES:
                raise
        except Exception as error:
            logger.info("chunk of run %s failed (%s), billing its rows one by one", run.public_id, type(error).__name__)
            break
    for outcome_id in claimed:
        _work_one(run, outcome_id, actor)
    return True


@contextmanager
def _without_collecting() -> Iterator[None]:
    """
    Leave cyclic garbage alone for the time of a chunk, and collect it afterwards.

    A chunk keeps all it makes to its end: looking through it again and again finds nothing, and takes a third of it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _work_one(run: BillingRun, outcome_id: uuid.UUID, actor: Actor) -> None:
    try:
        with transaction.atomic():
            rows = list(_claimable(run).filter(id=outcome_id))
            if rows:
                _bill_rows(run, rows, actor)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        _record_failure(outcome_id, error)


def _claimable(run: BillingRun) -> QuerySet[RunOutcome]:
    return RunOutcome.objects.select_for_update(skip_locked=True).filter(run=run, status=OutcomeStatus.PENDING)


def _bill_rows(run: BillingRun, rows: Sequence[RunOutcome], actor: Actor) -> None:
    billed = bill_subscriptions(
        subscription_ids=[row.subscription_id for row in rows], as_of=run.as_of, actor=actor, run=run
    )
    by_subscription = {each.subscription.id: each for each in billed}
    for row in rows:
        _set_outcome(row, by_subscription[row.subscription_id])
    update_rows(rows, _OUTCOME_COLUMNS)


def _set_outcome(row: RunOutcome, billed: BilledSubscription) -> None:
    row.attempts += 1
    row.finished_at = datetime.now(UTC)  # when the work was done; no rule reads it
    row.invoice_count = len(billed.invoices)
    row.last_invoice = billed.invoices[-1] if billed.invoices else None
    row.status = OutcomeStatus.ISSUED if billed.invoices else OutcomeStatus.NOTHING_TO_BILL
    if billed.held:
        row.status, row.last_invoice = OutcomeStatus.HELD, billed.held[-1]
        row.error_code = "held_for_review"
        row.error_detail = "A person is to look at the draft before it is issued; the review queue tells why."
    if billed.is_waiting:
        row.status = OutcomeStatus.FAILED
        row.error_code = "schedule_step_refused"
        row.error_detail = "A step of its schedule comes first and was refused; the schedule tells why."


def _record_failure(outcome_id: uuid.UUID, error: Exception) -> None:
    """Write why a subscription failed, unless another process has settled it meanwhile."""
    code, detail = _explain(error)
    if not isinstance(error, DomainError):
        logger.error("billing outcome %s failed", outcome_id, exc_info=error)
    RunOutcome.objects.filter(id=outcome_id, status=OutcomeStatus.PENDING).update(
        status=OutcomeStatus.FAILED,
        attempts=F("attempts") + 1,
        error_code=code,
        error_detail=detail,
        finished_at=Now(),
    )


def _explain(error: Exception) -> tuple[str, str]:
    if isinstance(error, DomainError):
        return error.code, error.detail
    if isinstance(error, IntegrityError) and "period_billed_once" in str(error):
        return PeriodAlreadyInvoiced.code, "A non-void invoice covers this subscription and period."
    if isinstance(error, ValueError):
        return "facts_invalid", str(error)
    if isinstance(error, DatabaseError):
        return "storage_refused", str(error).splitlines()[0]
    return "internal_error", f"Unexpected failure ({type(error).__name__}); the log has the details."


def _is_serialization_failure(error: Exception) -> bool:
    return getattr(error.__cause__, "sqlstate", None) in _SERIALIZATION_FAILURES
