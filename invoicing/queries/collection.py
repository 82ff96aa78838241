"""What is collected without anybody asking, with what, and when. Source: contract chapter Collection."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import F, Q

from accounts.models import PaymentMethod, PaymentMethodStatus, Subscription
from accounts.models.account import CollectionMethod
from accounts.models.payment_method import PROVIDER_TYPES
from invoicing.models import Invoice, InvoiceStatus


def choose_method(invoice: Invoice) -> PaymentMethod | None:
    """Return the means of payment of an invoice: its subscription's, else its account's; None for none to charge."""
    own = None
    if invoice.subscription_id is not None:
        rows = Subscription.objects.filter(pk=invoice.subscription_id)
        own = rows.values_list("default_payment_method", flat=True).first()
    chargeable = PaymentMethod.objects.filter(
        account=invoice.account_id, status=PaymentMethodStatus.ATTACHED, type__in=PROVIDER_TYPES
    )
    found = chargeable.filter(pk=own).first() if own is not None else None
    return found or chargeable.filter(is_default=True).first()


def is_collected_by_itself(invoice: Invoice) -> bool:
    """Tell whether a means of payment is charged without asking, by the terms of the subscription or the account."""
    terms = invoice.account.collection_method
    if invoice.subscription_id is not None:
        rows = Subscription.objects.filter(pk=invoice.subscription_id)
        terms = rows.values_list("collection_method", flat=True).first() or terms
    return str(terms) == CollectionMethod.CHARGE_AUTOMATICALLY


def list_due_invoices(
    *,
    as_of: datetime,
    limit: int,
    account_ids: Sequence[UUID] | None = None,
    invoice_ids: Sequence[UUID] | None = None,
) -> list[tuple[UUID, datetime]]:
    """Return open invoices whose next attempt is due, longest waiting first, with the time of each one's account."""
    clock = "account__test_clock__now_at"
    due = Invoice.objects.filter(status=InvoiceStatus.OPEN, next_attempt_at__isnull=False).filter(
        Q(account__test_clock__isnull=True, next_attempt_at__lte=as_of) | Q(**{f"{clock}__gte": F("next_attempt_at")})
    )
    if account_ids is not None:
        due = due.filter(account_id__in=account_ids)
    if invoice_ids is not None:
        due = due.filter(pk__in=invoice_ids)
    rows = due.order_by("next_attempt_at", "id").values_list("pk", clock)[:limit]
    return [(key, now or as_of) for key, now in rows]


def list_chargeable_accounts(account_ids: Iterable[UUID]) -> set[UUID]:
    """Return which of the accounts have a default means of payment that a provider can charge. One query."""
    wanted: Collection[UUID] = set(account_ids)
    if not wanted:
        return set()
    rows = PaymentMethod.objects.filter(
        account_id__in=wanted, status=PaymentMethodStatus.ATTACHED, type__in=PROVIDER_TYPES
    )
    return set(rows.values_list("account_id", flat=True))


def list_self_collected(invoices: Sequence[Invoice]) -> set[UUID]:
    """
    Return which of the invoices are collected without anybody asking: by their terms, of accounts with a method.

    Two queries at most, however many there are; none when no account would be charged.
    """
    able = list_chargeable_accounts(
        invoice.account_id for invoice in invoices if invoice.status == InvoiceStatus.OPEN and invoice.amount_due
    )
    if not able:
        return set()
    keys = {invoice.subscription_id for invoice in invoices if invoice.subscription_id is not None}
    terms = dict(Subscription.objects.filter(pk__in=keys).values_list("pk", "collection_method")) if keys else {}
    return {
        invoice.pk
        for invoice in invoices
        if invoice.status == InvoiceStatus.OPEN
        and invoice.account_id in able
        and (
            terms.get(invoice.subscription_id, invoice.account.collection_method)
            if invoice.subscription_id is not None
            else invoice.account.collection_method
        )
        == CollectionMethod.CHARGE_AUTOMATICALLY
    }
