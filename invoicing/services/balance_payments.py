"""
Paying issued invoices from stored money: invoice credit, then credit grants, then prepaid money, as at issue.

Source: policies, rules 22 to 24 and the order of discount, tax and credit; contract chapter Collection; ADR 0029.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import Max

from accounts.models import LedgerEntry, LedgerKind
from accounts.services import ledger
from accounts.services.prepaid import InsufficientBalance
from accounts.services.stored_money import StoredMoney, lock_stored_money, read_stored_money
from accounts.terms.settling import Settlement
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState
from billing_site.platform.services import events
from invoicing.models import CreditSource, Invoice, InvoiceCredit, InvoiceStatus
from invoicing.services.activation import activate_paid
from invoicing.services.crediting import list_open_charges, prepare_payment, store_credits, sum_later_credits
from invoicing.services.dunning import record_paid
from invoicing.services.invoice_mails import queue_payment_mail
from invoicing.services.invoices import lock_invoice, lock_parties
from invoicing.services.issuing import snapshot_invoice

PAYABLE_STATUSES: Final = (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)


@transaction.atomic
def pay_from_balance(*, invoice_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Invoice:
    """
    Pay an invoice from what its account has stored, as far as that goes, and return it.

    What stays open waits for the next payment; when nothing does, the invoice is paid and a subscription that waited
    for it is active. Also for a closed account, and when the money comes after all to one given up as uncollectible.
    :raises NotFound: if there is no such invoice. :raises InvalidState: if it is neither open nor uncollectible.
    :raises InsufficientBalance: when the account has nothing that may pay it.
    """
    invoice, money = _lock_payable(invoice_id, at=at, actor=actor)
    if not take_stored_money(invoice, money=money, at=at, actor=actor, reason=reason):
        raise InsufficientBalance(
            "The account has no credit or money that may pay this invoice.",
            available=0,
            required=invoice.amount_remaining,
        )
    return invoice


def _lock_payable(invoice_id: uuid.UUID, *, at: datetime, actor: Actor) -> tuple[Invoice, StoredMoney]:
    lock_parties(invoice_id)
    owners = Invoice.objects.filter(pk=invoice_id).values("account_id")
    money = lock_stored_money(account_ids=owners, at=at, actor=actor)
    invoice = lock_invoice(invoice_id)
    if invoice.status not in PAYABLE_STATUSES:
        raise InvalidState("Only what is open or uncollectible can be paid.", current_status=invoice.status)
    return invoice, money


def preview_balance_payment(invoice: Invoice, *, at: datetime) -> Settlement | None:
    """Return what `pay_from_balance` would take at `at`, by source; None for nothing. Writes and locks nothing."""
    if invoice.status not in PAYABLE_STATUSES:
        return None
    money = read_stored_money(accounts=[invoice.account], at=at)
    payment = money.pay(account=invoice.account, charges=list_open_charges(invoice), currency=invoice.currency)
    return None if payment is None else payment.settlement


def take_stored_money(invoice: Invoice, *, money: StoredMoney, at: datetime, actor: Actor, reason: str = "") -> int:
    """
    Let locked stored money pay what remains of a locked invoice that can be paid, and return how much it paid.

    The first steps of a collection, before any means of payment. Runs in the caller's transaction, which has locked
    account, subscription, money and invoice.
    """
    taken = pay_from_stored(invoice, money=money, at=at, actor=actor, reason=reason)
    return 0 if taken is None else taken.applied


def pay_from_stored(
    invoice: Invoice, *, money: StoredMoney, at: datetime, actor: Actor, reason: str = ""
) -> Settlement | None:
    """Let locked stored money pay a locked invoice, and return what each source paid; None for nothing."""
    charges = list_open_charges(invoice)
    payment = money.pay(account=invoice.account, charges=charges, currency=invoice.currency)
    if payment is None:
        return None
    last = InvoiceCredit.objects.filter(invoice=invoice).aggregate(position=Max("position"), payment=Max("payment"))
    number = (last["payment"] or 0) + 1
    prepared = prepare_payment(invoice, payment, charges=charges, at=at, number=number)
    parts = money.write_payments([prepared], along=(), actor=actor)
    store_credits([invoice], parts, at=at, number=number, first_position=(last["position"] or 0) + 1)
    applied = payment.settlement.applied
    add_payment(invoice, amount=applied, at=at, actor=actor, method=_choose_method(invoice, applied), reason=reason)
    return payment.settlement


def add_payment(invoice: Invoice, *, amount: int, at: datetime, actor: Actor, method: str, reason: str = "") -> None:
    """
    Count `amount` minor units as paid on a locked invoice; at zero remaining it is paid, by `method`.

    The money is booked by the caller. Whatever way it came, a subscription that waited for it is active then; of what
    was given up as uncollectible, so much is no bad debt any more.
    """
    if invoice.status == InvoiceStatus.UNCOLLECTIBLE:
        _recover(invoice, amount, at)
    before = {"status": invoice.status, "amount_paid": invoice.amount_paid}
    invoice.amount_paid += amount
    is_paid = invoice.amount_remaining == 0
    if is_paid:
        invoice.status, invoice.paid_at, invoice.payment_method = InvoiceStatus.PAID, at, method
        invoice.next_attempt_at = None
    invoice.save(update_fields=["amount_paid", "status", "paid_at", "payment_method", "next_attempt_at", "updated_at"])
    events.emit(
        "invoice.paid" if is_paid else "invoice.partially_paid",
        subject=invoice,
        account_id=invoice.account_id,
        at=at,
        actor=actor,
        data=snapshot_invoice(invoice)
        | {"amount_paid": invoice.amount_paid, "amount_remaining": invoice.amount_remaining, "amount": amount},
        previous=before if is_paid else {"amount_paid": before["amount_paid"]},
        reason=reason,
    )
    if is_paid:
        record_paid([invoice], at=at, actor=actor)
    activate_paid([invoice], at=at, actor=actor)
    if is_paid and method != "credit_note":  # what a note settles, the mail of the note tells
        queue_payment_mail(invoice)


def _recover(invoice: Invoice, amount: int, at: datetime) -> None:
    """Take back `amount` of the write-off of an invoice, where it was written off."""
    written_off = LedgerEntry.objects.filter(key=f"uncollectible:{invoice.public_id}").exists()
    if not written_off:
        return
    # Numbered, not named by what is paid then: a payment that was taken back can be made again.
    begins = f"recovered:{invoice.public_id}:"
    before = LedgerEntry.objects.filter(key__startswith=begins).count()
    ledger.post_entry(
        key=f"{begins}n{before + 1}",
        type="invoice_recovery",
        account_id=invoice.account_id,
        postings=[
            ledger.PostingSpec(LedgerKind.RECEIVABLE, invoice.account_id, invoice.currency, amount),
            ledger.PostingSpec(LedgerKind.BAD_DEBT, None, invoice.currency, -amount),
        ],
        at=at,
        livemode=invoice.livemode,
        description="Paid after it was given up",
        metadata={"invoice_id": invoice.public_id},
    )


def _choose_method(invoice: Invoice, applied: int) -> str:
    """Return `credit` when only grants paid of the invoice, `balance` when a balance did, else how the rest came."""
    by_stored_money = sum_later_credits(invoice)
    if invoice.amount_paid + applied > by_stored_money and invoice.payment_method:
        return invoice.payment_method
    sources = set(InvoiceCredit.objects.filter(invoice=invoice).values_list("source", flat=True))
    return "credit" if sources == {CreditSource.GRANT.value} else "balance"
