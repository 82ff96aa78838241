"""
Numbers of documents: gapless per seller, series and mode.

A kind of document has its series, a yearly one begins anew with the year of the issue date. Numbers come from a locked
counter, late in the transaction, and a rollback gives them back. Source: contract chapter Invoices; ADR 0007 and 0045.
"""

from __future__ import annotations

from datetime import date
from typing import Literal
from uuid import UUID

from django.db import connection

from invoicing.models import NumberCounter, Numbering, Seller

NumberedKind = Literal["invoice", "credit_note"]


def get_series(seller: Seller, kind: NumberedKind, *, issue_date: date) -> str:
    """Return the series of a document: `INV`, or `INV-2026` where the seller begins anew every year."""
    prefix = seller.invoice_prefix if kind == "invoice" else seller.credit_note_prefix
    return f"{prefix}-{issue_date.year}" if seller.numbering == Numbering.YEARLY else prefix


def take_numbers(*, seller_id: UUID, series: str, livemode: bool, count: int) -> int:
    """Advance one counter by `count` and return its new last number. Creates the counter on first use."""
    NumberCounter.objects.bulk_create(
        [NumberCounter(seller_id=seller_id, series=series, livemode=livemode)], ignore_conflicts=True
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE number_counters SET last_number = last_number + %s"
            " WHERE seller_id = %s AND series = %s AND livemode = %s RETURNING last_number",
            [count, seller_id, series, livemode],
        )
        return int(cursor.fetchone()[0])


def format_number(series: str, number: int) -> str:
    """Return the printed number: `INV-0042`, at least four digits."""
    return f"{series}-{number:04d}"
