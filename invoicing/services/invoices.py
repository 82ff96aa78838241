"""Use cases on one invoice: finalize and void. Source: contract chapter Invoices."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import transaction

from accounts.models import LedgerEntry
from accounts.services import ledger
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.platform.services import events
from invoicing.models import Invoice, InvoiceLine, InvoiceStatus
from invoicing.services.issuing import issue_invoices, snapshot_invoice


def lock_invoice(invoice_id: uuid.UUID) -> Invoice:
    """
    Return the invoice locked for the transaction, with account and seller loaded.

    :raises NotFound: if there is none.
    """
    found = (
        Invoice.objects.select_for_update(of=("self",))
        .select_related("account__test_clock", "seller")
        .filter(id=invoice_id)
        .first()
    )
    if found is None:
        raise NotFound("invoice")
    return found


@transaction.atomic
def finalize_invoice(
    *, invoice_id: uuid.UUID, at: datetime, actor: Actor, due_days: int | None = None, reason: str = ""
) -> Invoice:
    """
    Number a draft, fix its amounts, post it and make it payable; due 0 is paid at once.

    :raises InvalidState: if it is not a draft.
    """
    invoice = lock_invoice(invoice_id)
    if invoice.status != InvoiceStatus.DRAFT:
        raise InvalidState("Only a draft can be finalized.", current_status=invoice.status)
    return issue_invoices([invoice], at=at, actor=actor, due_days=due_days, reason=reason)[0]


@transaction.atomic
def void_invoice(*, invoice_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Invoice:
    """
    Cancel a draft or open invoice: its ledger entry is reversed, its periods are free again, its number stays used.

    :raises InvalidState: if it is neither draft nor open, or something was paid on it.
    """
    invoice = lock_invoice(invoice_id)
    before = {"status": invoice.status}
    if not invoice.can_become(InvoiceStatus.VOID) or invoice.amount_paid:
        raise InvalidState("Only an unpaid draft or open invoice can be voided.", current_status=invoice.status)
    invoice.status, invoice.voided_at, invoice.void_reason = InvoiceStatus.VOID, at, reason
    invoice.save(update_fields=["status", "voided_at", "void_reason", "updated_at"])
    # Reversed lines give up their claim, so the period and its usage can be billed again.
    InvoiceLine.objects.filter(invoice=invoice).update(is_reversed=True)
    entry = LedgerEntry.objects.filter(key=f"invoice:{invoice.public_id}").first()
    if entry is not None:
        ledger.reverse_entry(entry=entry, at=at, key=f"void:{invoice.public_id}", description="Invoice voided")
    events.emit(
        "invoice.voided",
        subject=invoice,
        account_id=invoice.account_id,
        at=at,
        actor=actor,
        data=snapshot_invoice(invoice),
        previous=before,
        reason=reason,
    )
    return invoice
