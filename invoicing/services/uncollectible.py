"""
Giving up an invoice: what is still owed becomes bad debt; money that comes after all takes it back.

Source: contract chapters Invoices and Dunning; ADR 0039.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import transaction

from accounts.models import LedgerKind
from accounts.services import ledger
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState
from billing_site.platform.services import events
from invoicing.models import Invoice, InvoiceStatus
from invoicing.services.invoices import lock_invoice, lock_parties
from invoicing.services.issuing import snapshot_invoice


@transaction.atomic
def mark_uncollectible(*, invoice_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Invoice:
    """
    Give up an open invoice and return it: what remains of it moves from the receivable to bad debt.

    It can still be paid; each payment takes its part of the bad debt back.
    :raises NotFound: if there is no such invoice. :raises InvalidState: if it is not open.
    """
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
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
    return invoice
