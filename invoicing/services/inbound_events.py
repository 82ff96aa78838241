"""
The rows of the webhook inbox: stored once, claimed in the order of their object, settled, retried, parked, purged.

A claim is a lease: it is committed before anything else happens, lasts for some minutes, and is named by the row's
`attempts`. What a handler does and that the event is handled commit in one transaction, which first makes sure that the
claim is still its own (`hold_claim`); so a worker that dies, or comes back late, neither loses nor doubles anything.
What reads providers and calls the services of each event is `invoicing.webhooks`. Source: contract chapter Webhooks in;
ADR 0052.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models import Account
from billing_site.kernel import jobs
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.locks import acquire_lock
from billing_site.kernel.statements import prepared_cursor
from billing_site.platform.models import WorkItem, WorkItemSeverity
from billing_site.platform.services.work_items import (
    Subject,
    WorkItemKind,
    open_work_item,
    register_kind,
    settle_work_item,
)
from invoicing.models import InboundEvent, InboundEventStatus

HANDLE_JOB: Final = "invoicing.handle_inbound_event"
PARKED: Final = "webhook_parked"
UNMATCHED: Final = "webhook_unmatched"
REFUSED: Final = "webhook_refused"
LEASE: Final = timedelta(minutes=5)
"""How long an attempt may take; far longer than all calls to the provider within one."""
MAX_ATTEMPTS: Final = 10
# After each failed attempt but the last the wait for the next one: eight hours in all.
WAITS: Final = (
    timedelta(seconds=10),
    timedelta(seconds=30),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
)
_LOOKED_AT: Final = 20  # candidates of one claim: others may be taken by somebody at this moment
_PURGE_BATCH: Final = 1000
_INSERT: Final = """
    INSERT INTO inbound_events (
        id, provider, event_id, type, neutral_type, object_kind, object_id, livemode, api_version, body,
        occurred_at, received_at, status, outcome, handled_at, attempts, replays, last_error
    ) VALUES (
        $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::boolean, $9::text, $10::bytea,
        $11::timestamptz, $12::timestamptz, $13::text, $14::text, $15::timestamptz, 0, 0, ''
    ) ON CONFLICT (provider, event_id) DO NOTHING
