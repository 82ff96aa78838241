"""What the check before issue looks at: what accounts were invoiced before, for many at once."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any, NamedTuple

from django.db import connection

from invoicing.calculation.review import HISTORY_LENGTH, ReviewRules
from invoicing.models import Invoice, InvoiceReview, InvoiceStatus, ReviewStatus, Seller

_COMPARED = (InvoiceStatus.OPEN, InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE)


class HistoryKey(NamedTuple):
    """Whose totals, in which currency and mode."""

    account_id: uuid.UUID
    currency: str
    livemode: bool


def get_review_rules(seller: Seller) -> ReviewRules:
    """Return what a seller wants looked at before it is issued. No query."""
    return ReviewRules(seller.review_factor, seller.review_negative, seller.review_amounts)


def load_issued_totals(keys: Collection[HistoryKey]) -> dict[HistoryKey, list[int]]:
    """
    Return the newest issued totals of each, newest first, at most as many as count; void invoices do not.

    One query, and at most that many rows of each account are read, by index.
    """
    if not keys:
        return {}
    accounts, currencies, modes = zip(*keys, strict=True)
    statement = """
        SELECT given.account_id, given.currency, given.livemode, ARRAY(
            SELECT invoices.total FROM invoices
            WHERE invoices.account_id = given.account_id AND invoices.currency = given.currency
                AND invoices.livemode = given.livemode AND invoices.status = ANY(%s)
            ORDER BY invoices.id DESC LIMIT %s
        ) FROM unnest(%s::uuid[], %s::text[], %s::boolean[]) AS given (account_id, currency, livemode)
    """
    values: list[Any] = [
        [str(each) for each in _COMPARED],
        HISTORY_LENGTH,
        list(accounts),
        list(currencies),
        list(modes),
    ]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return {HistoryKey(account, currency, mode): list(found) for account, currency, mode, found in cursor}


def list_compared(review: InvoiceReview) -> list[Invoice]:
    """Return the newest invoices of the account that were issued before the draft was made. One query."""
    invoice = review.invoice
    before = Invoice.objects.filter(
        account_id=review.account_id,
        currency=invoice.currency,
        livemode=invoice.livemode,
        status__in=_COMPARED,
        id__lt=invoice.id,
    )
    return list(before.order_by("-id")[:HISTORY_LENGTH])


def count_waiting() -> int:
    """Return how many drafts wait for a person."""
    return InvoiceReview.objects.filter(status=ReviewStatus.WAITING).count()
