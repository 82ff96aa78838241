"""
Rows of refunds and what they do in the ledger: held, sent, settled, returned.

Money that is to go back stands in the pot `refunds_pending` of its account from the moment its refund is decided until
the provider says what became of it. All functions run in the caller's transaction, which holds the account's lock.
Source: contract chapters Ledger and Refunds and credit notes; ADR 0055.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from accounts.models import LedgerEntry, LedgerKind
from accounts.services import ledger
from accounts.services.corrections import give_back_prepaid
from accounts.services.ledger import PostingSpec
from accounts.services.withdrawals import set_aside_prepaid
from billing_site.kernel import jobs
from billing_site.kernel.actors import Actor
from billing_site.kernel.ids import encode_id
from billing_site.platform.models import Approval
from billing_site.platform.services import events
from invoicing.models import (
    CreditNote,
    CreditReason,
    Invoice,
    PaymentIntent,
    Refund,
    RefundDestination,
    RefundReason,
    RefundSource,
    RefundStatus,
)

SEND_JOB: Final = "invoicing.send_refund"


@dataclass(frozen=True, slots=True)
class RefundPart:
    """One refund to make: of a payment through its provider, or with no payment into invoice credit; minor units."""

    amount: int
    intent: PaymentIntent | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What refunds of one request have in common. `key` is their batch."""

    key: uuid.UUID
    reason: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def choose_reason(cause: str) -> str:
    """Return the reason of a refund that goes with the reason of a credit note."""
    match cause:
        case CreditReason.DUPLICATE:
            return RefundReason.DUPLICATE
        case CreditReason.FRAUDULENT:
            return RefundReason.FRAUDULENT
        case "":
            return ""
    return RefundReason.REQUESTED_BY_CUSTOMER


def write_refunds(
    parts: Sequence[RefundPart],
    batch: Batch,
    *,
    account_id: uuid.UUID,
    currency: str,
    livemode: bool,
    source: str,
    actor: Actor,
    at: datetime,
    invoice: Invoice | None = None,
    note: CreditNote | None = None,
) -> list[Refund]:
    """Write pending refunds that wait to be released, tell of them and return them. Nothing is booked yet."""
    rows = []
    for number, part in enumerate(parts):
        row = Refund(
            account_id=account_id,
            payment_intent=part.intent,
            invoice=invoice,
            credit_note=note,
            batch=batch.key,
            amount=part.amount,
            currency=currency,
            reason=batch.reason,
            destination=RefundDestination.PROVIDER if part.intent else RefundDestination.CUSTOMER_BALANCE,
            source=source,
            provider_type=part.intent.provider_type if part.intent else "",
            requested_by=str(actor),
            metadata=dict(batch.metadata),
            livemode=livemode,
        )
        if number == 0 and not Refund.objects.filter(batch=batch.key).exists():
            row.pk = batch.key
        row.save(force_insert=True)
        tell("created", row, at=at, actor=actor)
        rows.append(row)
    return rows


def hold_money(refund: Refund, *, at: datetime, actor: Actor) -> None:
    """
    Take the money of a refund that no credit note gives out of stored money, into `refunds_pending`.

    :raises InsufficientBalance: when prepaid money is not there any more. Whether invoice credit is there is for the
        caller to see.
    """
    if refund.source == RefundSource.PREPAID:
        refund.held_entry = set_aside_prepaid(
            account_id=refund.account_id,
            amount=refund.amount,
            currency=refund.currency,
            key=f"refund_held:{refund.public_id}",
            at=at,
            actor=actor,
            metadata={"refund_id": refund.public_id},
        )
    else:
        legs = [(LedgerKind.INVOICE_CREDIT, refund.amount), (LedgerKind.REFUNDS_PENDING, -refund.amount)]
        refund.held_entry = _post(refund, "refund_held", legs, at=at, description="Set aside for a refund")
    refund.save(update_fields=["held_entry", "updated_at"])


def release_refund(
    refund: Refund, *, at: datetime, actor: Actor, note: CreditNote | None = None, approval: Approval | None = None
) -> None:
    """
    Let a refund go: what goes into invoice credit is there with its credit note, the provider is asked after commit.
    """
    refund.released_at = at
    refund.credit_note = note or refund.credit_note
    refund.approval = approval or refund.approval
    refund.save(update_fields=["released_at", "credit_note", "approval", "updated_at"])
    if refund.destination == RefundDestination.CUSTOMER_BALANCE:
        end_refund(refund, RefundStatus.SUCCEEDED, at=at, actor=actor)
    else:
        jobs.enqueue(SEND_JOB, refund_id=str(refund.pk))


