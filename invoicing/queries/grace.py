"""Which drafts of the cycle wait for usage, and until when."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db.models import F, Q

from invoicing.models import Invoice, InvoiceStatus, Seller
from invoicing.queries.billables import DueBoundary


def find_finalize_at(boundary: DueBoundary, seller: Seller) -> datetime | None:
    """
    Return until when the invoice of a boundary stays a draft; None for one that closes no period, or at once.

    What the account has chosen holds, else what its seller has.
    """
    chosen = boundary.subscription.account.grace_hours
    hours = seller.grace_hours if chosen is None else chosen
    if boundary.closing is None or not hours:
        return None
    return boundary.closing.end + timedelta(hours=hours)


def list_after_grace(
    *, at: datetime, limit: int, org_id: str | None = None, besides: Collection[uuid.UUID] = ()
) -> list[uuid.UUID]:
    """
    Return the drafts whose time has come, the oldest first; those that wait for a review are not. One query.

    Accounts on a test clock count by their own clock, the others by `at`.
    """
    rows = Invoice.objects.filter(
        Q(account__test_clock__isnull=True, finalize_at__lte=at) | Q(finalize_at__lte=F("account__test_clock__now_at")),
        status=InvoiceStatus.DRAFT,
        in_review=False,
    )
    if org_id is not None:
        rows = rows.filter(org_id=org_id)
    return list(rows.exclude(id__in=besides).order_by("finalize_at", "id").values_list("id", flat=True)[:limit])
