"""
Work items: the operators' inbox of abnormal things.

An app says at start-up what its kind of item is and what can be done about one: `register_kind(WorkItemKind(...))` in
its `AppConfig.ready`. Services open an item in the transaction of what they found, and close it there when the matter
settles by itself. An item is locked after everything else.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.platform.models import Identified, WorkItem, WorkItemSeverity, WorkItemStatus
from billing_site.platform.services import events

HANDLE: Final = "platform.handle_workitem"

# Returns what was done as a sentence, or nothing.
Act = Callable[[WorkItem, datetime, Actor], "str | None"]


class WorkItemKindUnknown(DomainError):
    code, title, status = "work_item_kind_unknown", "Nothing here knows this kind of work item", 409


class WorkItemActionUnknown(DomainError):
    code, title, status = "work_item_action_unknown", "This kind of work item has no such action", 409


class WorkItemNotOpen(InvalidState):
    title = "This work item is closed already"


@dataclass(frozen=True, slots=True)
class WorkItemKind:
    """
    One kind of abnormal thing, as the app that owns it declares it.

    `actions` are what an operator can do about one, by name ("retry"); each runs in the transaction that closes the
    item and must neither close it nor talk to the network: it enqueues a job that does. A `DomainError` it raises
    leaves the item open. `permission` is `app.codename`, needed besides the permission to handle work items.
    """

    name: str
    title: str
    actions: Mapping[str, Act] = field(default_factory=dict)
    permission: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What an item is about when it is no row of ours: a transfer of a bank, an object of a provider."""

    type: str
    id: str


_kinds: dict[str, WorkItemKind] = {}


def register_kind(kind: WorkItemKind) -> None:
    """Make a kind of work item known. The same name replaces."""
    _kinds[kind.name] = kind


def get_kind(name: str) -> WorkItemKind:
    """
    Return a registered kind.

    :raises WorkItemKindUnknown: if no app registered it.
    """
    kind = _kinds.get(name)
    if kind is None:
        raise WorkItemKindUnknown(f"No part of this installation knows {name!r}.")
    return kind


def list_kinds() -> list[WorkItemKind]:
    """Return the registered kinds by name."""
    return [_kinds[name] for name in sorted(_kinds)]


@transaction.atomic
def open_work_item(
    *,
    kind: str,
    subject: Identified | Subject,
    title: str,
    at: datetime,
    actor: Actor,
    detail: str = "",
    data: Mapping[str, Any] | None = None,
    account_id: uuid.UUID | None = None,
    severity: WorkItemSeverity | str = WorkItemSeverity.WARNING,
) -> WorkItem:
    """
    Tell operators of something abnormal and return the open item; what is told already is counted, not told again.

    A repeat takes over the newest title, detail, data and severity. Call it last in a transaction: it locks the item.
    :raises WorkItemKindUnknown: if the kind is not registered.
    """
    known = get_kind(kind)
    subject_type, subject_id = _describe(subject)
    values: dict[str, Any] = {
        "title": title[:255],
        "detail": detail,
        "data": events.to_plain(data or {}),
        "severity": severity,
    }
    item = _repeat(known.name, subject_id, values, at)
    while item is None:
        try:
            with transaction.atomic():
                item = WorkItem.objects.create(
                    kind=known.name,
                    subject_type=subject_type,
                    subject_id=subject_id,
                    account_id=account_id,
                    opened_at=at,
                    last_seen_at=at,
                    **values,
                )
        except IntegrityError as error:
            if "work_items_one_open" not in str(error):
                raise
            item = _repeat(known.name, subject_id, values, at)  # None: it was closed meanwhile, this is a new matter
        else:
            _emit("opened", item, at=at, actor=actor)
    return item


@transaction.atomic
def close_work_item(
    *,
    item_id: uuid.UUID,
    at: datetime,
    actor: Actor,
    comment: str = "",
    status: WorkItemStatus | str = WorkItemStatus.DONE,
) -> WorkItem:
    """
    Close an item as done or dismissed and return it.

    :raises WorkItemNotOpen: if it is closed. :raises ValidationFailed: for a dismissal without a comment.
    """
    item = _lock_open(item_id)
    if status == WorkItemStatus.DISMISSED and not comment.strip():
        raise ValidationFailed.of("/comment", "blank", "Say why nothing needs to be done.")
    return _close(item, status=WorkItemStatus(status), at=at, actor=actor, comment=comment)


