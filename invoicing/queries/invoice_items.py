"""
What people left for the next invoice of an account or a subscription: waiting, invoiced, dropped.

Source: contract chapter Invoices (one_off lines); ADR 0039.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, cast

from django.db.models import Q, QuerySet

from accounts.models import Account
from billing_site.kernel.errors import NotFound
from billing_site.kernel.money import RoundingMode
from invoicing.calculation.draft import draft_invoice
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts
from invoicing.models import InvoiceStatus, PendingCharge, Seller
from invoicing.queries.pending_charges import read_charge

ItemStatus = Literal["waiting", "invoiced", "dropped"]
ITEM_STATUSES: Final[tuple[ItemStatus, ...]] = ("waiting", "invoiced", "dropped")
_FREE: Final = Q(invoice__isnull=True) | Q(invoice__status=InvoiceStatus.VOID)


@dataclass(frozen=True, slots=True)
class ItemTerms:
    """What an item says: `amount` is minor units as its line will have it, before discounts and tax."""

    description: str
    type: str
    currency: str
    quantity: Decimal
    unit_amount: Decimal | None
    amount: int


def list_items() -> QuerySet[PendingCharge]:
    """Return what people entered, newest first, with account, subscription and invoice."""
    return (
        PendingCharge.objects.filter(item__isnull=True)
        .select_related("account__test_clock", "subscription", "invoice")
        .order_by("-id")
    )


def filter_items(items: QuerySet[PendingCharge], status: str) -> QuerySet[PendingCharge]:
    """Narrow to a status; anything else is all of them."""
    match status:
        case "waiting":
            return items.filter(_FREE, dropped_at__isnull=True)
        case "invoiced":
            return items.filter(invoice__isnull=False, dropped_at__isnull=True).exclude(
                invoice__status=InvoiceStatus.VOID
            )
        case "dropped":
            return items.filter(dropped_at__isnull=False)
    return items


def get_item_status(item: PendingCharge) -> ItemStatus:
    """Return where an item stands; one on a void invoice waits again."""
    if item.dropped_at is not None:
        return "dropped"
    if item.invoice is None or item.invoice.status == InvoiceStatus.VOID:
        return "waiting"
    return "invoiced"


def get_item_of(account: Account, reference: str) -> PendingCharge:
    """:raises NotFound: if the account has no such item."""
    key = PendingCharge.parse_id(reference)
    found = None if key is None else list_items().filter(account=account, pk=key).first()
    if found is None:
        raise NotFound("invoice_item")
    return found


def get_item_of_id(item_id: uuid.UUID) -> PendingCharge:
    """Return an item with what it belongs to. :raises NotFound: if there is none."""
    found = list_items().filter(pk=item_id).first()
    if found is None:
        raise NotFound("invoice_item")
    return found


def get_item_terms(item: PendingCharge, seller: Seller) -> ItemTerms:
    """Return what an item says, rounded as the seller rounds."""
    return read_item_terms(read_charge(item), rounding=seller.rounding)


def read_item_terms(facts: ChargeFacts, *, rounding: str) -> ItemTerms:
    """Return what the facts of an entered charge say."""
    currency = facts.price.currency
    draft = draft_invoice(
        InvoiceFacts(
            currency=currency,
            timezone="UTC",
            boundary=None,
            rounding=cast(RoundingMode, rounding),
            charges=(facts,),
        )
    )
    return ItemTerms(
        description="" if facts.given is None else facts.given.description,
        type=facts.type,
        currency=currency,
        quantity=facts.usage.quantity,
        unit_amount=facts.price.unit_amount if facts.price.model == "per_unit" else None,
        amount=draft.subtotal,
    )
