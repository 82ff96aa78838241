"""
Asking for refunds: of an invoice, always with a credit note, or of a payment.

What is asked for is planned under the locks, then done, or above the limit left to a second person: its refunds wait
then and what they will take is taken from what others can ask for. Locks: account, subscription, invoice, payment,
refund. Source: policies, rule 25; contract chapter Refunds and credit notes; ADR 0055.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models import LedgerAccount, LedgerEntry, LedgerKind
from accounts.services.account_locks import lock_account
from accounts.services.corrections import AmountExceedsRefundable
from accounts.services.prepaid import lock_balance
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Approval
from billing_site.platform.services.keyed_requests import RequestMark, find_repeated, remember
from invoicing.calculation.credit_facts import WantedLine, Wish
from invoicing.models import (
    Disposition,
    IntentStatus,
    Invoice,
    InvoiceStatus,
    PaymentIntent,
    Refund,
    RefundReason,
    RefundSource,
)
from invoicing.queries.credit_notes import sum_credited
from invoicing.queries.refundable import compute_unallocated, list_allocations, list_payment_parts, sum_waiting
from invoicing.queries.refunds import list_batch
from invoicing.services.credit_notes import write_credit_note
from invoicing.services.credit_requests import (
    AmountExceedsCreditable,
    CreditRequest,
    ForeseenNote,
    RefundWish,
    foresee_note,
    say_money,
)
from invoicing.services.invoices import lock_invoice, lock_parties
from invoicing.services.refund_limits import refund_needs_approval
from invoicing.services.refund_notes import ask_for_approval
from invoicing.services.refund_rows import Batch, RefundPart, hold_money, release_refund, write_refunds


@dataclass(frozen=True, slots=True)
class AskedRefund:
    """
    What to give back: `amount` minor units with tax, 0 for everything that is left, or `lines` of the invoice.

    `reason` is one of `RefundReason` or empty, `cause` one of `CreditReason` for the credit note, `memo` is printed on
    it.
    """

    amount: int = 0
    lines: tuple[WantedLine, ...] = ()
    reason: str = ""
    cause: str = ""
    memo: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotePlan:
    """A credit note that is to be written for a refund, and what it comes to."""

    invoice: Invoice
    request: CreditRequest
    foreseen: ForeseenNote


@dataclass(frozen=True, slots=True)
class RefundPlan:
    """What a request comes to: credit notes with their refunds, and `bare` of a payment that paid no invoice."""

    batch: uuid.UUID
    currency: str
    livemode: bool
    account_id: uuid.UUID
    notes: tuple[NotePlan, ...] = ()
    bare: RefundPart | None = None
    source: str = RefundSource.INVOICE_CREDIT

    @property
    def total(self) -> int:
        """What goes back altogether, minor units."""
        bare = self.bare.amount if self.bare is not None else 0
        return bare + sum(self.list_amounts())

    def list_amounts(self) -> list[int]:
        """Return what goes back by note."""
        return [note.foreseen.settling.refunded + note.foreseen.settling.credited for note in self.notes]


@dataclass(frozen=True, slots=True)
class RefundOutcome:
    """The refunds of a request in their order, the request to a second person if there is one, and what it came to."""

    refunds: list[Refund]
    approval: Approval | None = None
    plan: RefundPlan | None = None
    is_repeat: bool = False


@transaction.atomic
def create_refund(
    *,
    asked: AskedRefund,
    at: datetime,
    actor: Actor,
    invoice_id: uuid.UUID | None = None,
    intent_id: uuid.UUID | None = None,
    reason: str = "",
    mark: RequestMark | None = None,
) -> RefundOutcome:
    """
    Begin a refund of an invoice or of a payment, or above the limit ask for it; the provider is asked after commit.

    A repeat of a marked request answers the refunds of the first.
    :raises NotFound: if there is none. :raises InvalidState: unless the invoice is paid, or the payment succeeded.
    :raises AmountExceedsRefundable: when all refunds together would pass what was received, or the money of a payment
        was spent here since. :raises ValidationFailed: for what cannot be understood.
    :raises RequestKeyReused: when the key came with another request.
    """
    mark = mark or RequestMark()
    if (first := find_repeated(mark)) is not None:
        return RefundOutcome(list_batch(Refund.objects.get(pk=Refund.parse_id(first) or "").batch), is_repeat=True)
    if asked.reason and asked.reason not in RefundReason.values:
        raise ValidationFailed.of("/reason", "choice_unknown", f"{asked.reason!r:.40} is not known.")
    if invoice_id is not None:
        plan = _plan_invoice(invoice_id, asked)
    elif intent_id is not None:
        plan = _plan_payment(intent_id, asked, at=at)
    else:
        raise NotFound("payment_intent")
    if refund_needs_approval(amount=plan.total, reason=asked.reason, actor=actor):
        outcome = _ask(plan, asked, at=at, actor=actor, reason=reason)
    else:
        outcome = RefundOutcome(carry_out(plan, asked, at=at, actor=actor, reason=reason), plan=plan)
    remember(mark, subject_id=outcome.refunds[0].public_id, at=at)
    return outcome


# ---- planning -------------------------------------------------------------------------------------------------------
def _plan_invoice(invoice_id: uuid.UUID, asked: AskedRefund) -> RefundPlan:
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    batch = new_uuid()
    note = plan_note(invoice, asked, batch=batch)
    return RefundPlan(batch, invoice.currency, invoice.livemode, invoice.account_id, notes=(note,))


def plan_note(
    invoice: Invoice, asked: AskedRefund, *, batch: uuid.UUID, payment: PaymentIntent | None = None
) -> NotePlan:
    """
    Return the credit note that goes with a refund of a locked invoice, through `payment` alone if it is given.

    :raises InvalidState: unless the invoice is paid. :raises AmountExceedsRefundable: for more than is left.
    """
    if invoice.status != InvoiceStatus.PAID:
        raise InvalidState("Only what was paid can be refunded.", current_status=invoice.status)
    amount, waiting = asked.amount, sum_waiting(invoice)
    left = invoice.total - sum_credited(invoice)
    if not asked.lines and not amount:
        amount = left - waiting
        if payment is not None:
            amount = min(amount, sum(part.amount for part in list_payment_parts(invoice, payment=payment.pk)))
        if amount <= 0:
            raise AmountExceedsRefundable("Nothing is left to refund.", refundable=0)
    is_all = not asked.lines and amount == left
    request = CreditRequest(
        wish=Wish(everything=True) if is_all else Wish(asked.lines, 0 if asked.lines else amount),
        disposition=Disposition.REFUND,
        cause=asked.cause or ("" if asked.reason == RefundReason.REQUESTED_BY_CUSTOMER else asked.reason),
        memo=asked.memo,
        expected=asked.amount or None,
        refund=RefundWish(
            batch=str(batch),
            payment="" if payment is None else str(payment.pk),
            reason=asked.reason,
            metadata=dict(asked.metadata),
        ),
    )
    try:
        return NotePlan(invoice, request, foresee_note(invoice, request))
    except AmountExceedsCreditable as error:
        most = max(0, int(error.members.get("creditable", 0)) - (0 if asked.lines else waiting))
        raise AmountExceedsRefundable(error.detail, refundable=most) from error


def _plan_payment(intent_id: uuid.UUID, asked: AskedRefund, *, at: datetime) -> RefundPlan:
    found = PaymentIntent.objects.filter(pk=intent_id).values_list("account_id", flat=True).first()
    if found is None:
        raise NotFound("payment_intent")
    account = lock_account(found)
    paid = list_allocations(PaymentIntent(pk=intent_id))
    for each in sorted(paid, key=lambda allocation: allocation.invoice_id):
        lock_parties(each.invoice_id)
    intent = PaymentIntent.objects.select_for_update(of=("self",), no_key=True).get(pk=intent_id)
    if intent.status != IntentStatus.SUCCEEDED:
        raise InvalidState("Only a payment that succeeded can be refunded.", current_status=intent.status)
    if asked.lines:
        raise ValidationFailed.of("/line_items", "not_applicable", "Lines go with an invoice.")
    batch, rest = new_uuid(), asked.amount or intent.amount_refundable
    bare = min(rest, compute_unallocated(intent, paid))
    # The top-up of a closed account became invoice credit.
    is_topup = LedgerEntry.objects.filter(key=f"topup:{intent.public_id}").exists()
    if bare:
        stored = _read_prepaid(account, intent, at) if is_topup else _read_credit(intent)
        if asked.amount and bare > stored:
            raise AmountExceedsRefundable(
                f"{say_money(stored, intent.currency)} of this payment are left; the rest was spent since.",
                refundable=stored,
            )
        bare = min(bare, stored)
    notes = _plan_notes(intent, asked, rest - bare, batch=batch)
    plan = RefundPlan(
        batch,
        intent.currency,
        intent.livemode,
        intent.account_id,
        notes=notes,
        bare=RefundPart(bare, intent) if bare else None,
        source=RefundSource.PREPAID if is_topup else RefundSource.INVOICE_CREDIT,
    )
    if not plan.total or plan.total < asked.amount:
        detail = f"{say_money(plan.total, intent.currency)} of this payment can be refunded."
        raise AmountExceedsRefundable(detail, refundable=plan.total)
    return plan


def _plan_notes(intent: PaymentIntent, asked: AskedRefund, amount: int, *, batch: uuid.UUID) -> tuple[NotePlan, ...]:
    """Return the notes for what a payment paid of invoices, the newest first, up to `amount`."""
    notes: list[NotePlan] = []
    for allocation in list_allocations(intent):
        invoice = lock_invoice(allocation.invoice_id)
        left = sum(part.amount for part in list_payment_parts(invoice, payment=intent.pk))
        left = min(left, amount, invoice.total - sum_credited(invoice) - sum_waiting(invoice))
        if left > 0 and invoice.status == InvoiceStatus.PAID:
            notes.append(plan_note(invoice, replace(asked, amount=left), batch=batch, payment=intent))
            amount -= left
    return tuple(notes)


def _read_credit(intent: PaymentIntent) -> int:
    pots = LedgerAccount.objects.select_for_update(no_key=True).filter(kind=LedgerKind.INVOICE_CREDIT)
    pot = pots.filter(account=intent.account_id, currency=intent.currency).first()
    return max(0, -pot.balance) if pot is not None else 0


def _read_prepaid(account: Any, intent: PaymentIntent, at: datetime) -> int:
    return lock_balance(account, currency=intent.currency, at=at).withdrawable


# ---- doing ----------------------------------------------------------------------------------------------------------
def carry_out(plan: RefundPlan, asked: AskedRefund, *, at: datetime, actor: Actor, reason: str) -> list[Refund]:
    """Write the notes and refunds of a plan that nobody else has to approve. Runs in the caller's transaction."""
    for note in plan.notes:
        write_credit_note(note.invoice, note.foreseen, note.request, at=at, actor=actor, reason=reason)
    if plan.bare is not None:
        row = _write_bare(plan, asked, at=at, actor=actor)
        release_refund(row, at=at, actor=actor)
    return list_batch(plan.batch)


