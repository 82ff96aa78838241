"""What of a payment or an invoice can still be given back. Source: contract chapter Refunds and credit notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet, Sum

from invoicing.models import (
    COUNTED_STATUSES,
    IntentStatus,
    Invoice,
    PaymentAllocation,
    PaymentIntent,
    Refund,
    RefundDestination,
)


@dataclass(frozen=True, slots=True)
class PaymentPart:
    """What of a payment can go back through its provider, minor units."""

    intent: PaymentIntent
    amount: int


def list_payment_parts(
    invoice: Invoice, *, without: UUID | None = None, payment: UUID | None = None
) -> list[PaymentPart]:
    """
    Return what of the payments of an invoice can go back to who paid, the newest payment first.

    What refunds took that are not over yet or succeeded counts as taken, except those of the batch `without`. With
    `payment` only of that one. To be decided on, it is read under the account's lock.
    """
    rows = PaymentAllocation.objects.filter(
        invoice=invoice, applied__gt=0, intent__status=IntentStatus.SUCCEEDED
    ).select_related("intent")
    if payment is not None:
        rows = rows.filter(intent=payment)
    allocations = list(rows.order_by("-intent__succeeded_at", "-id"))
    taken = _sum_by_intent(Refund.objects.filter(invoice=invoice), without)
    own = _sum_own(without) if without is not None else {}
    found = []
    for allocation in allocations:
        intent = allocation.intent
        left = (allocation.applied or 0) - taken.get(intent.pk, 0)
        amount = min(left, intent.amount_refundable + own.get(intent.pk, 0))
        if amount > 0:
            found.append(PaymentPart(intent, amount))
    return found


def _sum_by_intent(rows: QuerySet[Refund], without: UUID | None) -> dict[UUID | None, int]:
    counted = rows.filter(destination=RefundDestination.PROVIDER, status__in=COUNTED_STATUSES)
    if without is not None:
        counted = counted.exclude(batch=without)
    return dict(counted.order_by().values_list("payment_intent").annotate(Sum("amount")))


def _sum_own(batch: UUID) -> dict[UUID | None, int]:
    """Return what the batch itself holds of each payment."""
    return _sum_by_intent(Refund.objects.filter(batch=batch), None)


def sum_waiting(invoice: Invoice, *, without: UUID | None = None) -> int:
    """Return what requests for refunds of an invoice come to that have no credit note yet, minor units."""
    rows = Refund.objects.filter(invoice=invoice, status="pending", credit_note__isnull=True).exclude(source="outside")
    if without is not None:
        rows = rows.exclude(batch=without)
    return int(rows.aggregate(total=Sum("amount"))["total"] or 0)


def list_allocations(intent: PaymentIntent) -> list[PaymentAllocation]:
    """Return what a payment paid of invoices, the newest invoice first."""
    rows = PaymentAllocation.objects.filter(intent=intent, applied__gt=0).select_related("invoice")
    return list(rows.order_by("-invoice_id"))


def compute_unallocated(intent: PaymentIntent, allocations: Sequence[PaymentAllocation]) -> int:
    """Return what of a payment paid no invoice and was not given back yet, minor units."""
    paid = sum(allocation.applied or 0 for allocation in allocations)
    rows = Refund.objects.filter(
        payment_intent=intent, invoice__isnull=True, status__in=COUNTED_STATUSES, destination=RefundDestination.PROVIDER
    )
    given = int(rows.aggregate(total=Sum("amount"))["total"] or 0)
    return max(0, min(intent.amount_received - paid - given, intent.amount_refundable))
