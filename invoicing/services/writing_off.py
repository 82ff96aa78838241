"""
What is owed becomes bad debt: the books and the event of an invoice that is given up.

Source: contract chapters Invoices and Dunning; ADR 0039.
"""

from __future__ import annotations

from datetime import datetime

from accounts.models import LedgerKind
from accounts.services import ledger
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState
from billing_site.platform.services import events
from invoicing.models import Invoice, InvoiceStatus
from invoicing.services.issuing import snapshot_invoice


def write_off(invoice: Invoice, *, at: datetime, actor: Actor, reason: str = "") -> None:
    """
    Give up a locked open invoice: what remains of it moves from the receivable to bad debt. Nobody tries it any more.

    Runs in the caller's transaction, which has locked account, subscriptions and invoice.
    :raises InvalidState: if it is not open.
    """
    if not invoice.can_become(InvoiceStatus.UNCOLLECTIBLE):
        raise InvalidState("Only an open invoice can be given up.", current_status=invoice.status)
    before = {"status": invoice.status}
    invoice.status, invoice.next_attempt_at = InvoiceStatus.UNCOLLECTIBLE, None
    invoice.save(update_fields=["status", "next_attempt_at", "updated_at"])
    ledger.post_entry(
        key=f"uncollectible:{invoice.public_id}",
        type="invoice_write_off",
        account_id=invoice.account_id,
        postings=[
            ledger.PostingSpec(LedgerKind.BAD_DEBT, None, invoice.currency, invoice.amount_remaining),
            ledger.PostingSpec(LedgerKind.RECEIVABLE, invoice.account_id, invoice.currency, -invoice.amount_remaining),
        ],
        at=at,
        livemode=invoice.livemode,
        description="Invoice given up",
        metadata={"invoice_id": invoice.public_id},
    )
    events.emit(
        "invoice.uncollectible",
        subject=invoice,
        account_id=invoice.account_id,
        at=at,
        actor=actor,
        data=snapshot_invoice(invoice)
        | {"amount_paid": invoice.amount_paid, "amount_remaining": invoice.amount_remaining},
        previous=before,
        reason=reason,
    )
