"""What an account owes."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Case, F, QuerySet, When

from invoicing.models import Invoice, InvoiceStatus


def list_owed_invoices(*, account_id: UUID, currency: str) -> QuerySet[Invoice]:
    """
    Return the invoices of an account of which something remains, in one currency: open ones, oldest first, then those
    that were given up.
    """
    owed = Invoice.objects.filter(
        account_id=account_id,
        currency=currency,
        status__in=(InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE),
        amount_paid__lt=F("amount_due"),
    )
    given_up = Case(When(status=InvoiceStatus.UNCOLLECTIBLE, then=1), default=0)
    return owed.order_by(given_up, "due_date", "finalized_at", "id")
