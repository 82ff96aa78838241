"""
What dunning does by itself: end states, holds that are over, new payment methods, and invoices that are overdue.

Steps that are due are collected like any invoice whose time has come (`collecting.collect_due`). Each row is worked off
in a transaction of its own and checked again under its locks, so two sweeps, or a sweep and a person, do it once.
Source: contract chapter Dunning; ADR 0056.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from accounts.models import RUNNING_STATUSES, Account, Subscription, SubscriptionStatus
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError
from billing_site.kernel.periods import local_date
from billing_site.platform.services.work_items import WorkItemKind, open_work_item, register_kind
from invoicing.gateways.port import PaymentGateway
from invoicing.models import (
    AttemptOutcome,
    DunningAttempt,
    DunningCampaign,
    DunningCase,
    DunningEnd,
    DunningStatus,
    Invoice,
    InvoiceStatus,
)
from invoicing.queries.collection import is_collected_by_itself
from invoicing.queries.dunning import (
    find_terms,
    find_untried_method,
    list_chargeable,
    list_subscriptions,
    list_with_new_methods,
)
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.collecting import collect_invoice
from invoicing.services.dunning import COLUMNS, build_case, move_on, move_subscriptions
from invoicing.services.dunning_actions import lock_case, resume_locked
from invoicing.services.dunning_mails import NOT_CHARGED
from invoicing.services.invoices import lock_invoice, lock_parties
from invoicing.services.subscriptions import start_subscription

logger = logging.getLogger(__name__)

END_FAILED: Final = "dunning_end_failed"
NEW_METHOD_WINDOW: Final = timedelta(days=1)
"""How long after a method is attached an invoice that is not in dunning is still charged to it."""
_REASON: Final = "Dunning is exhausted."


def sweep_dunning(
    *,
    at: datetime,
    actor: Actor = SYSTEM,
    limit: int = 500,
    account_ids: Sequence[uuid.UUID] | None = None,
    gateway: PaymentGateway | None = None,
) -> int:
    """
    Do what is due of dunning at `at` (by each account's clock), and return how many rows were worked off.

    Call it outside a transaction. One that fails is logged and tried again by the next sweep.
    """
    done = sum(_try(settle_case, key, now, actor) for key, now in _list_to_settle(at, limit, account_ids))
    done += sum(_try(_release_held, key, now, actor) for key, now in _list_released(at, limit, account_ids))
    done += sum(_try(open_overdue_case, key, now, actor) for key, now in _list_overdue(at, limit, account_ids))
    since = at - NEW_METHOD_WINDOW
    if account_ids is None:
        return done + try_new_methods(at=at, since=since, actor=actor, limit=limit, gateway=gateway)
    for key in account_ids:
        done += try_new_methods(at=at, since=since, actor=actor, account_id=key, limit=limit, gateway=gateway)
    return done


def _try(work: Callable[..., bool], key: uuid.UUID, at: datetime, actor: Actor) -> bool:
    try:
        return work(key, at=at, actor=actor)
    except DomainError:
        logger.exception("dunning of %s could not go on", key)
        return False


# ---- new payment methods --------------------------------------------------------------------------------------------
def try_new_methods(
    *,
    at: datetime,
    since: datetime,
    actor: Actor = SYSTEM,
    account_id: uuid.UUID | None = None,
    limit: int = 500,
    gateway: PaymentGateway | None = None,
) -> int:
    """
    Charge open invoices to methods that came since they failed, or since they were issued, and return how many.

    By each account's clock; call it outside a transaction. Each method is tried once for an invoice, whoever rings.
    """
    tried = 0
    for key in list_with_new_methods(since=since, account_id=account_id, limit=limit):
        invoice = Invoice.objects.select_related("account__test_clock").get(pk=key)
        if not is_collected_by_itself(invoice):
            continue
        method = find_untried_method(invoice, since=since)
        if method is None:
            continue
        now = invoice.account.clock_time or at
        try:
            collect_invoice(invoice_id=key, at=now, actor=actor, method=method, only_untried=True, gateway=gateway)
            tried += 1
        except DomainError as refusal:
            logger.info("invoice %s is not charged to its new method now: %s", invoice.public_id, refusal.code)
    return tried


def try_new_methods_of(*, account_id: uuid.UUID, at: datetime, actor: Actor = SYSTEM) -> int:
    """Do what `try_new_methods` does for one account, by its clock."""
    account = Account.objects.select_related("test_clock").get(pk=account_id)
    now = account.clock_time or at
    return try_new_methods(at=now, since=now - NEW_METHOD_WINDOW, actor=actor, account_id=account_id)


# ---- end states -----------------------------------------------------------------------------------------------------
@transaction.atomic
def settle_case(case_id: uuid.UUID, *, at: datetime, actor: Actor = SYSTEM) -> bool:
    """
    Arrange the end state of what dunning has exhausted, and tell whether there was something to arrange.

    The subscriptions are canceled at once, without giving unused days back; for the free plan one starts on
    `BILLING_DEFAULT_PLAN`. What cannot be done leaves the subscription unpaid and tells operators. An invoice that was
    paid meanwhile changes nothing any more.
    """
    case, invoice = lock_case(case_id)
    if case.status != DunningStatus.EXHAUSTED or case.settled_at is not None:
        return False
    case.settled_at = at
    case.save(update_fields=COLUMNS)
    if invoice.status != InvoiceStatus.UNCOLLECTIBLE:
        return True
    for subscription in list_subscriptions(invoice):
        if subscription.status not in (SubscriptionStatus.PAST_DUE, SubscriptionStatus.UNPAID):
            continue
        try:
            with transaction.atomic():
                _end(subscription, case.end_state, at=at, actor=actor)
        except DomainError as refusal:
            move_subscriptions([subscription], SubscriptionStatus.UNPAID, invoice, at=at, actor=actor)
            _tell(case, subscription, refusal, at=at, actor=actor)
    return True


def settle_now(case_id: uuid.UUID, *, at: datetime, actor: Actor = SYSTEM) -> bool:
    """Do what `settle_case` does, by the clock of the case's account."""
    case = DunningCase.objects.select_related("account__test_clock").filter(pk=case_id).first()
    return case is not None and settle_case(case_id, at=case.account.clock_time or at, actor=actor)


def _end(subscription: Subscription, end_state: str, *, at: datetime, actor: Actor) -> None:
    cancel_subscription(
        subscription_id=subscription.pk, at=at, actor=actor, at_period_end=False, unused="forfeit", comment=_REASON
    )
    plan_key = settings.BILLING_DEFAULT_PLAN
    running = Subscription.objects.filter(account=subscription.account_id, status__in=RUNNING_STATUSES)
    if end_state != DunningEnd.FREE_PLAN or running.filter(plan_version__plan__key=plan_key).exists():
        return
    account = Account.objects.select_related("test_clock").get(pk=subscription.account_id)
    start_subscription(account=account, plan_key=plan_key, at=at, actor=actor, reason=_REASON, payment_gated=False)


def _tell(case: DunningCase, subscription: Subscription, refusal: DomainError, *, at: datetime, actor: Actor) -> None:
    open_work_item(
        kind=END_FAILED,
        subject=case,
        title=f"{subscription.public_id} is unpaid: its dunning could not end as agreed",
        detail=refusal.detail,
        data={"code": refusal.code, "subscription_id": subscription.public_id, "end_state": case.end_state},
        account_id=case.account_id,
        at=at,
        actor=actor,
    )


def register_dunning_work() -> None:
    """Make the work items of dunning known; called when the app is ready."""
    register_kind(WorkItemKind(END_FAILED, "Dunning did not end as agreed"))


# ---- holds and overdue invoices -------------------------------------------------------------------------------------
@transaction.atomic
def _release_held(case_id: uuid.UUID, *, at: datetime, actor: Actor) -> bool:
    case, invoice = lock_case(case_id)
    if case.status != DunningStatus.HELD or case.held_until is None or case.held_until > at:
        return False
    resume_locked(case, invoice, at=at, actor=actor, reason="The hold is over.")
    return True


@transaction.atomic
def open_overdue_case(invoice_id: uuid.UUID, *, at: datetime, actor: Actor = SYSTEM) -> bool:
    """
    Begin to ask for an overdue invoice that nobody charges, where its campaign says so, and tell whether it was begun.

    Nothing is charged; at each step stored money may pay.
    """
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    _, terms = find_terms(invoice)
    is_late = invoice.due_date is not None and invoice.due_date < local_date(at, invoice.account.zone)
    is_charged = is_collected_by_itself(invoice) and list_chargeable(invoice.account_id).exists()
    known = DunningCase.objects.filter(invoice=invoice).exists()
    if invoice.status != InvoiceStatus.OPEN or not terms.on_overdue or not is_late or is_charged or known:
        return False
    case = build_case(invoice, at=at)
    case.status, case.stop_reason = DunningStatus.STOPPED.value, NOT_CHARGED
    attempt = DunningAttempt(
        case=case, step=1, made_at=at, outcome=AttemptOutcome.NOT_TRIED, amount=invoice.amount_remaining
    )
    move_on(case, invoice, list_subscriptions(invoice), attempt, at=at, actor=actor)
    return True


# ---- what is due ----------------------------------------------------------------------------------------------------
def _by_clock(column: str, at: datetime) -> Q:
    """Return that `column` has come, by the clock of the row's account."""
    return Q(**{"account__test_clock__isnull": True, f"{column}__lte": at}) | Q(
        account__test_clock__now_at__gte=F(column)
    )


def _list(
    rows: QuerySet[DunningCase] | QuerySet[Invoice], at: datetime, limit: int, accounts: Sequence[uuid.UUID] | None
) -> list[tuple[uuid.UUID, datetime]]:
    if accounts is not None:
        rows = rows.filter(account__in=accounts)
    clock_time = "account__test_clock__now_at"
    found = rows.order_by("id").values_list("pk", clock_time)[:limit]
    return [(key, now or at) for key, now in found]


def _list_to_settle(at: datetime, limit: int, accounts: Sequence[uuid.UUID] | None) -> list[tuple[uuid.UUID, datetime]]:
    rows = DunningCase.objects.filter(status=DunningStatus.EXHAUSTED, settled_at__isnull=True)
    return _list(rows, at, limit, accounts)


def _list_released(at: datetime, limit: int, accounts: Sequence[uuid.UUID] | None) -> list[tuple[uuid.UUID, datetime]]:
    rows = DunningCase.objects.filter(_by_clock("held_until", at), status=DunningStatus.HELD)
    return _list(rows, at, limit, accounts)


def _list_overdue(at: datetime, limit: int, accounts: Sequence[uuid.UUID] | None) -> list[tuple[uuid.UUID, datetime]]:
    """Return open invoices that a campaign may ask for because they are overdue; days differ by zone at most by one."""
    asking = DunningCampaign.objects.filter(is_active=True, on_overdue=True)
    if not asking.exists():
        return []
    plan = "subscription__plan_version__plan"
    rows = Invoice.objects.filter(
        Q(account__in=asking.values("accounts__account"))
        | Q(**{f"{plan}__in": asking.filter(plans__isnull=False).values("plans__plan")})
        | Q(is_grouped=True),
        status=InvoiceStatus.OPEN,
        dunning_cases__isnull=True,
        next_attempt_at__isnull=True,
    ).filter(
        Q(account__test_clock__isnull=True, due_date__lte=at.date())
        | Q(account__test_clock__now_at__date__gte=F("due_date"))
    )
    return _list(rows, at, limit, accounts)
