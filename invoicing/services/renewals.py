"""
Renewing ahead of time: closing the running period now, by the code of the cycle.

The period that opens is the one that would have opened: it begins where the running one ends, so that nobody loses days
that were paid, and it is paid now. Usage so far is invoiced; what is used until the new period begins is invoiced with
it. Source: contract chapter Renewal and cycle.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from accounts.models import BILLABLE_STATUSES, Subscription
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState
from invoicing.models import InvoiceLine, InvoiceStatus
from invoicing.services.billing import BilledSubscription, bill_ahead, bill_subscriptions, lock_subscription


class PeriodAlreadyInvoiced(DomainError):
    code, title, status = "period_already_invoiced", "This period is invoiced", 409


@transaction.atomic
def renew_subscription(
    *, subscription_id: uuid.UUID, at: datetime, actor: Actor, force: bool = True, reason: str = ""
) -> BilledSubscription:
    """
    Bill what is due by `at`, else with `force` the next boundary ahead of its time, once; return what was billed.

    :raises NotFound: if there is none. :raises InvalidState: if it is ended, paused, unpaid or incomplete, is not
    billed here, ends with this period, waits for a step of its schedule, or has nothing due without `force`.
    :raises PeriodAlreadyInvoiced: if it was renewed ahead of time already, or nothing is due without `force` and the
    running period is invoiced.
    """
    subscription = lock_subscription(subscription_id)
    status = subscription.status
    if status not in BILLABLE_STATUSES:
        raise InvalidState(f"The subscription is {status}.", current_status=status)
    if not subscription.is_billed_here or subscription.next_billing_at is None:
        raise InvalidState("The subscription is not billed here.", current_status=status)
    if subscription.next_billing_at <= at:
        (billed,) = bill_subscriptions(subscription_ids=[subscription_id], as_of=at, actor=actor)
        if billed.is_waiting and not billed.boundaries:
            raise InvalidState("A step of its schedule is due first.", current_status=status)
        return billed
    if not force or subscription.current_period_start > at:
        _refuse_invoiced(subscription)
        raise InvalidState("The period has not ended.", current_status=status)
    if subscription.cancel_at_period_end:
        raise InvalidState("The subscription ends with this period; take that back first.", current_status=status)
    return bill_ahead(subscription_id=subscription_id, at=at, actor=actor, reason=reason)


def _refuse_invoiced(subscription: Subscription) -> None:
    """:raises PeriodAlreadyInvoiced: if an invoice that is not void covers the running period."""
    lines = InvoiceLine.objects.filter(
        Q(subscription=subscription) | Q(invoice__subscription=subscription),
        is_reversed=False,
        period_start=subscription.current_period_start,
        period_end=subscription.current_period_end,
    )
    line = lines.exclude(invoice__status=InvoiceStatus.VOID).select_related("invoice").order_by("-id").first()
    if line is not None:
        raise PeriodAlreadyInvoiced(f"The period is on invoice {line.invoice}.", invoice_id=line.invoice.public_id)