"""


class InboundEventNotSettled(InvalidState):
    title = "This event is being handled or waits to be"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """
    An event as it arrived, its signature checked. `refused` says why it is kept and not applied; empty: it is due.
    """

    provider: str
    event_id: str
    type: str
    neutral_type: str
    object_kind: str
    object_id: str
    livemode: bool
    api_version: str
    occurred_at: datetime
    body: bytes
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """An event that is to be handled now, by whoever holds this, until the lease ends."""

    event: InboundEvent
    attempt: int
    leased_until: datetime


def store_event(new: NewEvent, *, at: datetime) -> bool:
    """
    Keep an event and have it handled; answers False for one that is known, of which nothing changes.

    One statement, in a transaction of its own unless the caller has one.
    """
    key = new_uuid()
    status = InboundEventStatus.STORED if new.refused else InboundEventStatus.PENDING
    values: list[Any] = [
        key,
        new.provider,
        new.event_id,
        new.type,
        new.neutral_type,
        new.object_kind,
        new.object_id,
        new.livemode,
        new.api_version,
        new.body,
        new.occurred_at,
        at,
        status.value,
        new.refused,
        at if new.refused else None,
    ]
    with prepared_cursor(numbered=True) as cursor:
        cursor.execute(_INSERT, values)
        is_new = bool(cursor.rowcount)
    if is_new and not new.refused:
        jobs.enqueue(HANDLE_JOB, event_id=str(key))
    return is_new


# ---- claims ---------------------------------------------------------------------------------------------------------
def claim_event(*, at: datetime, event_id: uuid.UUID | None = None) -> Claim | None:
    """
    Claim an event that is due, the given one or whichever came first, or return None where there is none.

    Due is what is pending, does not wait for its next attempt, and has nothing of its object before it or under way.
    An event that was claimed as often as it may be is parked instead: it kills whoever handles it.
    """
    tried: list[uuid.UUID] = []
    while len(tried) < _LOOKED_AT:
        with transaction.atomic():
            rows = _select_due(at).exclude(pk__in=tried)
            if event_id is not None:
                rows = rows.filter(pk=event_id)
            event = rows.order_by("id").select_for_update(skip_locked=True, of=("self",)).defer("body").first()
            if event is None:
                return None
            tried.append(event.pk)
            if not _take_object(event, at):
                continue
            if event.attempts >= MAX_ATTEMPTS:
                _park(event, error=event.last_error or "Every attempt ended without an outcome.", at=at)
                continue
            event.attempts += 1
            event.leased_until, event.next_attempt_at = at + LEASE, None
            event.save(update_fields=["attempts", "leased_until", "next_attempt_at"])
            return Claim(event, event.attempts, event.leased_until)
    return None


def hold_claim(claim: Claim, *, at: datetime) -> InboundEvent | None:
    """
    Lock the event in the caller's transaction and return it, or None when the claim is not valid any more.

    What is done afterwards in the same transaction happens once, whoever else handles the event meanwhile. A lease that
    ended is not valid even where nobody took the event: another one of its object may be under way.
    """
    if claim.leased_until <= at:
        return None
    rows = InboundEvent.objects.select_for_update(no_key=True).defer("body")
    return rows.filter(
        pk=claim.event.pk,
        status=InboundEventStatus.PENDING,
        attempts=claim.attempt,
        leased_until=claim.leased_until,
    ).first()


def settle_event(
    event: InboundEvent, *, status: InboundEventStatus, outcome: str, account: Account | None, at: datetime
) -> None:
    """
    Write what became of an event that the caller holds, and have the next one of its object handled.

    `status` is handled or stored. Runs in the caller's transaction.
    """
    event.status, event.outcome, event.account = status, outcome, account
    event.handled_at, event.leased_until, event.next_attempt_at = at, None, None
    event.last_error = ""
    columns = ["status", "outcome", "account", "handled_at", "leased_until", "next_attempt_at", "last_error"]
    event.save(update_fields=columns)
    if status == InboundEventStatus.HANDLED:
        for kind in (UNMATCHED, REFUSED):
            settle_work_item(kind=kind, subject=_name_object(event), at=at, actor=SYSTEM, comment=outcome)
    _ring_for_next(event)


@transaction.atomic
def record_failure(claim: Claim, *, error: str, at: datetime) -> InboundEvent | None:
    """
    Let a claim go whose attempt failed: the event is due again later, or parked after the last attempt.

    Returns the event, or None when the claim was not valid any more. `error` must hold no secrets.
    """
    event = hold_claim(claim, at=at)
    if event is None:
        return None
    if event.attempts >= MAX_ATTEMPTS:
        _park(event, error=error, at=at)
        return event
    event.last_error, event.leased_until = error[:500], None
    event.next_attempt_at = at + WAITS[event.attempts - 1]
    event.save(update_fields=["last_error", "leased_until", "next_attempt_at"])
    return event


@transaction.atomic
def handle_again(*, event_id: uuid.UUID, at: datetime, actor: Actor) -> InboundEvent:
    """
    Make a settled or parked event pending again, with all its attempts, and have it handled.

    Harmless at any time: the handler reads the object anew and nothing is done that is done already.
    :raises NotFound: for none. :raises InboundEventNotSettled: for one that is pending.
    """
    event = _make_pending(event_id)
    settle_work_item(kind=PARKED, subject=event, at=at, actor=actor, comment="handled again")
    return event


def purge_bodies(*, before: datetime, at: datetime) -> int:
    """Forget the bodies of events that came before then and wait for nothing; return how many there were."""
    old = InboundEvent.objects.filter(received_at__lt=before, purged_at__isnull=True).exclude(
        status__in=(InboundEventStatus.PENDING, InboundEventStatus.PARKED)
    )
    keys = list(old.order_by("received_at").values_list("pk", flat=True)[:_PURGE_BATCH])
    return InboundEvent.objects.filter(pk__in=keys).update(body=b"", purged_at=at)


def list_due(*, at: datetime, limit: int) -> Sequence[uuid.UUID]:
    """Return events that could be claimed now, first come first."""
    return list(_select_due(at).order_by("id").values_list("pk", flat=True)[:limit])


def report_unmatched(event: InboundEvent, *, detail: str, at: datetime) -> WorkItem:
    """Tell operators of something of ours, or with money, that belongs to no account. In the caller's transaction."""
    return open_work_item(
        kind=UNMATCHED,
        subject=_name_object(event),
        title=f"{event.provider} {event.object_kind or 'object'} {event.object_id} belongs to no account",
        detail=detail,
        data={"event": event.public_id, "provider": event.provider, "event_id": event.event_id, "type": event.type},
        at=at,
        actor=SYSTEM,
    )


