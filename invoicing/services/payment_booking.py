"""
What a payment that came does to the books: invoices are paid, top-ups deposited, the rest is invoice credit.

Source: contract chapters Ledger, Collection and Payments; ADR 0057.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from accounts.models import AccountStatus, LedgerEntry, LedgerKind
from accounts.services import ledger
from accounts.services.deposits import deposit
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.platform.services import events
from invoicing.gateways.orders import PaymentState
from invoicing.models import IntentPurpose, Invoice, InvoiceStatus, PaymentAllocation, PaymentIntent
from invoicing.services.balance_payments import PAYABLE_STATUSES, add_payment
from invoicing.services.dunning import record_failed_attempt
from invoicing.services.invoices import lock_invoice
from invoicing.services.issuing import snapshot_invoice

_LISTED: Final = "_listed_allocations"


def snapshot_intent(intent: PaymentIntent) -> dict[str, Any]:
    """Return what an event says of a payment."""
    return {
        "id": intent.public_id,
        "purpose": intent.purpose,
        "status": intent.status,
        "amount": intent.amount,
        "currency": intent.currency,
        "amount_received": intent.amount_received,
        "amount_capturable": intent.amount_capturable,
        "payment_method_id": None if intent.payment_method is None else intent.payment_method.public_id,
        "last_error": intent.last_error or None,
        "invoice_ids": [each.invoice.public_id for each in list_allocations(intent)],
    }


def list_allocations(intent: PaymentIntent) -> list[PaymentAllocation]:
    """Return what a payment is for, oldest invoice first; read once for each object of a payment."""
    known: list[PaymentAllocation] | None = intent.__dict__.get(_LISTED)
    if known is None:
        rows = PaymentAllocation.objects.filter(intent=intent).select_related("invoice").order_by("invoice_id")
        known = intent.__dict__[_LISTED] = list(rows)
    return known


def book_payment(intent: PaymentIntent, *, at: datetime, actor: Actor) -> None:
    """
    Book what a locked payment received, once. Runs in the transaction that makes it succeeded.

    Invoices get what they still need, at most what was meant for them; a top-up of an open account goes to its prepaid
    balance; whatever is left is invoice credit, whose next invoice it pays.
    """
    if intent.purpose == IntentPurpose.TOPUP and intent.account.status == AccountStatus.ACTIVE:
        _deposit(intent, at=at)
        return
    shares = _share_out(intent)
    left = intent.amount_received - sum(amount for _, _, amount in shares)
    entry = _post(intent, paid=intent.amount_received - left, credited=left, at=at)
    for allocation, _, amount in shares:
        allocation.applied, allocation.is_open, allocation.entry = amount, False, entry
        allocation.save(update_fields=["applied", "is_open", "entry"])
    for _, invoice, amount in shares:
        if amount:
            add_payment(invoice, amount=amount, at=at, actor=actor, method=intent.provider_type)
    if left:
        _tell_credit(intent, entry, left, at=at, actor=actor)


def _share_out(intent: PaymentIntent) -> list[tuple[PaymentAllocation, Invoice, int]]:
    left, shares = intent.amount_received, []
    for allocation in list_allocations(intent):
        invoice = lock_invoice(allocation.invoice_id)
        wanted = invoice.amount_remaining if invoice.status in PAYABLE_STATUSES else 0
        amount = min(left, wanted, allocation.amount)
        left -= amount
        shares.append((allocation, invoice, amount))
    return shares


def _post(intent: PaymentIntent, *, paid: int, credited: int, at: datetime) -> LedgerEntry:
    legs = [
        (LedgerKind.CASH, None, intent.amount_received),
        (LedgerKind.RECEIVABLE, intent.account_id, -paid),
        (LedgerKind.INVOICE_CREDIT, intent.account_id, -credited),
    ]
    invoices = [each.invoice.public_id for each in list_allocations(intent)]
    entry = ledger.NewEntry(
        key=f"payment:{intent.public_id}",
        type="payment",
        account_id=intent.account_id,
        postings=[ledger.PostingSpec(kind, owner, intent.currency, amount) for kind, owner, amount in legs if amount],
        at=at,
        livemode=intent.livemode,
        description="Payment received",
        metadata={"payment_intent_id": intent.public_id}
        | ({"invoice_id": invoices[0]} if len(invoices) == 1 else {"invoice_ids": invoices} if invoices else {}),
    )
    return ledger.post_entries([entry, *_list_fees(intent, at=at)])[0]


def _deposit(intent: PaymentIntent, *, at: datetime) -> None:
    """Put a top-up on the prepaid balance. Nobody gives money here, so nobody else has to approve it."""
    entry = deposit(
        account=intent.account,
        amount=intent.amount_received,
        currency=intent.currency,
        at=at,
        actor=SYSTEM,
        notes="Top-up",
        tags="topup",
        metadata={"payment_intent_id": intent.public_id},
        key=f"topup:{intent.public_id}",
    )
    ledger.post_entries(_list_fees(intent, at=at))
    events.emit(
        "topup.succeeded",
        subject=intent,
        account_id=intent.account_id,
        at=at,
        actor=SYSTEM,
        data=snapshot_intent(intent) | {"transaction_id": entry.public_id},
    )


def _tell_credit(intent: PaymentIntent, entry: LedgerEntry, amount: int, *, at: datetime, actor: Actor) -> None:
    events.emit(
        "customer_balance.adjusted",
        subject=entry,
        account_id=intent.account_id,
        at=at,
        actor=actor,
        data={
            "transaction_id": entry.public_id,
            "amount": amount,
            "currency": intent.currency,
            "description": entry.description,
            "payment_intent_id": intent.public_id,
        },
    )


def book_fee(intent: PaymentIntent, state: PaymentState, *, at: datetime) -> None:
    """Book what the provider kept of a payment, once it tells: out of cash, a cost of ours."""
    fee = read_fee(intent, state)
    if state.status != "succeeded" or not fee or intent.fee:
        return
    intent.fee = fee
    intent.save(update_fields=["fee", "updated_at"])
    ledger.post_entries(_list_fees(intent, at=at))


def read_fee(intent: PaymentIntent, state: PaymentState) -> int:
    """Return what the provider says it kept, minor units of the payment's currency; 0 in another one."""
    return state.fee if state.fee_currency == intent.currency else 0