def _write_bare(plan: RefundPlan, asked: AskedRefund, *, at: datetime, actor: Actor) -> Refund:
    (row,) = write_refunds(
        [part for part in (plan.bare,) if part is not None],
        Batch(plan.batch, asked.reason, asked.metadata),
        account_id=plan.account_id,
        currency=plan.currency,
        livemode=plan.livemode,
        source=plan.source,
        actor=actor,
        at=at,
    )
    hold_money(row, at=at, actor=actor)
    return row


def _ask(plan: RefundPlan, asked: AskedRefund, *, at: datetime, actor: Actor, reason: str) -> RefundOutcome:
    """Write the refunds of a plan so that they wait, and ask a second person to approve them."""
    rows: list[Refund] = []
    for note in plan.notes:
        settling = note.foreseen.settling
        credited = [RefundPart(settling.credited)] if settling.credited else []
        rows += write_refunds(
            [*settling.parts, *credited],
            Batch(plan.batch, asked.reason, asked.metadata),
            account_id=plan.account_id,
            currency=plan.currency,
            livemode=plan.livemode,
            source=RefundSource.CREDIT_NOTE,
            actor=actor,
            at=at,
            invoice=note.invoice,
        )
    if plan.bare is not None:
        rows.append(_write_bare(plan, asked, at=at, actor=actor))
    if not rows:
        raise AmountNotPositive("There is nothing to refund.")
    about = ", ".join(str(note.invoice) for note in plan.notes) or str(plan.bare and plan.bare.intent)
    account = lock_account(plan.account_id)
    approval = ask_for_approval(
        rows,
        title=f"Refund of {say_money(plan.total, plan.currency)} of {about} to {account}",
        payload={
            "batch": str(plan.batch),
            "notes": [
                {
                    "invoice": note.invoice.public_id,
                    "request": note.request.as_dict(),
                    "total": note.foreseen.draft.total,
                }
                for note in plan.notes
            ],
        },
        at=at,
        actor=actor,
        reason=reason or f"Asked for over the API by {actor}",
    )
    return RefundOutcome(rows, approval, plan)
