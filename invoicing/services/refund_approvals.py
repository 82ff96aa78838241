"""Refunds above the limit, which one asks for and another person approves. Source: ADR 0017 and 0055."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from django.db.models import Q

from accounts.services.account_locks import lock_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound
from billing_site.platform.models import Approval, ApprovalStatus
from billing_site.platform.services.approvals import ApprovalChanged, ApprovalKind, register_kind
from invoicing.models import Invoice, Refund, RefundStatus
from invoicing.services.credit_notes import write_credit_note
from invoicing.services.credit_requests import CreditRequest, foresee_note, say_money
from invoicing.services.invoices import lock_invoice, lock_parties
from invoicing.services.refund_notes import REFUND_KIND, lock_batch
from invoicing.services.refund_rows import end_refund, release_refund

PERMISSION: Final = "invoicing.approve_refund"
_WAITS: Final = Q(status=RefundStatus.PENDING, released_at__isnull=True)


def register_refund_approvals() -> None:
    """Tell the platform what approving a refund does. Called when the app starts."""
    register_kind(ApprovalKind(REFUND_KIND, "Refund above the limit", PERMISSION, _send_approved, _let_go))


def find_asked_refunds(approval: Approval) -> list[Refund]:
    """Return the refunds that a request is about, in the order they were written."""
    rows = Refund.objects.filter(batch=_read_batch(approval), approval=approval)
    related = ("payment_intent__payment_method", "invoice", "credit_note", "account")
    return list(rows.select_related(*related).order_by("id"))


def read_notes(approval: Approval) -> list[tuple[Invoice, CreditRequest, int]]:
    """Return the credit notes that a request will write: of which invoice, what is asked for, what it comes to."""
    found = []
    for note in approval.payload["notes"]:
        key = Invoice.parse_id(note["invoice"])
        rows = Invoice.objects.select_related("account__test_clock", "seller")
        invoice = rows.filter(pk=key).first() if key else None
        if invoice is None:
            raise NotFound("invoice")
        found.append((invoice, CreditRequest.from_dict(note["request"]), int(note["total"])))
    return found


def _read_batch(approval: Approval) -> uuid.UUID:
    return uuid.UUID(approval.payload["batch"])


def _send_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    if approval.account_id is None:
        raise NotFound("account")
    account = lock_account(approval.account_id)
    at = account.clock_time or at
    notes = read_notes(approval)
    for invoice, _, _ in sorted(notes, key=lambda note: note[0].pk):
        lock_parties(invoice.pk)
    written = []
    for found, request, total in notes:
        invoice = lock_invoice(found.pk)
        foreseen = foresee_note(invoice, request)
        if foreseen.draft.total != total:
            now, asked = say_money(foreseen.draft.total, invoice.currency), say_money(total, invoice.currency)
            raise ApprovalChanged(f"It comes to {now} now, not to the {asked} that were asked for. Ask for it again.")
        written.append(
            write_credit_note(
                invoice,
                foreseen,
                request,
                at=at,
                actor=actor,
                reason=approval.reason,
                approval=approval,
            )
        )
    for row in lock_batch(_read_batch(approval), _WAITS & Q(approval=approval)):
        release_refund(row, at=at, actor=actor, approval=approval)
    refunds = Refund.objects.filter(batch=_read_batch(approval)).order_by("id")
    return {
        "refunds": [row.public_id for row in refunds],
        "credit_notes": [{"id": note.public_id, "number": note.number_text} for note in written],
    }


def _let_go(approval: Approval, at: datetime, actor: Actor) -> None:
    """Cancel what waited: what it held of a payment is free, what it held of stored money is back."""
    if approval.account_id is None:
        return
    account = lock_account(approval.account_id)
    at = account.clock_time or at
    why = {ApprovalStatus.REJECTED: "rejected", ApprovalStatus.EXPIRED: "nobody decided in time"}
    for row in lock_batch(_read_batch(approval), _WAITS & Q(approval=approval)):
        row.failure_reason = why.get(ApprovalStatus(approval.status), "taken back")
        end_refund(row, RefundStatus.CANCELED, at=at, actor=actor, reason=approval.comment)