def _list_fees(intent: PaymentIntent, *, at: datetime) -> list[ledger.NewEntry]:
    if not intent.fee:
        return []
    postings = [
        ledger.PostingSpec(LedgerKind.FEES, None, intent.currency, intent.fee),
        ledger.PostingSpec(LedgerKind.CASH, None, intent.currency, -intent.fee),
    ]
    return [
        ledger.NewEntry(
            key=f"payment_fee:{intent.public_id}",
            type="payment_fee",
            account_id=intent.account_id,
            postings=postings,
            at=at,
            livemode=intent.livemode,
            description="Fee of the payment provider",
            metadata={"payment_intent_id": intent.public_id},
        )
    ]


def tell_failed_attempts(intent: PaymentIntent, *, at: datetime, actor: Actor) -> None:
    """Tell what a payment that came to nothing means for its invoices: the attempt failed."""
    if intent.purpose == IntentPurpose.TOPUP:
        events.emit(
            "topup.failed",
            subject=intent,
            account_id=intent.account_id,
            at=at,
            actor=actor,
            data=snapshot_intent(intent),
        )
        return
    if intent.purpose != IntentPurpose.INVOICE:
        return
    for allocation in list_allocations(intent):
        invoice = lock_invoice(allocation.invoice_id)
        if invoice.status in PAYABLE_STATUSES and invoice.amount_remaining:
            fail_attempt(invoice, error=intent.last_error, decline_reason=intent.decline_reason, at=at, actor=actor)


def fail_attempt(
    invoice: Invoice, *, error: str, decline_reason: str, at: datetime, actor: Actor, reason: str = ""
) -> None:
    """Tell that an attempt to collect a locked invoice failed, and let dunning decide what comes next."""
    events.emit(
        "invoice.payment_failed",
        subject=invoice,
        account_id=invoice.account_id,
        at=at,
        actor=actor,
        data=snapshot_invoice(invoice)
        | {
            "amount_paid": invoice.amount_paid,
            "amount_remaining": invoice.amount_remaining,
            "attempt_count": invoice.attempt_count,
            "error": error,
        },
        reason=reason,
    )
    if invoice.status == InvoiceStatus.OPEN:
        record_failed_attempt(invoice, decline_reason=decline_reason, at=at, actor=actor)
