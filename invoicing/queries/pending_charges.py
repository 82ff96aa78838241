"""Charges that changes of subscriptions left for their next invoice."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import cast

from django.db.models import Q, QuerySet

from accounts.models import Subscription
from billing_site.kernel.money import RoundingMode
from invoicing.calculation.draft import Draft, draft_invoice
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts
from invoicing.models import InvoiceStatus, PendingCharge, Seller
from invoicing.queries.taxes import with_tax


def select_waiting() -> QuerySet[PendingCharge]:
    """Return the charges that no invoice has, or only one that was voided, oldest first."""
    return (
        PendingCharge.objects.filter(Q(invoice__isnull=True) | Q(invoice__status=InvoiceStatus.VOID))
        .select_related("item__price", "item__meter")
        .order_by("id")
    )


def load_waiting(subscription_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[PendingCharge]]:
    """Return the waiting charges of many subscriptions, oldest first. One query."""
    found: dict[uuid.UUID, list[PendingCharge]] = defaultdict(list)
    for charge in select_waiting().filter(subscription_id__in=list(subscription_ids)):
        found[charge.subscription_id].append(charge)
    return found


def read_charge(charge: PendingCharge) -> ChargeFacts:
    """Return the facts of a waiting charge."""
    return ChargeFacts.from_dict(charge.facts)


def draft_charges(subscription: Subscription, charges: Iterable[ChargeFacts], seller: Seller, *, at: datetime) -> Draft:
    """Return the draft of these charges alone, on an invoice of `at` that had nothing else. One query."""
    facts = InvoiceFacts(
        currency=subscription.currency,
        timezone=subscription.timezone,
        boundary=None,
        rounding=cast(RoundingMode, seller.rounding),
        charges=tuple(charges),
    )
    return draft_invoice(with_tax(facts, account=subscription.account, seller=seller, at=at))