def end_refund(refund: Refund, status: str, *, at: datetime, actor: Actor, reason: str = "") -> None:
    """Move a refund to where it ends, book what that means and tell of it."""
    before = refund.status
    refund.entry = _book_end(refund, status, at=at, actor=actor) or refund.entry
    refund.status, refund.ended_at = status, at
    refund.save(
        update_fields=[
            *("status", "ended_at", "entry", "provider_ref", "receipt_number", "failure_reason"),
            *("is_uncovered", "updated_at"),
        ]
    )
    tell(str(status), refund, at=at, actor=actor, previous={"status": before}, reason=reason)


def _book_end(refund: Refund, status: str, *, at: datetime, actor: Actor) -> LedgerEntry | None:
    if refund.destination == RefundDestination.CUSTOMER_BALANCE:
        return None  # the credit note gave it
    pot = _choose_pot(refund)
    if status == RefundStatus.SUCCEEDED:
        legs = [(pot, refund.amount), (LedgerKind.CASH, -refund.amount)]
        return _post(refund, "refund", legs, at=at, description="Refunded")
    if refund.status == RefundStatus.SUCCEEDED:
        # It was sent back after all: the money is here again, and as before it was given back.
        is_bare = refund.source == RefundSource.OUTSIDE and refund.credit_note is None
        back = pot if is_bare else LedgerKind.INVOICE_CREDIT
        refund.is_uncovered = False
        legs = [(LedgerKind.CASH, refund.amount), (back, -refund.amount)]
        return _post(refund, "refund_returned", legs, at=at, description="A refund came back")
    return _return_held(refund, at=at, actor=actor)


def _return_held(refund: Refund, *, at: datetime, actor: Actor) -> LedgerEntry | None:
    """Give back what stands in `refunds_pending` for a refund that did not happen: to where it came from, or credit."""
    if refund.source == RefundSource.PREPAID and refund.held_entry is not None:
        return give_back_prepaid(entry=refund.held_entry, at=at, actor=actor, reason="Refund not paid out")
    if refund.source == RefundSource.OUTSIDE or (refund.held_entry is None and refund.credit_note is None):
        return None
    legs = [(LedgerKind.REFUNDS_PENDING, refund.amount), (LedgerKind.INVOICE_CREDIT, -refund.amount)]
    return _post(refund, "refund_returned", legs, at=at, description="Refund not paid out")


def _choose_pot(refund: Refund) -> str:
    """
    Return the pot that a refund takes its money from when it has gone out.

    What the provider gave back by itself of a payment that paid no invoice is a debt of the account's invoice credit.
    """
    if refund.source == RefundSource.OUTSIDE and refund.credit_note is None:
        refund.is_uncovered = refund.invoice is not None
        return LedgerKind.REFUNDS_PENDING if refund.is_uncovered else LedgerKind.INVOICE_CREDIT
    return LedgerKind.REFUNDS_PENDING


def _post(refund: Refund, key: str, legs: Sequence[tuple[str, int]], *, at: datetime, description: str) -> LedgerEntry:
    owner = refund.account_id
    return ledger.post_entry(
        key=f"{key}:{refund.public_id}",
        type="refund",
        account_id=owner,
        postings=[
            PostingSpec(kind, None if kind == LedgerKind.CASH else owner, refund.currency, amount)
            for kind, amount in legs
        ],
        at=at,
        livemode=refund.livemode,
        description=description,
        metadata={"refund_id": refund.public_id},
    )


def tell(
    what: str,
    refund: Refund,
    *,
    at: datetime,
    actor: Actor,
    previous: Mapping[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Emit `refund.<what>`."""
    events.emit(
        f"refund.{what}",
        subject=refund,
        account_id=refund.account_id,
        at=at,
        actor=actor,
        data=snapshot_refund(refund),
        previous=previous,
        reason=reason,
    )


def snapshot_refund(refund: Refund) -> dict[str, Any]:
    """Return what an event says of a refund."""

    def encode(model: Any, key: uuid.UUID | None) -> str | None:
        return None if key is None else encode_id(model.id_prefix, key)

    return {
        "id": refund.public_id,
        "payment_intent_id": encode(PaymentIntent, refund.payment_intent_id),
        "invoice_id": encode(Invoice, refund.invoice_id),
        "credit_note_id": encode(CreditNote, refund.credit_note_id),
        "status": refund.status,
        "amount": refund.amount,
        "currency": refund.currency,
        "destination": refund.destination,
        "reason": refund.reason or None,
        "receipt_number": refund.receipt_number or None,
        "failure_reason": refund.failure_reason or None,
    }