@transaction.atomic
def settle_work_item(
    *, kind: str, subject: Identified | Subject, at: datetime, actor: Actor, comment: str = ""
) -> WorkItem | None:
    """Close the open item of this kind about `subject` as done, because the matter settled; None if there is none."""
    rows = WorkItem.objects.select_for_update(no_key=True)
    item = rows.filter(kind=kind, subject_id=_describe(subject)[1], status=WorkItemStatus.OPEN).first()
    return item and _close(item, status=WorkItemStatus.DONE, at=at, actor=actor, comment=comment)


@transaction.atomic
def act_on_work_item(
    *, item_id: uuid.UUID, action: str, at: datetime, actor: Actor, comment: str = ""
) -> tuple[WorkItem, str]:
    """
    Do what the item's kind offers under the name `action`, close the item as done, and return it with what was done.

    :raises WorkItemNotOpen: if it is closed. :raises WorkItemActionUnknown: if its kind offers no such action.
    :raises DomainError: what the action refuses; the item stays open.
    """
    item = WorkItem.objects.filter(pk=item_id).first()
    act = get_kind(item.kind).actions.get(action) if item else None
    if item and act is None:
        raise WorkItemActionUnknown(f"{item.title}: there is no {action!r} for it.")
    # The item is locked after what the action locks, as everywhere. Of two people who act at once the second one's
    # action is rolled back here.
    said = act(item, at, actor) if item and act and item.is_open else None
    item = _lock_open(item_id)
    noted = f"{action}: {comment.strip()}" if comment.strip() else action
    return _close(item, status=WorkItemStatus.DONE, at=at, actor=actor, comment=noted), said or ""


def find_open(*, kind: str, subject: Identified | Subject) -> WorkItem | None:
    """Return the open item of this kind about `subject`, or None."""
    return WorkItem.objects.filter(kind=kind, subject_id=_describe(subject)[1], status=WorkItemStatus.OPEN).first()


def _describe(subject: Identified | Subject) -> tuple[str, str]:
    if isinstance(subject, Subject):
        return subject.type, subject.id
    return subject.get_object_type(), subject.public_id


def _repeat(kind: str, subject_id: str, values: Mapping[str, Any], at: datetime) -> WorkItem | None:
    """Count another occurrence on the open item, or return None where none is open."""
    rows = WorkItem.objects.select_for_update(no_key=True)
    item = rows.filter(kind=kind, subject_id=subject_id, status=WorkItemStatus.OPEN).first()
    if item is None:
        return None
    for name, value in values.items():
        setattr(item, name, value)
    item.occurrences += 1
    item.last_seen_at = max(item.last_seen_at, at)  # clocks of accounts differ
    item.save(update_fields=[*values, "occurrences", "last_seen_at"])
    return item


def _lock_open(item_id: uuid.UUID) -> WorkItem:
    item = WorkItem.objects.select_for_update(no_key=True).filter(pk=item_id).first()
    if item is None:
        raise NotFound("work_item")
    if not item.is_open:
        raise WorkItemNotOpen(
            f"{item.closed_by} closed this at {item.closed_at:%Y-%m-%d %H:%M} UTC: {item.status}.",
            current_status=item.status,
        )
    return item


def _close(item: WorkItem, *, status: WorkItemStatus, at: datetime, actor: Actor, comment: str) -> WorkItem:
    if not item.can_become(status):
        raise WorkItemNotOpen(f"A work item does not become {status}.", current_status=item.status)
    item.status, item.closed_at, item.closed_by = status, at, str(actor)
    item.comment = comment.strip()
    item.save(update_fields=["status", "closed_at", "closed_by", "comment"])
    _emit(status, item, at=at, actor=actor, previous={"status": WorkItemStatus.OPEN})
    return item


def _emit(what: str, item: WorkItem, *, at: datetime, actor: Actor, previous: Mapping[str, Any] | None = None) -> None:
    events.emit(
        f"work_item.{what}",
        subject=item,
        account_id=item.account_id,
        at=at,
        actor=actor,
        data={
            "kind": item.kind,
            "title": item.title,
            "subject_type": item.subject_type,
            "subject_id": item.subject_id,
            "severity": item.severity,
            "status": item.status,
            "occurrences": item.occurrences,
        },
        previous=previous,
        reason=item.comment,
    )
