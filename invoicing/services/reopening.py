"""Payments of invoices that are taken back: what was paid is owed again. Source: ADR 0041 and 0053."""

from __future__ import annotations

from datetime import datetime

from accounts.models import LedgerEntry, LedgerKind
from accounts.services import ledger
from billing_site.kernel.actors import Actor
from billing_site.platform.services import events
from invoicing.models import Invoice, InvoiceStatus
from invoicing.services.issuing import snapshot_invoice


def take_payment_back(
    invoice: Invoice, *, amount: int, source: str, at: datetime, actor: Actor, reason: str = ""
) -> None:
    """
    Count `amount` minor units of a locked invoice as not paid; a paid one is open again. The opposite of `add_payment`.

    What the payment did to the receivable is reversed by the caller. On an invoice that is given up it becomes bad debt
    again. `source` names what is taken back, once for an invoice. A subscription keeps its status: what is overdue
    again is collected like everything that is.
    """
    before = {"status": invoice.status, "amount_paid": invoice.amount_paid}
    invoice.amount_paid -= amount
    if invoice.status == InvoiceStatus.PAID:
        invoice.status, invoice.paid_at, invoice.payment_method = InvoiceStatus.OPEN, None, ""
    invoice.save(update_fields=["amount_paid", "status", "paid_at", "payment_method", "updated_at"])
    if invoice.status == InvoiceStatus.UNCOLLECTIBLE:
        _give_up_again(invoice, amount, source, at=at)
    if before["status"] == invoice.status:
        return
    events.emit(
        "invoice.reopened",
        subject=invoice,
        account_id=invoice.account_id,
        at=at,
        actor=actor,
        data=snapshot_invoice(invoice)
        | {"amount_paid": invoice.amount_paid, "amount_remaining": invoice.amount_remaining},
        previous=before,
        reason=reason,
    )


def _give_up_again(invoice: Invoice, amount: int, source: str, *, at: datetime) -> None:
    if not LedgerEntry.objects.filter(key=f"uncollectible:{invoice.public_id}").exists():
        return
    ledger.post_entry(
        key=f"given_up_again:{invoice.public_id}:{source}",
        type="invoice_write_off",
        account_id=invoice.account_id,
        postings=[
            ledger.PostingSpec(LedgerKind.BAD_DEBT, None, invoice.currency, amount),
            ledger.PostingSpec(LedgerKind.RECEIVABLE, invoice.account_id, invoice.currency, -amount),
        ],
        at=at,
        livemode=invoice.livemode,
        description="Given up: a payment was taken back",
        metadata={"invoice_id": invoice.public_id},
    )
