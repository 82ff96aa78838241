"""
What a payment does to the subscription that waited for it: it is active again, or at last.

Source: contract chapters Subscriptions and Dunning; ADR 0029.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from accounts.models import WAITING_STATUSES, Subscription, SubscriptionStatus
from accounts.queries.snapshots import describe_subscription, find_changes
from accounts.services.stored_money import StoredMoney
from billing_site.kernel.actors import Actor
from billing_site.kernel.periods import local_date
from billing_site.platform.models.bulk import update_rows
from billing_site.platform.services import events
from invoicing.models import Invoice, InvoiceStatus
from invoicing.queries.billables import DueBoundary
from invoicing.queries.dunning import list_failing
from invoicing.queries.members import bills_any, list_billed_subscriptions
from invoicing.queries.plan_credit import pass_plan_credit
from invoicing.services.plan_credit import store_plan_credit

_OWED = (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)
_SETTLED = (InvoiceStatus.PAID, InvoiceStatus.VOID)


def activate_paid(invoices: Iterable[Invoice], *, at: datetime, actor: Actor) -> list[Subscription]:
    """
    Make the subscriptions active that waited for those of the invoices that are paid, and return them.

    To be called in the transaction in which invoices turn paid, by whatever way, or void, once that is stored; the
    caller has locked the account and the subscription. A void one frees only what is `past_due`. One that is
    `incomplete` or `unpaid` waits until nothing of it is owed; one that is `past_due` until no other invoice is in
    dunning, overdue, uncollectible, or older than the one that is paid. A start that waited gets the credit of its plan
    now. Subscriptions that come loaded with their invoices change with their rows; no query when none of them waits.
    """
    settled = [each for each in invoices if each.status in _SETTLED and _may_wait(each)]
    billed = list_billed_subscriptions(settled)
    paid: dict[UUID, list[Invoice]] = defaultdict(list)
    for invoice in settled:
        for key in billed.get(invoice.pk, ()):
            paid[key].append(invoice)
    if not paid:
        return []
    waiting = Subscription.objects.filter(pk__in=paid, status__in=WAITING_STATUSES)
    locked = list(waiting.order_by("id").select_for_update().values_list("id", flat=True))
    rows = list(
        Subscription.objects.select_related("account__test_clock", "plan_version__plan", "pending_plan_version__plan")
        .filter(pk__in=locked)
        .order_by("id")
    )
    rows = [
        row
        for row in rows
        if row.status == SubscriptionStatus.PAST_DUE or any(each.status == InvoiceStatus.PAID for each in paid[row.pk])
    ]
    owed: dict[UUID, list[Invoice]] = defaultdict(list)
    others = list(Invoice.objects.filter(bills_any(locked), status__in=_OWED)) if locked else []
    owing = list_billed_subscriptions(others)
    for other in others:
        for key in owing.get(other.pk, ()):
            owed[key].append(other)
    failing = list_failing([other.pk for other in others])
    free = [row for row in rows if not _is_held(row, paid[row.pk], owed[row.pk], failing, at)]
    _switch_on(free, {row.pk: paid[row.pk][-1] for row in free}, at=at, actor=actor)
    for row in free:
        for invoice in paid[row.pk]:
            if _is_loaded(invoice) and invoice.subscription is not None:
                invoice.subscription.status, invoice.subscription.incomplete_until = row.status, None
    return free


def activate_without_invoice(subscription: Subscription, *, at: datetime, actor: Actor) -> None:
    """Make a locked subscription active that waited for a first invoice and got none: there is nothing to pay."""
    _switch_on([subscription], {}, at=at, actor=actor)


def _is_loaded(invoice: Invoice) -> bool:
    return "subscription" in invoice._state.fields_cache


def _may_wait(invoice: Invoice) -> bool:
    subscription = invoice.subscription if _is_loaded(invoice) else None
    return subscription is None or subscription.status in WAITING_STATUSES


def _is_held(
    row: Subscription, paid: Sequence[Invoice], owed: Sequence[Invoice], failing: Collection[UUID], at: datetime
) -> bool:
    if row.status != SubscriptionStatus.PAST_DUE:
        return bool(owed)
    today = local_date(at, row.account.zone)
    newest = max((each.finalized_at for each in paid if each.finalized_at is not None), default=at)
    return any(
        each.status == InvoiceStatus.UNCOLLECTIBLE
        or each.pk in failing
        or (each.due_date is not None and each.due_date < today)
        or (each.finalized_at is not None and each.finalized_at <= newest)
        for each in owed
    )


def _switch_on(rows: Sequence[Subscription], invoices: Mapping[UUID, Invoice], *, at: datetime, actor: Actor) -> None:
    if not rows:
        return
    started, news = [], []
    for row in rows:
        before = describe_subscription(row)
        # Billing that is under way gives the credit itself, with the boundary it is passing.
        if row.status == SubscriptionStatus.INCOMPLETE and not row.bills_at_start:
            started.append(row)
        row.status, row.incomplete_until = SubscriptionStatus.ACTIVE.value, None
        after = describe_subscription(row)
        invoice = invoices.get(row.pk)
        news.append(
            events.NewEvent(
                "subscription.activated",
                subject=row,
                account_id=row.account_id,
                at=at,
                actor=actor,
                data=after | {"invoice_id": None if invoice is None else invoice.public_id},
                previous=find_changes(before, after),
            )
        )
    update_rows(rows, {"status": "text", "incomplete_until": "timestamptz"})
    events.emit_many(news)
    opened = [DueBoundary(row, row.next_boundary - 1, None, row.current_period, row.cycle) for row in started]
    times = {row.account_id: at for row in started}
    store_plan_credit(pass_plan_credit(opened, money=StoredMoney(), times=times, actor=actor), times=times, actor=actor)
