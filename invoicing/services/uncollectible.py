"""
Giving up an invoice: what is still owed becomes bad debt; money that comes after all takes it back.

Source: contract chapters Invoices and Dunning; ADR 0039.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import transaction

from billing_site.kernel.actors import Actor
from invoicing.models import Invoice
from invoicing.services.dunning import record_paid
from invoicing.services.invoices import lock_invoice, lock_parties
from invoicing.services.writing_off import write_off


@transaction.atomic
def mark_uncollectible(*, invoice_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Invoice:
    """
    Give up an open invoice and return it: what remains of it moves from the receivable to bad debt.

    It can still be paid; each payment takes its part of the bad debt back. Its dunning ends.
    :raises NotFound: if there is no such invoice. :raises InvalidState: if it is not open.
    """
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    write_off(invoice, at=at, actor=actor, reason=reason)
    record_paid([invoice], at=at, actor=actor)
    return invoice
