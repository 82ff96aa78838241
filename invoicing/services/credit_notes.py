"""
Issuing and voiding credit notes: what they do to the invoice, to the account's money and to the ledger.

Locks: account, subscription, invoice, note, ledger, counter. Source: policies, rules 12, 24 to 26; contract chapter
Refunds and credit notes; ADR 0041.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import Account, LedgerAccount, LedgerEntry, LedgerKind
from accounts.services import ledger
from accounts.services.approval_limits import SecondPersonNeeded, get_approval_limit, needs_second_person
from accounts.services.ledger import PostingSpec
from accounts.services.prepaid import InsufficientBalance
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.kernel.ids import encode_id, new_uuid
from billing_site.kernel.periods import local_date
from billing_site.platform.models import Approval, ApprovalStatus
from billing_site.platform.services import events
from billing_site.platform.services.approvals import ApprovalChanged
from invoicing.calculation.credit_notes import CreditDraft
from invoicing.models import (
    CreditNote,
    CreditNoteLine,
    CreditNoteStatus,
    CreditNoteTax,
    Disposition,
    Invoice,
    InvoiceLine,
    InvoiceTax,
)
from invoicing.services.balance_payments import add_payment
from invoicing.services.credit_requests import CreditRequest, ForeseenNote, Settling, foresee_note, say_money
from invoicing.services.invoice_mails import queue_credit_note_mail
from invoicing.services.invoices import lock_invoice, lock_parties
from invoicing.services.numbering import format_number, get_series, take_numbers
from invoicing.services.refund_notes import open_refunds, require_not_refunded, take_back_returned
from invoicing.services.reopening import take_payment_back
from invoicing.services.revenue import defer_credit, take_back_revenue
from invoicing.services.sellers import snapshot_seller
from invoicing.services.traces import snapshot_account

CREDIT_NOTE_KIND: Final = "invoicing.credit_note"


@transaction.atomic
def issue_credit_note(
    *,
    invoice_id: uuid.UUID,
    request: CreditRequest,
    at: datetime,
    actor: Actor,
    reason: str = "",
    approval: Approval | None = None,
) -> CreditNote:
    """
    Take back part of an issued invoice, or what is left of it, and return the numbered note.

    What remains to be paid is lowered first; of what was paid the money becomes invoice credit, is paid back
    outside, or goes back the way it came: through the provider first, then into invoice credit. An invoice of which
    nothing remains then is paid.
    :raises NotFound: if there is no such invoice. :raises InvalidState: while it is a draft, or when it is void.
    :raises AmountNotPositive: when there is nothing to credit. :raises AmountExceedsCreditable: beyond what is left of
        the invoice, a line or a tax rate. :raises ValidationFailed: for what cannot be understood.
    :raises AmountExceedsRefundable: for a refund of more than is not given back or asked for already.
    :raises SecondPersonNeeded: when staff credits more than the limit without an `approval` of this.
    :raises ApprovalChanged: when it comes to another amount than was approved.
    """
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    foreseen = foresee_note(invoice, request)
    _require_second_person(invoice, foreseen.draft, request, actor=actor, approval=approval)
    return write_credit_note(invoice, foreseen, request, at=at, actor=actor, reason=reason, approval=approval)


def write_credit_note(
    invoice: Invoice,
    foreseen: ForeseenNote,
    request: CreditRequest,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    approval: Approval | None = None,
) -> CreditNote:
    """
    Write, book, number, tell and mail the note that was `foreseen`, and return it. Asks nobody whether it may be.

    Runs in the caller's transaction, which has locked the invoice and what comes before it, then foreseen.
    """
    draft, settling = foreseen.draft, foreseen.settling
    note = _build_note(invoice, request, draft, settling, at=at)
    note.approval = approval
    rows = {row.public_id: row for row in InvoiceLine.objects.filter(invoice=invoice).only("id", "position")}
    note.entry = _book(note, _defer(note, draft, rows), at=at)
    _assign_number(note)
    note.save(force_insert=True)
    _write_parts(note, draft, rows)
    events.emit(
        "credit_note.created",
        subject=note,
        account_id=note.account_id,
        at=at,
        actor=actor,
        data=snapshot_credit_note(note),
        reason=reason,
    )
    if settling.applied:
        add_payment(invoice, amount=settling.applied, at=at, actor=actor, method="credit_note", reason=reason)
    if request.disposition == Disposition.REFUND:
        open_refunds(note, settling, request, at=at, actor=actor, reason=reason, approval=approval)
    queue_credit_note_mail(note)
    return note


@transaction.atomic
def void_credit_note(*, credit_note_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> CreditNote:
    """
    Take back a note: its ledger entry is reversed, what it lowered is to be paid again, its number stays used.

    An invoice that the note settled is open again.
    :raises NotFound: if there is none. :raises InvalidState: if it is void already, or its money was paid back, or is
        about to be. :raises InsufficientBalance: when the credit that it gave was spent.
    """
    found = CreditNote.objects.filter(id=credit_note_id).values_list("invoice_id", flat=True).first()
    if found is None:
        raise NotFound("credit_note")
    lock_parties(found)
    invoice = lock_invoice(found)
    note = (
        CreditNote.objects.select_for_update(of=("self",), no_key=True)
        .select_related("entry", "account__test_clock")
        .get(id=credit_note_id)
    )
    if not note.can_become(CreditNoteStatus.VOID):
        raise InvalidState("The credit note is void already.", current_status=note.status)
    returned = require_not_refunded(note)
    _require_credit(note, sum(refund.amount for refund in returned))
    take_back_returned(returned, at=at)
    ledger.reverse_entry(
        entry=note.entry, at=at, key=f"void:{note.public_id}", description=f"Credit note {note} voided"
    )
    take_back_revenue(invoice, source=_make_key(note), at=at)
    note.status, note.voided_at, note.void_reason = CreditNoteStatus.VOID, at, reason
    note.save(update_fields=["status", "voided_at", "void_reason", "updated_at"])
    events.emit(
        "credit_note.voided",
        subject=note,
        account_id=note.account_id,
        at=at,
        actor=actor,
        data=snapshot_credit_note(note),
        previous={"status": CreditNoteStatus.ISSUED},
        reason=reason,
    )
    if note.amount_applied:
        take_payment_back(invoice, amount=note.amount_applied, source=note.public_id, at=at, actor=actor, reason=reason)
    return note


def snapshot_credit_note(note: CreditNote) -> dict[str, Any]:
    """Return what an event says of a credit note."""
    return {
        "id": note.public_id,
        "number": note.number_text,
        "invoice_id": encode_id(Invoice.id_prefix, note.invoice_id),
        "status": note.status,
        "currency": note.currency,
        "subtotal": note.subtotal,
        "tax": note.tax,
        "total": note.total,
        "disposition": note.disposition,
        "amount_applied": note.amount_applied,
        "amount_credited": note.amount_credited,
        "out_of_band_amount": note.out_of_band_amount,
        "amount_refunded": note.amount_refunded,
        "reason": note.reason or None,
    }


def _require_second_person(
    invoice: Invoice, draft: CreditDraft, request: CreditRequest, *, actor: Actor, approval: Approval | None
) -> None:
    limit = get_approval_limit()
    if approval is None:
        if needs_second_person(amount=draft.total, actor=actor):
            above = say_money(limit, invoice.currency)
            raise SecondPersonNeeded(f"Above {above}, another person must approve it.", limit=limit)
        return
    if (
        approval.status != ApprovalStatus.APPROVED
        or (approval.kind, approval.subject_id) != (CREDIT_NOTE_KIND, invoice.public_id)
        or approval.payload.get("request") != events.to_plain(request.as_dict())
    ):
        raise SecondPersonNeeded("This is not the credit note that was approved.", limit=limit)
    if (approval.amount, approval.currency) != (draft.total, invoice.currency):
        now, asked = say_money(draft.total, invoice.currency), say_money(approval.amount or 0, invoice.currency)
        raise ApprovalChanged(f"It comes to {now} now, not to the {asked} that were asked for. Ask for it again.")


def _build_note(
    invoice: Invoice, request: CreditRequest, draft: CreditDraft, settling: Settling, *, at: datetime
) -> CreditNote:
    account: Account = invoice.account
    return CreditNote(
        id=new_uuid(),
        org_id=invoice.org_id,
        account=account,
        invoice=invoice,
        seller=invoice.seller,
        currency=invoice.currency,
        subtotal=draft.subtotal,
        tax=draft.tax,
        total=draft.total,
        disposition=request.disposition,
        amount_applied=settling.applied,
        amount_credited=settling.credited,
        out_of_band_amount=settling.out_of_band,
        amount_refunded=settling.refunded,
        reason=request.cause,
        memo=request.memo,
        issue_date=local_date(at, account.zone),
        issued_at=at,
        account_snapshot=snapshot_account(account),
        seller_snapshot=snapshot_seller(invoice.seller),
        trace=draft.facts.as_dict(),
        livemode=invoice.livemode,
        metadata=dict(request.metadata),
    )


def _make_key(note: CreditNote) -> str:
    return f"credit_note:{note.public_id}"


def _defer(note: CreditNote, draft: CreditDraft, rows: Mapping[str, InvoiceLine]) -> int:
    """Return what of the note is taken from revenue that is not earned yet (ADR 0044)."""
    credited: dict[int, int] = defaultdict(int)
    since: dict[int, date] = {}
    for line in draft.lines:
        position = rows[line.line.id].position
        if line.amount > 0:
            credited[position] += line.amount
            if line.unused is not None:
                since[position] = local_date(line.unused.period.start, note.account.zone)
    return defer_credit(note.invoice, source=_make_key(note), credited=credited, since=since)


def _book(note: CreditNote, deferred: int, *, at: datetime) -> LedgerEntry:
    """Revenue, first what is not earned yet, and tax give back what they had; receivable, credit and cash take it."""
    owner, currency = note.account_id, note.currency
    legs: list[tuple[str, uuid.UUID | None, int]] = [
        (LedgerKind.REVENUE, None, note.subtotal - deferred),
        (LedgerKind.DEFERRED_REVENUE, None, deferred),
        (LedgerKind.TAX, None, note.tax),
        (LedgerKind.RECEIVABLE, owner, -note.amount_applied),
        (LedgerKind.INVOICE_CREDIT, owner, -note.amount_credited),
        (LedgerKind.CASH, None, -note.out_of_band_amount),
        (LedgerKind.REFUNDS_PENDING, owner, -note.amount_refunded),
    ]
    return ledger.post_entry(
        key=_make_key(note),
        type="credit_note",
        account_id=owner,
        postings=[PostingSpec(kind, whose, currency, amount) for kind, whose, amount in legs if amount],
        at=at,
        livemode=note.livemode,
        description="Credit note issued",
        metadata={"credit_note_id": note.public_id, "invoice_id": encode_id(Invoice.id_prefix, note.invoice_id)},
    )


def _assign_number(note: CreditNote) -> None:
    note.series = get_series(note.seller, "credit_note", issue_date=note.issue_date)
    note.number = take_numbers(seller_id=note.seller_id, series=note.series, livemode=note.livemode, count=1)
    note.number_text = format_number(note.series, note.number)


def _write_parts(note: CreditNote, draft: CreditDraft, rows: Mapping[str, InvoiceLine]) -> None:
    """Write lines and taxes, one statement each: the limits of the lines are checked once for all."""
    CreditNoteLine.objects.bulk_create(
        CreditNoteLine(
            credit_note=note,
            position=position,
            invoice_line=rows[line.line.id],
            description=line.description[:500],
            quantity=line.quantity,
            unit_amount=line.unit_amount,
            amount=line.amount,
            trace=line.trace,
        )
        for position, line in enumerate(draft.lines, start=1)
    )
    rates = {row.public_id: row for row in InvoiceTax.objects.filter(invoice=note.invoice_id)} if draft.taxes else {}
    CreditNoteTax.objects.bulk_create(
        CreditNoteTax(
            credit_note=note,
            position=position,
            invoice_tax=rates[tax.rate.id],
            name=tax.rate.name,
            rate=tax.rate.rate,
            base=tax.base,
            amount=tax.amount,
            trace={"steps": list(tax.steps)},
        )
        for position, tax in enumerate(draft.taxes, start=1)
    )


def _require_credit(note: CreditNote, returned: int) -> None:
    """
    Lock the invoice credit that the note gave, and what came back of it that could not be refunded.

    :raises InsufficientBalance: unless all of it is still there.
    """
    given = note.amount_credited + returned
    if not given:
        return
    pots = LedgerAccount.objects.select_for_update(no_key=True).filter(kind=LedgerKind.INVOICE_CREDIT)
    pot = pots.filter(account=note.account_id, currency=note.currency).first()
    available = 0 if pot is None else -pot.balance
    if available < given:
        raise InsufficientBalance(
            "The credit that the note gave was spent.", available=max(0, available), required=given
        )
