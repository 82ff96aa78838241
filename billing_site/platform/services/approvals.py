"""
Approvals: one person asks, another one decides, and deciding does exactly what was asked.

An app says at start-up what its kind of request does: `register_kind(ApprovalKind(...))` in its `AppConfig.ready`.
Approving runs that service in the same transaction, so that nothing is approved without being done, or done without
being approved. Locks: the approval first, then what it is about.
Source: contract chapter Accounts and tokens; ADR 0017.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.money import Money
from billing_site.platform.models import Identified
from billing_site.platform.models.approvals import Approval, ApprovalStatus
from billing_site.platform.services import events

logger = logging.getLogger(__name__)
DEFAULT_LIFETIME: Final = timedelta(days=14)
_SWEEP_BATCH: Final = 200

Execute = Callable[[Approval, datetime, Actor], "Mapping[str, Any] | None"]
Release = Callable[[Approval, datetime, Actor], None]


class ApprovalSelfDecision(DomainError):
    code, title, status = "approval_self_decision", "Another person must decide this", 403


class ApprovalNeedsPerson(DomainError):
    code, title, status = "approval_needs_person", "Only a person can decide this", 403


class ApprovalNotPending(InvalidState):
    title = "This request is decided already"


class ApprovalExpired(DomainError):
    code, title, status = "approval_expired", "This request has expired", 409


class ApprovalAlreadyPending(DomainError):
    code, title, status = "approval_already_pending", "The same was asked for already", 409


class ApprovalChanged(DomainError):
    code, title, status = "approval_changed", "This is not what was asked for", 409


class ApprovalKindUnknown(DomainError):
    code, title, status = "approval_kind_unknown", "Nothing here knows how to do this", 409


def _release_nothing(_approval: Approval, _at: datetime, _actor: Actor) -> None:
    """What a kind does that holds nothing while its request is open."""


@dataclass(frozen=True, slots=True)
class ApprovalKind:
    """
    One kind of request, as the app that owns it declares it.

    `execute` does what the approval's payload says, as the person who approved it, and returns what the approval keeps
    as its result; a `DomainError` it raises leaves the request open. `release` is called instead when the request is
    rejected, canceled or expires. Both run in the transaction of the decision, under the approval's lock, and find the
    decision on the approval (its status, comment, who and when).
    `permission` is `app.approve_thing`, which whoever decides must hold; interfaces check it.
    """

    name: str
    title: str
    permission: str
    execute: Execute
    release: Release = _release_nothing
    lifetime: timedelta = DEFAULT_LIFETIME


@dataclass(frozen=True, slots=True)
class Request:
    """
    What is asked for. `payload` is plain JSON and says everything that `execute` will do; `effect` the money it moves.

    `title` is the sentence people read: `Publish “Spring prices”`.
    """

    kind: str
    subject: Identified
    title: str
    payload: Mapping[str, Any]
    effect: Money | None = None
    account_id: uuid.UUID | None = None


_kinds: dict[str, ApprovalKind] = {}


def register_kind(kind: ApprovalKind) -> None:
    """Make a kind of request known. The same name replaces."""
    _kinds[kind.name] = kind


def get_kind(name: str) -> ApprovalKind:
    """
    Return a registered kind.

    :raises ApprovalKindUnknown: if no app registered it.
    """
    kind = _kinds.get(name)
    if kind is None:
        raise ApprovalKindUnknown(f"No part of this installation carries out {name!r}.")
    return kind


def list_kinds() -> list[ApprovalKind]:
    """Return the registered kinds by name."""
    return [_kinds[name] for name in sorted(_kinds)]


def find_pending(*, kind: str, subject: Identified) -> Approval | None:
    """Return the open request of this kind about `subject`, or None."""
    return Approval.objects.filter(kind=kind, subject_id=subject.public_id, status=ApprovalStatus.PENDING).first()


def is_same_person(one: str, other: str) -> bool:
    """
    Tell whether two actors (as text) are one person.

    The name decides, not the door: who asked with a token is not another person in the admin.
    """
    return one.partition(":")[2].casefold() == other.partition(":")[2].casefold()


@transaction.atomic
def request_approval(request: Request, *, at: datetime, actor: Actor, reason: str) -> Approval:
    """
    Ask for something that another person must approve, and return the open request.

    The caller holds the lock of the subject.
    :raises ValidationFailed: without a reason.
    :raises ApprovalAlreadyPending: if the same is asked for already.
    """
    kind = get_kind(request.kind)
    if not reason.strip():
        raise ValidationFailed.of("/reason", "blank", "Say why: the person who decides reads it.")
    if pending := find_pending(kind=kind.name, subject=request.subject):
        raise ApprovalAlreadyPending(
            f"{pending.requested_by} asked for this already; it waits for a decision.", approval_id=pending.public_id
        )
    payload = events.to_plain(request.payload)
    approval = Approval.objects.create(
        kind=kind.name,
        title=request.title[:255],
        subject_type=request.subject.get_object_type(),
        subject_id=request.subject.public_id,
        account_id=request.account_id,
        payload=payload,
        payload_hash=hash_payload(payload),
        amount=request.effect.amount if request.effect else None,
        currency=request.effect.currency if request.effect else "",
        requested_by=str(actor),
        requested_at=at,
        reason=reason.strip(),
        expires_at=at + kind.lifetime,
    )
    _emit("requested", approval, at=at, actor=actor, reason=approval.reason)
    return approval


@transaction.atomic
def approve(*, approval_id: uuid.UUID, at: datetime, actor: Actor, comment: str = "") -> Approval:
    """
    Do what was asked for, and record who allowed it; both or neither.

    :raises ApprovalSelfDecision: if `actor` asked for it. :raises ApprovalNeedsPerson: if no person decides.
    :raises ApprovalNotPending, ApprovalExpired: if it is too late.
    :raises ApprovalChanged: if the payload is not what was asked for.
    :raises DomainError: what carrying it out refuses; the request stays open.
    """
    approval = _lock_for_decision(approval_id, actor)
    if approval.expires_at <= at:
        raise ApprovalExpired(f"This request expired at {approval.expires_at:%Y-%m-%d %H:%M} UTC; ask again.")
    if hash_payload(approval.payload) != approval.payload_hash:
        raise ApprovalChanged("The stored request was changed after it was made; it cannot be approved.")
    kind = get_kind(approval.kind)
    _decide(approval, ApprovalStatus.APPROVED, at=at, actor=actor, comment=comment)
    result = kind.execute(approval, at, actor)
    approval.executed_at, approval.result = at, events.to_plain(result or {})
    _store(approval, at=at, actor=actor)
    return approval


@transaction.atomic
def reject(*, approval_id: uuid.UUID, at: datetime, actor: Actor, comment: str) -> Approval:
    """
    Refuse what was asked for, with a comment for the person who asked.

    :raises ApprovalSelfDecision: if `actor` asked for it (cancel it instead).
    :raises ApprovalNeedsPerson, ApprovalNotPending: as `approve`. :raises ValidationFailed: without a comment.
    """
    approval = _lock_for_decision(approval_id, actor)
    if not comment.strip():
        raise ValidationFailed.of("/comment", "blank", "Say what must change: the person who asked reads it.")
    _decide(approval, ApprovalStatus.REJECTED, at=at, actor=actor, comment=comment)
    _release(approval, at=at, actor=actor)
    return approval


@transaction.atomic
def cancel(*, approval_id: uuid.UUID, at: datetime, actor: Actor, comment: str = "") -> Approval:
    """
    Take a request back. Who may do that besides the person who asked is for the interface to say.

    :raises ApprovalNotPending: if it is decided.
    """
    approval = _lock_pending(approval_id)
    _decide(approval, ApprovalStatus.CANCELED, at=at, actor=actor, comment=comment)
    _release(approval, at=at, actor=actor)
    return approval


def expire_due(*, at: datetime) -> int:
    """
    Close the requests nobody decided in time, each in its own transaction, and return how many.

    One that cannot be closed is logged and left open; it does not keep the others.
    """
    due = Approval.objects.filter(status=ApprovalStatus.PENDING, expires_at__lte=at).order_by("expires_at", "id")
    closed = 0
    for pk in due.values_list("pk", flat=True)[:_SWEEP_BATCH]:
        try:
            closed += _expire(pk, at=at)
        except DomainError:
            logger.exception("approval %s could not be closed", pk)
    return closed


def hash_payload(payload: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of a payload."""
    return hashlib.sha256(events.canonical_json(payload).encode()).hexdigest()


