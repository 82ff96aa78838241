"""Credit notes above the limit, which one person asks for and another one approves. Source: ADR 0017, 0041 and 0046."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.services.approval_limits import needs_second_person
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound
from billing_site.kernel.money import Money
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import ApprovalKind, Request, register_kind, request_approval
from invoicing.models import CreditNote, Invoice
from invoicing.services.credit_notes import CREDIT_NOTE_KIND, issue_credit_note
from invoicing.services.credit_requests import CreditRequest, ForeseenNote, foresee_note, say_money
from invoicing.services.invoices import lock_invoice, lock_parties

PERMISSION: Final = "invoicing.approve_credit_note"


@dataclass(frozen=True, slots=True)
class CreditOutcome:
    """What came of it, the note or the request for one, and what it comes to."""

    done: CreditNote | Approval
    foreseen: ForeseenNote


def register_credit_note_approvals() -> None:
    """Tell the platform what approving a credit note does. Called when the app starts."""
    register_kind(ApprovalKind(CREDIT_NOTE_KIND, "Issue a credit note above the limit", PERMISSION, _issue_approved))


@transaction.atomic
def credit_or_request(
    *, invoice_id: uuid.UUID, request: CreditRequest, at: datetime, actor: Actor, reason: str
) -> CreditOutcome:
    """
    Issue a credit note, or above the limit ask another person to.

    What cannot be credited is refused before anybody is asked; when it is approved it is computed anew.
    :raises DomainError: as `issue_credit_note`. :raises ApprovalAlreadyPending: while a request for the invoice waits.
    """
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    foreseen = foresee_note(invoice, request)
    total = foreseen.draft.total
    if not needs_second_person(amount=total, actor=actor):
        note = issue_credit_note(invoice_id=invoice_id, request=request, at=at, actor=actor, reason=reason)
        return CreditOutcome(note, foreseen)
    asked = Request(
        CREDIT_NOTE_KIND,
        invoice,
        f"Credit note over {say_money(total, invoice.currency)} for {invoice} of {invoice.account}",
        {"invoice": invoice.public_id, "request": request.as_dict()},
        effect=Money(total, invoice.currency),
        account_id=invoice.account_id,
    )
    return CreditOutcome(request_approval(asked, at=at, actor=actor, reason=reason), foreseen)


def find_credited_invoice(approval: Approval) -> Invoice | None:
    """Return the invoice that a request wants to credit, or None."""
    key = Invoice.parse_id(approval.subject_id)
    return None if key is None else Invoice.objects.select_related("account__test_clock").filter(pk=key).first()


def read_request(approval: Approval) -> CreditRequest:
    """Return what was asked for."""
    return CreditRequest.from_dict(approval.payload["request"])


def _issue_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    invoice = find_credited_invoice(approval)
    if invoice is None:
        raise NotFound("invoice")
    note = issue_credit_note(
        invoice_id=invoice.pk,
        request=read_request(approval),
        at=invoice.account.clock_time or at,
        actor=actor,
        reason=approval.reason,
        approval=approval,
    )
    return {"credit_note_id": note.public_id, "number": note.number_text}
