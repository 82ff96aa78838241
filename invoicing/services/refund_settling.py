"""
What the provider says of a refund, and what becomes of one that failed.

The answer to our call, a webhook and the sweep all end in `record_refund`: whoever is first settles the row, the
others find it settled. Source: contract chapters Refunds and credit notes and Webhooks in; ADR 0055.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final

from django.db import transaction

from accounts.models import LedgerAccount, LedgerKind
from accounts.services.account_locks import lock_account
from accounts.services.prepaid import InsufficientBalance
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import WorkItemSeverity
from billing_site.platform.services.work_items import Subject, open_work_item
from invoicing.calculation.credit_facts import Wish
from invoicing.gateways.orders import RefundState
from invoicing.models import (
    CreditNote,
    Disposition,
    PaymentIntent,
    Refund,
    RefundDestination,
    RefundSource,
    RefundStatus,
)
from invoicing.queries.refundable import list_allocations
from invoicing.services.credit_notes import write_credit_note
from invoicing.services.credit_requests import CreditRequest, RefundWish, foresee_note, say_money
from invoicing.services.invoice_mails import queue_refund_mail
from invoicing.services.invoices import lock_invoice, lock_parties
from invoicing.services.refund_rows import (
    Batch,
    RefundPart,
    end_refund,
    hold_money,
    release_refund,
    tell,
    write_refunds,
)

FAILED_ITEM: Final = "invoicing.refund_failed"
UNCOVERED_ITEM: Final = "invoicing.refund_without_note"
UNKNOWN_ITEM: Final = "invoicing.refund_unknown"
CONTRADICTION_ITEM: Final = "invoicing.refund_contradicted"
_STATUSES: Final = {
    "pending": RefundStatus.PENDING,
    "requires_action": RefundStatus.PENDING,
    "succeeded": RefundStatus.SUCCEEDED,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.CANCELED,
}


@transaction.atomic
def record_refund(*, state: RefundState, provider_type: str, at: datetime, actor: Actor) -> Refund | None:
    """
    Settle a refund as the provider has it, and return it; telling the same again, or late, changes nothing.

    One that was made at the provider by hand becomes a refund of ours, and finance is told of the credit note it
    lacks. None for a refund of a payment that we do not know, which is told, too.
    """
    found = _find(state, provider_type)
    if found is None:
        intent = PaymentIntent.objects.filter(provider_type=provider_type, provider_ref=state.payment_ref).first()
        if intent is None or not state.payment_ref:
            _tell_unknown(state, provider_type, at=at, actor=actor)
            return None
        lock_account(intent.account_id)
        found = _find(state, provider_type) or _adopt(state, intent, at=at, actor=actor)
        if found is None:
            return None
    lock_account(found.account_id)
    refund = _lock(found.pk)
    if (state.amount.amount, state.amount.currency) != (refund.amount, refund.currency):
        _contradict(refund, f"the provider says {say_money(state.amount.amount, state.amount.currency)}", at, actor)
        return refund
    return _settle(refund, state, at=at, actor=actor)


@transaction.atomic
def record_refusal(*, refund_id: uuid.UUID, reason: str, at: datetime, actor: Actor) -> Refund:
    """Settle a refund that the provider surely did not make, and return it."""
    lock_account(Refund.objects.values_list("account_id", flat=True).get(pk=refund_id))
    refund = _lock(refund_id)
    if refund.status == RefundStatus.PENDING:
        _fail(refund, RefundStatus.FAILED, reason, at=at, actor=actor)
    return refund


def _find(state: RefundState, provider_type: str) -> Refund | None:
    rows = Refund.objects.filter(provider_type=provider_type)
    found = rows.filter(provider_ref=state.ref).first() if state.ref else None
    key = Refund.parse_id(state.reference) if state.reference else None
    return found or (rows.filter(pk=key, provider_ref__in=["", state.ref]).first() if key else None)


def _lock(refund_id: uuid.UUID) -> Refund:
    rows = Refund.objects.select_for_update(of=("self",), no_key=True)
    found = rows.select_related("account__test_clock", "invoice__seller", "credit_note__seller", "payment_intent")
    refund = found.filter(pk=refund_id).first()
    if refund is None:
        raise NotFound("refund")
    return refund


def _settle(refund: Refund, state: RefundState, *, at: datetime, actor: Actor) -> Refund:
    status = _STATUSES.get(state.status, RefundStatus.PENDING)
    refund.provider_ref = refund.provider_ref or state.ref
    refund.receipt_number = state.receipt_number[:100] or refund.receipt_number
    if status in (refund.status, RefundStatus.PENDING):
        refund.save(update_fields=["provider_ref", "receipt_number", "updated_at"])
    elif not refund.can_become(status):
        if status == RefundStatus.SUCCEEDED:
            _contradict(refund, "the provider says that it paid after all", at, actor)
    elif status == RefundStatus.SUCCEEDED:
        end_refund(refund, status, at=at, actor=actor)
        queue_refund_mail(refund)
        if refund.is_uncovered or refund.source == RefundSource.OUTSIDE:
            _tell_uncovered(refund, at=at, actor=actor)
    else:
        _fail(refund, status, state.failure_reason, at=at, actor=actor)
    return refund


def _fail(refund: Refund, status: str, reason: str, *, at: datetime, actor: Actor) -> None:
    was_done = refund.status == RefundStatus.SUCCEEDED
    refund.failure_reason = (reason or "unknown")[:255]
    end_refund(refund, status, at=at, actor=actor, reason=reason)
    if refund.source == RefundSource.OUTSIDE:
        return
    amount = say_money(refund.amount, refund.currency)
    where = "prepaid money again" if refund.source == RefundSource.PREPAID and not was_done else "invoice credit now"
    open_work_item(
        kind=FAILED_ITEM,
        subject=refund,
        title=f"A refund of {amount} to {refund.account} failed",
        detail=f"The provider says: {refund.failure_reason}. The money is {where}. Try again, or leave it there.",
        at=at,
        actor=actor,
        data={"refund": refund.public_id, "amount": refund.amount, "currency": refund.currency},
        account_id=refund.account_id,
    )


# ---- refunds that the provider made by itself -----------------------------------------------------------------------
def _adopt(state: RefundState, intent: PaymentIntent, *, at: datetime, actor: Actor) -> Refund | None:
    """Write a refund that was made at the provider; None for one that came to nothing before we heard of it."""
    if _STATUSES.get(state.status) in (RefundStatus.FAILED, RefundStatus.CANCELED):
        return None
    amount = state.amount.amount
    paid = [each for each in list_allocations(intent) if (each.applied or 0) >= amount]
    (row,) = write_refunds(
        [RefundPart(amount, intent)],
        Batch(new_uuid()),
        account_id=intent.account_id,
        currency=state.amount.currency,
        livemode=intent.livemode,
        source=RefundSource.OUTSIDE,
        actor=actor,
        at=at,
        invoice=paid[0].invoice if paid else None,
    )
    row.released_at, row.provider_ref = at, state.ref
    row.save(update_fields=["released_at", "provider_ref", "updated_at"])
    return row


def _tell_uncovered(refund: Refund, *, at: datetime, actor: Actor) -> None:
    amount = say_money(refund.amount, refund.currency)
    if refund.is_uncovered:
        detail = f"It paid {refund.invoice}, which has no credit note for it: write one."
    else:
        detail = "It was taken from the invoice credit of the account, below zero where that was not enough."
    open_work_item(
        kind=UNCOVERED_ITEM,
        subject=refund,
        title=f"{amount} of {refund.account} were refunded at the provider, not here",
        detail=detail,
        at=at,
        actor=actor,
        data={"refund": refund.public_id, "amount": refund.amount, "currency": refund.currency},
        account_id=refund.account_id,
    )


def _tell_unknown(state: RefundState, provider_type: str, *, at: datetime, actor: Actor) -> None:
    open_work_item(
        kind=UNKNOWN_ITEM,
        subject=Subject("provider_refund", f"{provider_type}:{state.ref}"[:100]),
        title=f"A refund at the provider of a payment that is not known here: {state.ref}",
        detail=f"{say_money(state.amount.amount, state.amount.currency)} of payment {state.payment_ref or 'unknown'}.",
        at=at,
        actor=actor,
        data={"provider_type": provider_type, "ref": state.ref, "payment_ref": state.payment_ref},
    )


def _contradict(refund: Refund, what: str, at: datetime, actor: Actor) -> None:
    open_work_item(
        kind=CONTRADICTION_ITEM,
        subject=refund,
        title=f"A refund of {say_money(refund.amount, refund.currency)} is {refund.status} here, but {what}",
        at=at,
        actor=actor,
        data={"refund": refund.public_id},
        account_id=refund.account_id,
        severity=WorkItemSeverity.CRITICAL,
    )


# ---- what an operator does about it ---------------------------------------------------------------------------------
@transaction.atomic
def retry_refund(*, refund_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Refund:
    """
    Try a failed refund again with the money that came back of it, and return the new one; nobody is asked twice.

    :raises NotFound: if there is none. :raises InvalidState: unless it failed and was not tried again.
    :raises InsufficientBalance: when that money was spent since.
    """
    found = Refund.objects.filter(pk=refund_id).values_list("account_id", flat=True).first()
    if found is None:
        raise NotFound("refund")
    lock_account(found)
    first = _lock(refund_id)
    if first.status != RefundStatus.FAILED or first.source == RefundSource.OUTSIDE or hasattr(first, "retry"):
        raise InvalidState("Only a refund that failed is tried again, once.", current_status=first.status)
    if first.source != RefundSource.PREPAID:
        _require_credit(first)
    again = Refund(
        account_id=first.account_id,
        payment_intent=first.payment_intent,
        invoice_id=first.invoice_id,
        credit_note=first.credit_note,
        approval_id=first.approval_id,
        retry_of=first,
        batch=first.batch,
        amount=first.amount,
        currency=first.currency,
        reason=first.reason,
        destination=RefundDestination.PROVIDER,
        source=first.source,
        provider_type=first.provider_type,
        requested_by=str(actor),
        metadata=first.metadata,
        livemode=first.livemode,
    )
    again.save(force_insert=True)
    tell("created", again, at=at, actor=actor, reason=reason)
    hold_money(again, at=at, actor=actor)
    release_refund(again, at=at, actor=actor)
    return again


def _require_credit(refund: Refund) -> None:
    pots = LedgerAccount.objects.select_for_update(no_key=True).filter(kind=LedgerKind.INVOICE_CREDIT)
    pot = pots.filter(account=refund.account_id, currency=refund.currency).first()
    available = max(0, -pot.balance) if pot is not None else 0
    if available < refund.amount:
        raise InsufficientBalance(
            "What came back of the refund was spent since.", available=available, required=refund.amount
        )


@transaction.atomic
def write_missing_note(*, refund_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> CreditNote:
    """
    Write the credit note of a refund that was made at the provider, and return it. The money has gone already.

    :raises NotFound: if there is none. :raises InvalidState: when it does not lack one.
    :raises AmountExceedsCreditable: when less than its amount is left of the invoice.
    """
    found = Refund.objects.filter(pk=refund_id).first()
    if found is None:
        raise NotFound("refund")
    if found.invoice_id is None or not found.is_uncovered:
        raise InvalidState("This refund does not lack a credit note.", current_status=found.status)
    lock_parties(found.invoice_id)
    invoice = lock_invoice(found.invoice_id)
    request = CreditRequest(
        wish=Wish((), found.amount),
        disposition=Disposition.REFUND,
        refund=RefundWish(covers=found.public_id),
    )
    foreseen = foresee_note(invoice, request)
    return write_credit_note(invoice, foreseen, request, at=at, actor=actor, reason=reason)
