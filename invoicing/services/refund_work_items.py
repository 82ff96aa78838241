"""What operators can do about refunds that failed or were made elsewhere. Source: ADR 0055."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound
from billing_site.platform.models import WorkItem
from billing_site.platform.services.work_items import WorkItemKind, register_kind
from invoicing.models import Refund
from invoicing.services.refund_settling import (
    CONTRADICTION_ITEM,
    FAILED_ITEM,
    UNCOVERED_ITEM,
    UNKNOWN_ITEM,
    retry_refund,
    write_missing_note,
)

PERMISSION = "invoicing.create_refund"


def register_refund_items() -> None:
    """Tell the platform what can be done. Called when the app starts."""
    register_kind(WorkItemKind(FAILED_ITEM, "Refund failed", {"retry": _retry, "leave_as_credit": _leave}, PERMISSION))
    register_kind(
        WorkItemKind(UNCOVERED_ITEM, "Refunded at the provider", {"write_credit_note": _write_note}, PERMISSION)
    )
    register_kind(WorkItemKind(UNKNOWN_ITEM, "Refund of an unknown payment"))
    register_kind(WorkItemKind(CONTRADICTION_ITEM, "Refund contradicted by the provider"))


def _read(item: WorkItem) -> UUID:
    key = Refund.parse_id(item.subject_id)
    if key is None:
        raise NotFound("refund")
    return key


def _retry(item: WorkItem, at: datetime, actor: Actor) -> str:
    again = retry_refund(refund_id=_read(item), at=_tell_time(item, at), actor=actor, reason=item.title)
    return f"The refund is tried again as {again.public_id}."


def _leave(_item: WorkItem, _at: datetime, _actor: Actor) -> str:
    return "The money stays where it is: the account can use it."


def _write_note(item: WorkItem, at: datetime, actor: Actor) -> str:
    note = write_missing_note(refund_id=_read(item), at=_tell_time(item, at), actor=actor, reason=item.title)
    return f"{note} is issued."


def _tell_time(item: WorkItem, at: datetime) -> datetime:
    refund = Refund.objects.select_related("account__test_clock").filter(pk=_read(item)).first()
    return (refund and refund.account.clock_time) or at