@transaction.atomic
def _expire(approval_id: uuid.UUID, *, at: datetime) -> bool:
    rows = Approval.objects.select_for_update(skip_locked=True)
    approval = rows.filter(pk=approval_id, status=ApprovalStatus.PENDING, expires_at__lte=at).first()
    if approval is None:  # decided meanwhile, or being decided
        return False
    _decide(approval, ApprovalStatus.EXPIRED, at=at, actor=SYSTEM, comment="Nobody decided in time.")
    _release(approval, at=at, actor=SYSTEM)
    return True


def _lock_pending(approval_id: uuid.UUID) -> Approval:
    approval = Approval.objects.select_for_update().filter(pk=approval_id).first()
    if approval is None:
        raise NotFound("approval")
    if not approval.is_pending:
        raise ApprovalNotPending(
            f"{approval.decided_by} decided this at {approval.decided_at:%Y-%m-%d %H:%M} UTC: {approval.status}.",
            current_status=approval.status,
        )
    return approval


def _lock_for_decision(approval_id: uuid.UUID, actor: Actor) -> Approval:
    approval = _lock_pending(approval_id)
    if actor.type == "system":
        raise ApprovalNeedsPerson("The product cannot approve or reject by itself.")
    if is_same_person(approval.requested_by, str(actor)):
        raise ApprovalSelfDecision("You asked for this yourself: another person must decide.")
    return approval


def _decide(approval: Approval, status: ApprovalStatus, *, at: datetime, actor: Actor, comment: str) -> None:
    """Write the decision on the object; the row follows once what it means is done."""
    approval.status, approval.decided_by, approval.decided_at = status, str(actor), at
    approval.comment = comment.strip()


def _release(approval: Approval, *, at: datetime, actor: Actor) -> None:
    """Let go of what the request held. A kind that is gone holds nothing any more."""
    kind = _kinds.get(approval.kind)
    if kind is not None:
        kind.release(approval, at, actor)
    _store(approval, at=at, actor=actor)


def _store(approval: Approval, *, at: datetime, actor: Actor) -> None:
    approval.save(update_fields=["status", "decided_by", "decided_at", "comment", "executed_at", "result"])
    previous = {"status": ApprovalStatus.PENDING}
    _emit(approval.status, approval, at=at, actor=actor, reason=approval.comment, previous=previous)


def _emit(
    what: str,
    approval: Approval,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: Mapping[str, Any] | None = None,
) -> None:
    events.emit(
        f"approval.{what}",
        subject=approval,
        account_id=approval.account_id,
        at=at,
        actor=actor,
        data={
            "kind": approval.kind,
            "title": approval.title,
            "subject_type": approval.subject_type,
            "subject_id": approval.subject_id,
            "status": approval.status,
            "requested_by": approval.requested_by,
            "payload_hash": approval.payload_hash,
            "amount": approval.amount,
            "currency": approval.currency,
            "result": approval.result,
        },
        previous=previous,
        reason=reason,
    )
