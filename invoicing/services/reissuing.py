"""
Void and reissue: an issued invoice is wrong, so it is voided and a draft of the same takes its place, to be corrected.

Source: policies, rule 26; ADR 0039.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts.models import SubscriptionDiscount
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState
from billing_site.platform.services import events
from invoicing.calculation.draft import draft_invoice
from invoicing.models import Invoice, InvoiceLine, InvoiceMember, InvoiceStatus, PendingCharge
from invoicing.models.invoice import CLAIMING_TYPES
from invoicing.queries.members import find_boundary_invoices
from invoicing.queries.taxes import with_tax
from invoicing.services.draft_editing import read_facts
from invoicing.services.drafting import DraftMember, DraftToWrite, PeriodAlreadyInvoiced, write_drafts
from invoicing.services.invoices import lock_invoice, lock_parties, void_invoice
from invoicing.services.issuing import snapshot_invoice


@transaction.atomic
def reissue_invoice(*, invoice_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Invoice:
    """
    Void an issued invoice, unless it is void already, and return a draft with the same charges that names it.

    The draft has today's address of account and seller with their tax, the same periods and the same discount; charges
    that waited for the voided one are on it again. It is edited and finalized like any draft, and gets its own number.
    :raises NotFound: if there is no such invoice. :raises InvalidState: for a draft, for what is paid or cannot be
        voided, and for what was reissued before. :raises PeriodAlreadyInvoiced: when its periods are billed again.
    """
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    if invoice.number is None:
        raise InvalidState("A draft is edited, not reissued.", current_status=invoice.status)
    if invoice.status != InvoiceStatus.VOID:
        void_invoice(invoice_id=invoice_id, at=at, actor=actor, reason=reason)
        invoice = lock_invoice(invoice_id)
    other = Invoice.objects.filter(reissues=invoice).exclude(status=InvoiceStatus.VOID).first()
    if other is not None:
        raise InvalidState(f"It was reissued as {other}.", current_status=invoice.status)
    _require_free(invoice)
    draft = _write_copy(invoice, at=at)
    events.emit(
        "invoice.created",
        subject=draft,
        account_id=draft.account_id,
        at=at,
        actor=actor,
        data=snapshot_invoice(draft) | {"reissues": invoice.public_id},
        reason=reason,
    )
    return draft


def _require_free(invoice: Invoice) -> None:
    """:raises PeriodAlreadyInvoiced: when another invoice has a boundary or a period of this one."""
    taken = Q(pk__in=[])
    for each in find_boundary_invoices(_list_boundaries(invoice)):
        raise PeriodAlreadyInvoiced(f"{each} has this period now.", invoice_id=each.public_id)
    for line in InvoiceLine.objects.filter(invoice=invoice, type__in=CLAIMING_TYPES):
        if line.subscription_item_id is not None:
            taken |= Q(
                lines__subscription_item=line.subscription_item_id,
                lines__type=line.type,
                lines__period_start__lt=line.period_end,
                lines__period_end__gt=line.period_start,
            )
    found = Invoice.objects.filter(taken).exclude(status=InvoiceStatus.VOID).first()
    if found is not None:
        raise PeriodAlreadyInvoiced(f"{found} has this period now.", invoice_id=found.public_id)


def _list_boundaries(invoice: Invoice) -> list[tuple[uuid.UUID, int]]:
    if invoice.is_grouped:
        return list(InvoiceMember.objects.filter(invoice=invoice).values_list("subscription_id", "boundary"))
    if invoice.subscription_id is None or invoice.boundary is None:
        return []
    return [(invoice.subscription_id, invoice.boundary)]


def _write_copy(invoice: Invoice, *, at: datetime) -> Invoice:
    rows = InvoiceLine.objects.filter(invoice=invoice).select_related("subscription_item")
    items = {row.subscription_item.public_id: row.subscription_item for row in rows if row.subscription_item}
    # Whoever bills the account's subscriptions now waits for these rows.
    waiting = list(PendingCharge.objects.select_for_update(no_key=True).filter(invoice=invoice).order_by("id"))
    extra: dict[str, Any] = {"reissues": invoice, "due_days": invoice.due_days, "metadata": invoice.metadata}
    to_write = DraftToWrite(
        draft_invoice(with_tax(read_facts(invoice), account=invoice.account, seller=invoice.seller, at=at)),
        invoice.subscription,
        invoice.account,
        invoice.seller,
        items,
        waiting,
        _use_month(invoice.subscription_discount_id, at),
        extra,
        members=[
            DraftMember(each.subscription, _use_month(each.discount_id, at))
            for each in InvoiceMember.objects.filter(invoice=invoice).select_related("subscription")
        ],
    )
    ((draft, _),) = write_drafts([to_write], run=None)
    return draft


def _use_month(discount_id: uuid.UUID | None, at: datetime) -> SubscriptionDiscount | None:
    """Use the month again that voiding gave back, if the discount is still in force, and return the discount."""
    if discount_id is None:
        return None
    discount = SubscriptionDiscount.objects.select_for_update().get(pk=discount_id)
    if discount.ended_at is not None:
        return None
    if discount.months_left is not None:
        discount.use_month(at)
        discount.save(update_fields=["months_left", "ended_at", "end_reason", "updated_at"])
    return discount
