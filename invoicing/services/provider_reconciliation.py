"""
Comparing everything with a provider, night by night: both directions, page by page, resumed where it stopped.

A run compares one type of object after the other: what the provider lists in the window, then what we have made in it
or not settled yet and was not listed, then every difference that is still open. Source: docs/reconciliation.md.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from invoicing.gateways.port import NoProcessorAvailable, ObjectUnknown, PaymentGateway, ProviderUnavailable
from invoicing.gateways.registry import get_gateway
from invoicing.models import Drift, DriftStatus, ReconciliationRun
from invoicing.services.drifts import compare, compare_many, fetch, record_findings
from invoicing.services.provider_comparison import list_own_refs

ORDER: Final = ("customer", "payment", "refund", "dispute")
JOB: Final = "invoicing.work_reconciliation"
GIVEN_UP_AFTER: Final = 50
_PAGE: Final = 100

logger = logging.getLogger(__name__)


def start_reconciliation(
    *, at: datetime, provider_type: str = "", since: datetime | None = None, until: datetime | None = None
) -> ReconciliationRun:
    """
    Begin a comparison and return its run; while one is under way, that one is returned.

    `since` defaults to `BILLING_RECONCILIATION_DAYS` before `until`, `until` to `at`.
    """
    provider = provider_type or settings.BILLING_PAYMENT_PROVIDER
    until = until or at
    since = since or until - timedelta(days=settings.BILLING_RECONCILIATION_DAYS)
    running = ReconciliationRun.objects.filter(provider_type=provider, finished_at__isnull=True)
    if (found := running.first()) is not None:
        return found
    run = ReconciliationRun(
        provider_type=provider,
        since=since,
        until=until,
        started_at=at,
        position=ORDER[0],
        livemode=settings.BILLING_LIVEMODE,
    )
    try:
        with transaction.atomic():
            run.save(force_insert=True)
    except IntegrityError as error:
        if "reconciliation_runs_one_at_a_time" not in str(error):
            raise
        return running.get()
    return run


def work_reconciliation(*, run_id: UUID, at: datetime, gateway: PaymentGateway | None = None) -> bool:
    """
    Go on with a run, and answer whether it is finished. Call it outside a transaction.

    A provider that fails stops it where it is: the next call goes on with the same type of object.
    """
    run = ReconciliationRun.objects.get(pk=run_id)
    if run.finished_at is not None:
        return True
    try:
        asked = gateway or get_gateway(run.provider_type, livemode=run.livemode)
        while run.position:
            _compare_type(run, asked, run.position, at)
            rest = ORDER[ORDER.index(run.position) + 1 :]
            run.position = rest[0] if rest else ""
            run.error = ""
            run.save(update_fields=["position", "error", "updated_at"])
    except (ProviderUnavailable, NoProcessorAvailable) as refusal:
        logger.warning("%s stopped at %s: %s", run, run.position, refusal.code)
        run.attempts, run.error = run.attempts + 1, refusal.detail[:500]
        run.finished_at = at if run.attempts >= GIVEN_UP_AFTER else None
        run.save(update_fields=["attempts", "error", "finished_at", "updated_at"])
        return run.finished_at is not None
    run.finished_at = at
    run.save(update_fields=["finished_at", "updated_at"])
    return True


def list_unfinished(*, limit: int) -> list[UUID]:
    """Return runs that are under way, oldest first."""
    return list(
        ReconciliationRun.objects.filter(finished_at__isnull=True).order_by("id").values_list("pk", flat=True)[:limit]
    )


def _compare_type(run: ReconciliationRun, gateway: PaymentGateway, object_type: str, at: datetime) -> None:
    seen: set[str] = set()
    listed = _list(gateway, object_type, run)
    while states := list(islice(listed, _PAGE)):
        refs = [state.ref for state in states]
        seen.update(refs)
        findings = compare_many(object_type, states, provider_type=run.provider_type)
        _count(run, refs, record_findings(run=run, object_type=object_type, refs=refs, findings=findings, at=at))
    own = list_own_refs(object_type, provider_type=run.provider_type, since=run.since, until=run.until)
    open_drifts = Drift.objects.filter(
        provider_type=run.provider_type, object_kind=object_type, status=DriftStatus.OPEN
    ).values_list("ref", flat=True)
    for ref in sorted({*own, *open_drifts} - seen - {""}):
        try:
            state = fetch(gateway, object_type, ref)
        except ObjectUnknown:
            state = None
        findings = compare(object_type, ref, state, provider_type=run.provider_type)
        _count(run, [ref], record_findings(run=run, object_type=object_type, refs=[ref], findings=findings, at=at))


def _list(gateway: PaymentGateway, object_type: str, run: ReconciliationRun) -> Iterator[Any]:
    match object_type:
        case "customer":
            return gateway.list_customers(since=run.since, until=run.until)
        case "payment":
            return gateway.list_payments(since=run.since, until=run.until)
        case "refund":
            return gateway.list_refunds(since=run.since, until=run.until)
    return gateway.list_disputes(since=run.since, until=run.until)


def _count(run: ReconciliationRun, refs: list[str], new: int) -> None:
    ReconciliationRun.objects.filter(pk=run.pk).update(compared=F("compared") + len(refs), found=F("found") + new)
