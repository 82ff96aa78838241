"""Which invoices bill which subscriptions, alone or with others of the account. Source: ADR 0047."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from django.db.models import Q, UUIDField
from django.db.models.functions import Coalesce

from accounts.models import Subscription
from invoicing.models import Invoice, InvoiceMember, InvoiceStatus


def bills_any(subscription_ids: Collection[uuid.UUID]) -> Q:
    """Return the condition of invoices that bill one of these subscriptions. One query, so that it is read by index."""
    shared = list(InvoiceMember.objects.filter(subscription__in=subscription_ids).values_list("invoice_id", flat=True))
    alone = Q(subscription__in=subscription_ids)
    return alone | Q(pk__in=shared) if shared else alone


def owns_line() -> Coalesce:
    """Return the key of the subscription that a line is for: its own on an invoice for several, else its invoice's."""
    return Coalesce("subscription_id", "invoice__subscription_id", output_field=UUIDField())


def list_billed_subscriptions(invoices: Iterable[Invoice]) -> dict[uuid.UUID, list[uuid.UUID]]:
    """Return the keys of the subscriptions that each invoice bills. One query, none when no invoice has several."""
    found: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    grouped = []
    for invoice in invoices:
        if invoice.is_grouped:
            grouped.append(invoice.pk)
        elif invoice.subscription_id is not None:
            found[invoice.pk].append(invoice.subscription_id)
    if grouped:
        members = InvoiceMember.objects.filter(invoice__in=grouped).order_by("position")
        for key, subscription_id in members.values_list("invoice_id", "subscription_id"):
            found[key].append(subscription_id)
    return found


def find_boundary_invoices(boundaries: Collection[tuple[uuid.UUID, int]]) -> Sequence[Invoice]:
    """Return the invoices that are not void and settle one of these boundaries, by subscription and number."""
    if not boundaries:
        return []
    asked = Q(pk__in=[])
    for subscription_id, boundary in boundaries:
        asked |= Q(subscription=subscription_id, boundary=boundary)
    shared = list(InvoiceMember.objects.filter(asked, is_reversed=False).values_list("invoice_id", flat=True))
    return list(Invoice.objects.filter(asked | Q(pk__in=shared)).exclude(status=InvoiceStatus.VOID).order_by("id"))


def lock_subscriptions_of(invoice_ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Lock the subscriptions that these invoices bill, in the order of their ids, and return their keys."""
    invoices = Invoice.objects.filter(pk__in=invoice_ids).only("id", "subscription_id", "is_grouped")
    keys = {key for billed in list_billed_subscriptions(invoices).values() for key in billed}
    rows = Subscription.objects.select_for_update(no_key=True).filter(pk__in=keys)
    return list(rows.order_by("id").values_list("pk", flat=True))
