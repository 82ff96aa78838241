"""
The invoice of one subscription on request: what its period owes, rated by the engine of the cycle.

Source: contract chapters Invoices, Renewal and cycle; endpoint invoice_generate; ADR 0047.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts.models import BILLABLE_STATUSES, Subscription
from accounts.services.stored_money import lock_stored_money
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.kernel.periods import Period
from billing_site.platform.services import events
from invoicing.models import Invoice, InvoiceLine, InvoiceStatus
from invoicing.models.invoice import CLAIMING_TYPES
from invoicing.queries.billables import load_billables
from invoicing.queries.interim import draft_interim
from invoicing.services.billing import bill_boundary, lock_subscription
from invoicing.services.drafting import DraftToWrite, PeriodAlreadyInvoiced, is_billed_before, write_drafts
from invoicing.services.issuing import issue_invoices, snapshot_invoice
from invoicing.services.items import store_items
from invoicing.services.sellers import ensure_sellers

_REASON = "Invoiced on request."


@transaction.atomic
def generate_invoice(
    *,
    subscription_id: uuid.UUID,
    at: datetime,
    actor: Actor,
    start: datetime | None = None,
    end: datetime | None = None,
    finalize: bool = False,
) -> Invoice:
    """
    Make the invoice of a subscription's period, and return it: a draft, or issued with `finalize`.

    The period is the running one; `start` and `end` may name it. When it is over, this bills its boundary as a run
    would, for this subscription alone: the fee of the next period, usage, what waits, discount and tax; the
    subscription moves on. As long as it runs, its usage so far is billed, as an interim invoice does; the closing
    invoice deducts it. What is on a draft is claimed like what is issued.
    :raises NotFound: if there is none. :raises InvalidState: if it does not run, is not billed here, waits for a step
    of its schedule, or owes nothing. :raises PeriodAlreadyInvoiced: when an invoice that is not void covers it.
    :raises ValidationFailed: for a period that is neither the running one nor invoiced.
    """
    subscription = lock_subscription(subscription_id)
    if subscription.status not in BILLABLE_STATUSES or subscription.next_billing_at is None:
        raise InvalidState(f"The subscription is {subscription.status}.", current_status=subscription.status)
    if not subscription.is_billed_here:
        raise InvalidState("The subscription is not billed here.", current_status=subscription.status)
    running = subscription.current_period
    first, last = start or running.start, end or running.end
    if first >= last:
        raise ValidationFailed.of("/period_end", "not_after_start", "The period ends before it begins.")
    if Period(first, last) != running:
        _refuse_covered(subscription, Period(first, last))
        raise ValidationFailed.of("/period_start", "not_billable", "This is not the running period.")
    try:
        billed = bill_boundary(subscription_id=subscription_id, at=at, actor=actor, issue=finalize)
    except IntegrityError as error:
        if is_billed_before(error):
            raise PeriodAlreadyInvoiced from error
        raise
    if billed is None:
        return _bill_usage_so_far(subscription, at=at, actor=actor, finalize=finalize)
    if not billed.invoices:
        raise InvalidState("The subscription owes nothing for this period.", current_status=subscription.status)
    return billed.invoices[-1]


def _bill_usage_so_far(subscription: Subscription, *, at: datetime, actor: Actor, finalize: bool) -> Invoice:
    """Invoice what the running period used, once: an invoice that has usage of it already covers it."""
    _refuse_covered(subscription, subscription.current_period, types=("usage",))
    account = subscription.account
    money = lock_stored_money(account_ids=[account.pk], at=at, actor=actor)
    sellers = ensure_sellers([account])
    billables = load_billables([subscription], sellers=sellers)
    found = draft_interim([subscription], billables, {account.pk: at}, on_request=True)
    if not found:
        _refuse_covered(subscription, subscription.current_period)
        raise InvalidState("Nothing was used in the running period.", current_status=subscription.status)
    ((gathered, draft),) = found
    to_write = DraftToWrite(draft, subscription, account, sellers.of(account), gathered.items)
    store_items((), [to_write], billables)
    ((invoice, _),) = write_drafts([to_write], run=None)
    if finalize:
        drafts = {invoice.id: draft}
        return issue_invoices([invoice], at=at, actor=actor, money=money, drafts=drafts, reason=_REASON)[0]
    events.emit(
        "invoice.created",
        subject=invoice,
        account_id=account.pk,
        at=at,
        actor=actor,
        data=snapshot_invoice(invoice),
        reason=_REASON,
    )
    return invoice


def _refuse_covered(subscription: Subscription, period: Period, *, types: tuple[str, ...] = CLAIMING_TYPES) -> None:
    """:raises PeriodAlreadyInvoiced: if an invoice that is not void has a line for this time. Two queries at most."""
    lines = InvoiceLine.objects.filter(
        subscription_item__subscription=subscription,
        type__in=types,
        is_reversed=False,
        period_start__lt=period.end,
        period_end__gt=period.start,
    )
    line = lines.exclude(invoice__status=InvoiceStatus.VOID).select_related("invoice").order_by("-id").first()
    covering = None if line is None else line.invoice
    if covering is None and types == CLAIMING_TYPES:
        mine = Q(subscription=subscription, boundary__isnull=False, period_start=period.start, period_end=period.end)
        covering = Invoice.objects.filter(mine).exclude(status=InvoiceStatus.VOID).order_by("-id").first()
    if covering is not None:
        raise PeriodAlreadyInvoiced(f"The period is on {covering}.", invoice_id=covering.public_id)
