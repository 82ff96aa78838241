"""
What credit notes and refunds are to each other: a note starts its refunds, and is not taken back once they are made.

Source: policies, rule 25; contract chapter Refunds and credit notes; ADR 0055.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db.models import Q

from accounts.services import ledger
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.money import Money
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import ApprovalChanged, Request, request_approval
from invoicing.models import CreditNote, PaymentIntent, Refund, RefundDestination, RefundSource, RefundStatus
from invoicing.services.credit_requests import CreditRequest, Settling, say_money
from invoicing.services.refund_limits import refund_needs_approval
from invoicing.services.refund_rows import Batch, RefundPart, choose_reason, release_refund, write_refunds

REFUND_KIND: Final = "invoicing.refund"


def open_refunds(
    note: CreditNote,
    settling: Settling,
    request: CreditRequest,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    approval: Approval | None,
) -> list[Refund]:
    """
    Start the refunds of a note that was just written and return them: those that were asked for before it, or new ones.

    Above the limit new ones wait for a second person; the note stands meanwhile, and without the refund its money is
    invoice credit. Runs in the caller's transaction, which has locked account and invoice.
    :raises ApprovalChanged: when the money would go back another way than was approved.
    """
    if request.refund.covers:
        return [_cover(note, request.refund.covers)]
    parts = [*settling.parts, *([RefundPart(settling.credited)] if settling.credited else [])]
    if not parts:
        return []
    batch = uuid.UUID(request.refund.batch) if request.refund.batch else new_uuid()
    waiting = lock_batch(batch, Q(invoice=note.invoice_id, status=RefundStatus.PENDING))
    if waiting:
        _require_same(waiting, parts)
        for row in waiting:
            release_refund(row, at=at, actor=actor, note=note, approval=approval)
        return waiting
    cause = request.refund.reason or choose_reason(request.cause)
    rows = write_refunds(
        parts,
        Batch(batch, cause, request.refund.metadata),
        account_id=note.account_id,
        currency=note.currency,
        livemode=note.livemode,
        source=RefundSource.CREDIT_NOTE,
        actor=actor,
        at=at,
        invoice=note.invoice,
        note=note,
    )
    waits = approval is None and refund_needs_approval(amount=settling.refunded, reason=cause, actor=actor)
    sent = [row for row in rows if row.destination == RefundDestination.PROVIDER]
    if waits and sent:
        ask_for_approval(
            sent,
            title=f"Refund of {say_money(settling.refunded, note.currency)} for {note} of {note.account}",
            payload={"batch": str(batch), "notes": []},
            at=at,
            actor=actor,
            reason=reason or f"Credit note {note}",
        )
    for row in rows:
        if not (waits and row in sent):
            release_refund(row, at=at, actor=actor, approval=approval)
    return rows


def ask_for_approval(
    rows: Sequence[Refund], *, title: str, payload: dict[str, object], at: datetime, actor: Actor, reason: str
) -> Approval:
    """Open the request for a second person about refunds, and leave it on their rows."""
    first = rows[0]
    asked = Request(
        REFUND_KIND,
        first,
        title,
        payload,
        effect=Money(sum(row.amount for row in rows), first.currency),
        account_id=first.account_id,
    )
    approval = request_approval(asked, at=at, actor=actor, reason=reason)
    for row in rows:
        row.approval = approval
        row.save(update_fields=["approval", "updated_at"])
    return approval


def lock_batch(batch: uuid.UUID, condition: Q) -> list[Refund]:
    """Return the refunds of one request that meet a condition, locked, in the order they were written."""
    rows = Refund.objects.select_for_update(of=("self",), no_key=True).select_related("payment_intent")
    return list(rows.filter(condition, batch=batch).order_by("id"))


def _require_same(waiting: Sequence[Refund], parts: Sequence[RefundPart]) -> None:
    def name(intent: PaymentIntent | None) -> str:
        return "" if intent is None else intent.public_id

    asked = sorted((name(row.payment_intent), row.amount) for row in waiting)
    if asked != sorted((name(part.intent), part.amount) for part in parts):
        raise ApprovalChanged("The money would go back another way now than was asked for. Ask for it again.")


def _cover(note: CreditNote, refund_id: str) -> Refund:
    """Let a note take the place of what was missing for a refund that the provider had made by itself."""
    key = Refund.parse_id(refund_id)
    row = Refund.objects.select_for_update(no_key=True).filter(pk=key).first() if key else None
    if row is None:
        raise NotFound("refund")
    if not row.is_uncovered or row.status != RefundStatus.SUCCEEDED or row.amount != note.amount_refunded:
        raise InvalidState("This refund does not lack a credit note over this amount.", current_status=row.status)
    row.credit_note, row.is_uncovered = note, False
    row.save(update_fields=["credit_note", "is_uncovered", "updated_at"])
    return row


def require_not_refunded(note: CreditNote) -> list[Refund]:
    """
    Return the refunds of a note whose money came back as invoice credit; lock them.

    :raises InvalidState: when a refund of the note was made, or may still be.
    """
    rows = Refund.objects.select_for_update(of=("self",), no_key=True).filter(credit_note=note).order_by("id")
    found = list(rows)
    if any(row.status == RefundStatus.SUCCEEDED for row in found):
        raise InvalidState("The credit note was paid out by a refund.", current_status=note.status)
    if any(row.status == RefundStatus.PENDING for row in found):
        raise InvalidState("A refund of the credit note is under way.", current_status=note.status)
    # What was tried again took the credit and gave it back once more.
    return [row for row in found if row.held_entry_id is None and row.entry_id is not None]


def take_back_returned(returned: Sequence[Refund], *, at: datetime) -> None:
    """Undo that the money of failed refunds became invoice credit: the note that gave it is taken back."""
    for row in returned:
        if row.entry is not None:
            ledger.reverse_entry(entry=row.entry, at=at, description="Credit note voided")
