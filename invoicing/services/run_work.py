"""
Working a billing run off, chunk by chunk.

A chunk is one transaction: claim rows (SKIP LOCKED), bill them with set-based statements, record the outcomes.
Subscriptions that share an invoice are claimed together, by the first of them. A chunk that fails is rolled back and
tried unit by unit, so a bad subscription is reported alone and stops nobody: what shares an invoice with it is issued
without it. Source: ADR 0007 and 0047.
"""

from __future__ import annotations

import gc
import logging
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from billing_site.platform.models.bulk import prefer_indexes, update_rows
from invoicing.models import BillingRun, OutcomeStatus, RunOutcome
from invoicing.models.run import WORKABLE_RUNS
from invoicing.services.billing import BilledSubscription, bill_subscriptions
from invoicing.services.drafting import PeriodAlreadyInvoiced, is_billed_before
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
    claimed: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    for attempt in range(1, _RETRIES + 1):
        claimed.clear()
        try:
            with transaction.atomic():
                rows = _claim(run, size)
                for row in rows:
                    claimed[row.leader or row.id].append(row.id)
                if rows:
                    prefer_indexes()
                    with _without_collecting():
                        _bill_rows(run, rows, actor)
            return bool(rows)
        except (OperationalError, InterfaceError) as error:
            if not _is_serialization_failure(error) or attempt == _RETRIES:
                raise
        except Exception as error:
            logger.info("chunk of run %s failed (%s), billing them one by one", run.public_id, type(error).__name__)
            break
    for outcome_ids in claimed.values():
        _work_unit(run, outcome_ids, actor)
    return True


def _claim(run: BillingRun, size: int) -> list[RunOutcome]:
    """Lock the next rows that nobody holds, at most `size`, and those that follow them."""
    found = list(_claimable(run).filter(Q(leader__isnull=True) | Q(leader=F("id"))).order_by("id")[:size])
    leaders = [row.id for row in found if row.leader is not None]
    if not leaders:
        return found
    followers = RunOutcome.objects.select_for_update().filter(run=run, status=OutcomeStatus.PENDING, leader__in=leaders)
    return [*found, *followers.exclude(id__in=leaders).order_by("id")]


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


def _work_unit(run: BillingRun, outcome_ids: Sequence[uuid.UUID], actor: Actor) -> None:
    """Bill one subscription, or those that share an invoice, and report what cannot be billed."""
    try:
        with transaction.atomic():
            rows = list(_claimable(run).filter(id__in=outcome_ids).order_by("id"))
            if rows:
                _bill_rows(run, rows, actor)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if len(outcome_ids) == 1:
            _record_failure(outcome_ids[0], error)
        else:
            _work_without_failing(run, outcome_ids, actor)


def _work_without_failing(run: BillingRun, outcome_ids: Sequence[uuid.UUID], actor: Actor) -> None:
    """Bill the members of a unit together without those that cannot be billed; when that fails too, each alone."""
    try:
        with transaction.atomic():
            rows = list(_claimable(run).filter(id__in=outcome_ids).order_by("id"))
            failing = {row.id: error for row in rows if (error := _find_failure(run, row, actor)) is not None}
            if failing:
                for outcome_id, error in failing.items():
                    _record_failure(outcome_id, error)
                rest = list(_claimable(run).filter(id__in=outcome_ids).order_by("id"))
                if rest:
                    _bill_rows(run, rest, actor)
                return
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        logger.info("a unit of run %s failed again (%s), each is billed alone", run.public_id, type(error).__name__)
    RunOutcome.objects.filter(id__in=outcome_ids, status=OutcomeStatus.PENDING).update(leader=None)
    for outcome_id in outcome_ids:
        _work_unit(run, [outcome_id], actor)


class _Undone(Exception):
    """What was tried is taken back."""


def _find_failure(run: BillingRun, row: RunOutcome, actor: Actor) -> Exception | None:
    """Return why a subscription cannot be billed alone, None when it can; nothing of the attempt stays."""
    try:
        with transaction.atomic():
            _bill_rows(run, [row], actor)
            raise _Undone
    except _Undone:
        return None
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        return error


def _claimable(run: BillingRun) -> QuerySet[RunOutcome]:
    return RunOutcome.objects.select_for_update(skip_locked=True).filter(run=run, status=OutcomeStatus.PENDING)


def _bill_rows(run: BillingRun, rows: Sequence[RunOutcome], actor: Actor) -> None:
    billed = bill_subscriptions(
        subscription_ids=[row.subscription_id for row in rows],
        as_of=run.as_of,
        actor=actor,
        run=run,
        apart=[row.subscription_id for row in rows if row.leader is None],
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
    if isinstance(error, IntegrityError) and is_billed_before(error):
        return PeriodAlreadyInvoiced.code, "A non-void invoice covers this subscription and period."
    if isinstance(error, ValueError):
        return "facts_invalid", str(error)
    if isinstance(error, DatabaseError):
        return "storage_refused", str(error).splitlines()[0]
    return "internal_error", f"Unexpected failure ({type(error).__name__}); the log has the details."


def _is_serialization_failure(error: Exception) -> bool:
    return getattr(error.__cause__, "sqlstate", None) in _SERIALIZATION_FAILURES