def report_refused(event: InboundEvent, *, account: Account, reason: str, at: datetime) -> WorkItem:
    """Tell operators of something of an account that could not be followed here. In the caller's transaction."""
    return open_work_item(
        kind=REFUSED,
        subject=_name_object(event),
        title=f"{event.provider} {event.object_kind or 'object'} {event.object_id} is not followed",
        detail=f"{event.type} was not applied: {reason}.",
        data={"event": event.public_id, "provider": event.provider, "event_id": event.event_id, "type": event.type},
        account_id=account.pk,
        at=at,
        actor=SYSTEM,
    )


def register_webhook_work_items() -> None:
    """Make the kinds of work items of this module known."""
    register_kind(WorkItemKind(PARKED, "Webhook that fails", {"retry": _handle_item_again}))
    register_kind(WorkItemKind(REFUSED, "Webhook that was not applied", {"handle_again": _handle_item_again}))
    register_kind(WorkItemKind(UNMATCHED, "Webhook without an account", {"handle_again": _handle_item_again}))


def _handle_item_again(item: WorkItem, _at: datetime, _actor: Actor) -> str:
    key = InboundEvent.parse_id(str(item.data.get("event", "")))
    if key is None:
        raise NotFound("inbound_event")
    return f"{_make_pending(key)} is handled again."


def _make_pending(key: uuid.UUID) -> InboundEvent:
    event = InboundEvent.objects.select_for_update(no_key=True).defer("body").filter(pk=key).first()
    if event is None:
        raise NotFound("inbound_event")
    if not event.can_become(InboundEventStatus.PENDING):
        raise InboundEventNotSettled(f"{event} is {event.status}.", current_status=event.status)
    event.status, event.attempts, event.handled_at, event.outcome = InboundEventStatus.PENDING, 0, None, ""
    event.replays += 1
    event.save(update_fields=["status", "attempts", "replays", "handled_at", "outcome"])
    jobs.enqueue(HANDLE_JOB, event_id=str(event.pk))
    return event


def _name_object(event: InboundEvent) -> Subject:
    return Subject(event.object_kind or "object", event.object_id or event.event_id)


def _select_due(at: datetime) -> QuerySet[InboundEvent]:
    due = Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=at)
    free = Q(leased_until__isnull=True) | Q(leased_until__lte=at)
    return InboundEvent.objects.filter(due, free, ~Exists(_select_blocking(at)), status=InboundEventStatus.PENDING)


def _select_blocking(at: datetime) -> QuerySet[InboundEvent]:
    """What must end before the outer event: earlier ones of its object, and one that is being handled."""
    earlier = Q(occurred_at__lt=OuterRef("occurred_at")) | Q(occurred_at=OuterRef("occurred_at"), pk__lt=OuterRef("pk"))
    return InboundEvent.objects.filter(
        earlier | Q(leased_until__gt=at),
        provider=OuterRef("provider"),
        object_id=OuterRef("object_id"),
        status=InboundEventStatus.PENDING,
    ).exclude(Q(pk=OuterRef("pk")) | Q(object_id=""))


def _take_object(event: InboundEvent, at: datetime) -> bool:
    """
    Make sure that nobody else claims an event of the object to the end of this transaction, and look once more.

    Since the query that found this event began, an earlier one may have come and been claimed. Whoever holds the lock
    waits for nothing, so waiting for it is short.
    """
    if not event.object_id:
        return True
    acquire_lock("inbound-object", event.provider, event.object_id)
    return _select_due(at).filter(pk=event.pk).exists()


def _park(event: InboundEvent, *, error: str, at: datetime) -> None:
    event.status, event.last_error = InboundEventStatus.PARKED, error[:500] or "unknown"
    event.leased_until = event.next_attempt_at = None
    event.save(update_fields=["status", "last_error", "leased_until", "next_attempt_at"])
    _ring_for_next(event)
    open_work_item(
        kind=PARKED,
        subject=event,
        title=f"{event.provider} {event.type} could not be handled",
        detail=f"{event.attempts} attempts failed, the last one with: {error}",
        data={"event": event.public_id, "provider": event.provider, "event_id": event.event_id, "type": event.type},
        account_id=event.account_id,
        severity=WorkItemSeverity.CRITICAL,
        at=at,
        actor=SYSTEM,
    )


def _ring_for_next(event: InboundEvent) -> None:
    """Have the next event of the object handled, which waited for this one."""
    if not event.object_id:
        return
    waiting = InboundEvent.objects.filter(
        provider=event.provider, object_id=event.object_id, status=InboundEventStatus.PENDING
    ).exclude(pk=event.pk)
    following = waiting.order_by("occurred_at", "id").values_list("pk", flat=True).first()
    if following is not None:
        jobs.enqueue(HANDLE_JOB, event_id=str(following))
