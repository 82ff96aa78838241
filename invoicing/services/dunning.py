"""
Dunning: what follows when an invoice could not be collected, attempt by attempt, and what ends it.

Both functions run in the transaction that settles an attempt or a payment, which has locked the account, the
subscriptions and the invoice. What takes more than these rows (ending subscriptions, starting the free plan) is left
to `dunning_ends`. Source: contract chapters Subscriptions, Collection and Dunning; ADR 0056.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from accounts.models import PaymentMethod, Subscription, SubscriptionStatus
from accounts.queries.snapshots import describe_subscription, find_changes
from billing_site.kernel import jobs
from billing_site.kernel.actors import Actor
from billing_site.platform.services import events
from invoicing.calculation.dunning import Message
from invoicing.gateways.declines import PERMANENT, is_permanent
from invoicing.models import (
    OPEN_CASES,
    STEPPING_CASES,
    AttemptOutcome,
    DunningAttempt,
    DunningCase,
    DunningEnd,
    DunningStatus,
    Invoice,
    InvoiceStatus,
)
from invoicing.queries.collection import choose_method, is_collected_by_itself
from invoicing.queries.dunning import (
    find_last_payment,
    find_open_case,
    find_terms,
    list_chargeable,
    list_subscriptions,
)
from invoicing.services.dunning_mails import queue_dunning_mail
from invoicing.services.writing_off import write_off

SETTLE_JOB: Final = "invoicing.settle_dunning"
COLUMNS: Final = (
    "status",
    "step",
    "next_step_at",
    "stop_reason",
    "held_until",
    "ended_at",
    "settled_at",
    "updated_at",
)


def record_failed_attempt(invoice: Invoice, *, decline_reason: str, at: datetime, actor: Actor) -> DunningCase | None:
    """
    Decide what follows an attempt to collect a locked invoice that failed, and return its case; None: nothing does.

    The first failure opens the case: subscriptions that were active are past due, and the next attempt has its time. An
    attempt made when a step was due is that step, whoever asked for it; any other one changes nothing of the times.
    After the last step the invoice is given up and the subscriptions end as the terms say. A decline that cannot get
    better stops attempts with methods, the steps go on without. `decline_reason` is that of the provider, or empty
    where no method was charged. Nothing follows for an invoice that is not collected by itself, or that is the start of
    a subscription that waits for its first payment: that has a deadline of its own.
    """
    if invoice.status != InvoiceStatus.OPEN:
        return None
    subscriptions = list_subscriptions(invoice)
    case = _lock_case(invoice)
    made_at = at if invoice.last_attempt_at is None else min(invoice.last_attempt_at, at)
    if case is None:
        if not _may_open(invoice, subscriptions):
            return None
        case = build_case(invoice, at=made_at)
        is_counted = True
    else:
        is_counted = case.status in STEPPING_CASES and case.next_step_at is not None and case.next_step_at <= made_at
        case.step += is_counted
    payment = find_last_payment(invoice.pk) if decline_reason else None
    method = None if payment is None else payment.payment_method
    usual = choose_method(invoice)
    is_usual = method is None or usual is None or method.pk == usual.pk
    if case.status != DunningStatus.HELD:
        if is_permanent(decline_reason) and (is_counted or is_usual):
            case.status, case.stop_reason = DunningStatus.STOPPED.value, decline_reason
        elif decline_reason and case.status == DunningStatus.STOPPED:
            case.status, case.stop_reason = DunningStatus.RUNNING.value, ""
    attempt = DunningAttempt(
        case=case,
        step=case.step if is_counted else 0,
        made_at=made_at,
        outcome=AttemptOutcome.FAILED if decline_reason else AttemptOutcome.NOT_TRIED,
        method=method,
        decline_reason=decline_reason,
        amount=invoice.amount_remaining,
    )
    move_on(case, invoice, subscriptions, attempt, at=at, actor=actor)
    return case


def build_case(invoice: Invoice, *, at: datetime) -> DunningCase:
    """Return a case, not stored yet, with the terms that hold for an invoice now; its first attempt was at `at`."""
    campaign, terms = find_terms(invoice)
    return DunningCase(
        account_id=invoice.account_id,
        invoice=invoice,
        campaign=campaign,
        step=1,
        delays_hours=list(terms.delays_hours),
        end_state=terms.end_state,
        messages=list(terms.messages),
        opened_at=at,
        livemode=invoice.livemode,
    )


def move_on(
    case: DunningCase,
    invoice: Invoice,
    subscriptions: Sequence[Subscription],
    attempt: DunningAttempt,
    *,
    at: datetime,
    actor: Actor,
) -> None:
    """
    Store a case and the attempt that did not pay, with what follows it: the next step, or the end. Locked as above.

    An attempt out of turn (step 0) leaves the times as they are; one that nobody of ours asked for is told by mail.
    """
    terms, is_new = case.terms, case._state.adding
    message: Message = "retry" if actor.type == "system" else "none"
    if attempt.step:
        message = terms.choose_message(case.step)
        case.next_step_at = terms.find_next(case.step, attempt.made_at)
        if case.next_step_at is None:
            case.status, case.ended_at = DunningStatus.EXHAUSTED.value, at
            case.settled_at = at if case.end_state == DunningEnd.UNPAID else None
    if is_new:
        case.save(force_insert=True)
    else:
        case.save(update_fields=COLUMNS)
    attempt.next_step_at = case.next_step_at
    attempt.message = message
    notice = queue_dunning_mail(case, invoice, message, at=at)
    attempt.notice_id = None if notice is None else notice.pk
    attempt.save(force_insert=True)
    move_subscriptions(subscriptions, SubscriptionStatus.PAST_DUE, invoice, at=at, actor=actor)
    if is_new:
        emit_case("started", case, invoice, at=at, actor=actor)
    if case.status != DunningStatus.EXHAUSTED:
        plan_attempt(case, invoice)
        return
    write_off(invoice, at=at, actor=actor, reason="Dunning is exhausted.")
    emit_case("ended", case, invoice, at=at, actor=actor)
    if case.end_state == DunningEnd.UNPAID:
        move_subscriptions(subscriptions, SubscriptionStatus.UNPAID, invoice, at=at, actor=actor)
    else:
        jobs.enqueue(SETTLE_JOB, case_id=str(case.pk))


def record_paid(invoices: Iterable[Invoice], *, at: datetime, actor: Actor) -> list[DunningCase]:
    """
    End the cases of locked invoices that are not open any more, and return them: paid, void, credited or given up.

    To be called in the transaction in which that happens, by whatever way. One query where none has a case.
    """
    found = {invoice.pk: invoice for invoice in invoices if invoice.status != InvoiceStatus.OPEN}
    if not found:
        return []
    cases = list(
        DunningCase.objects.select_for_update(of=("self",))
        .filter(invoice__in=found, status__in=OPEN_CASES)
        .order_by("id")
    )
    for case in cases:
        invoice = found[case.invoice_id]
        is_paid = invoice.status == InvoiceStatus.PAID
        if is_paid:
            _note_payment(case, invoice, at=at)
        end_case(case, DunningStatus.PAID if is_paid else DunningStatus.CANCELED, at=at)
        emit_case("ended", case, invoice, at=at, actor=actor)
    return cases


def choose_step_method(invoice: Invoice) -> PaymentMethod | None:
    """
    Return the method that a step of itself is to charge for an invoice; None for none.

    That is the usual one, unless it was declined for good in this case and another one came since: then that. While a
    case is stopped there is none.
    """
    usual = choose_method(invoice) if is_collected_by_itself(invoice) else None
    case = find_open_case(invoice.pk)
    if case is None or usual is None:
        return usual
    if case.status == DunningStatus.STOPPED:
        return None
    declined = DunningAttempt.objects.filter(case=case, decline_reason__in=PERMANENT, method__isnull=False)
    dead = set(declined.values_list("method_id", flat=True))
    if usual.pk not in dead:
        return usual
    newer = list_chargeable(invoice.account_id).filter(attached_at__gte=case.opened_at).exclude(pk__in=dead)
    return newer.order_by("-id").first() or usual


def end_case(case: DunningCase, status: DunningStatus, *, at: datetime) -> None:
    """Store that a locked open case has ended."""
    case.status, case.ended_at = status.value, at
    case.next_step_at = case.held_until = None
    case.save(update_fields=COLUMNS)


def plan_attempt(case: DunningCase, invoice: Invoice) -> None:
    """Store on a locked invoice when it is to be collected by itself: with the next step, unless the case is held."""
    planned = case.next_step_at if case.status in STEPPING_CASES else None
    if invoice.next_attempt_at != planned:
        invoice.next_attempt_at = planned
        invoice.save(update_fields=["next_attempt_at", "updated_at"])


def move_subscriptions(
    subscriptions: Sequence[Subscription],
    status: SubscriptionStatus,
    invoice: Invoice,
    *,
    at: datetime,
    actor: Actor,
) -> list[Subscription]:
    """Take locked subscriptions that may become past due, or unpaid, to that status, and return them."""
    moved = []
    for subscription in subscriptions:
        if not subscription.can_become(status):
            continue
        before = describe_subscription(subscription)
        subscription.status = status.value
        subscription.save(update_fields=["status", "updated_at"])
        after = describe_subscription(subscription)
        events.emit(
            f"subscription.{status.value}",
            subject=subscription,
            account_id=subscription.account_id,
            at=at,
            actor=actor,
            data=after | {"invoice_id": invoice.public_id},
            previous=find_changes(before, after),
        )
        moved.append(subscription)
    return moved


def emit_case(
    what: str,
    case: DunningCase,
    invoice: Invoice,
    *,
    at: datetime,
    actor: Actor,
    previous: Mapping[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Append the event `dunning.<what>`."""
    events.emit(
        f"dunning.{what}",
        subject=case,
        account_id=case.account_id,
        at=at,
        actor=actor,
        data=describe_case(case) | {"invoice_id": invoice.public_id, "amount_remaining": invoice.amount_remaining},
        previous=previous,
        reason=reason,
    )


def describe_case(case: DunningCase) -> dict[str, Any]:
    """Return what an event says of a case."""
    return {
        "id": case.public_id,
        "status": case.status,
        "step": case.step,
        "attempts": case.terms.attempts,
        "end_state": case.end_state,
        "next_step_at": case.next_step_at,
        "stop_reason": case.stop_reason or None,
        "held_until": case.held_until,
    }


def _lock_case(invoice: Invoice) -> DunningCase | None:
    return DunningCase.objects.select_for_update(of=("self",)).filter(invoice=invoice, status__in=OPEN_CASES).first()


def _may_open(invoice: Invoice, subscriptions: Sequence[Subscription]) -> bool:
    """Tell whether a first failure is followed up. One whose dunning a person has ended is not asked for again."""
    if any(each.status == SubscriptionStatus.INCOMPLETE for each in subscriptions):
        return False
    if not is_collected_by_itself(invoice) or not list_chargeable(invoice.account_id).exists():
        return False
    last = DunningCase.objects.filter(invoice=invoice).order_by("-id").values_list("status", flat=True).first()
    return last != DunningStatus.CANCELED


def _note_payment(case: DunningCase, invoice: Invoice, *, at: datetime) -> None:
    """Keep what paid the invoice: the attempt of the step that was due, or money that came out of turn."""
    made_at = invoice.last_attempt_at
    is_due = case.status in STEPPING_CASES and case.next_step_at is not None
    is_step = is_due and made_at is not None and case.next_step_at is not None and case.next_step_at <= made_at
    payment = find_last_payment(invoice.pk)
    method = payment.payment_method if payment is not None and payment.amount_received else None
    if is_step:
        case.step += 1
    DunningAttempt.objects.create(
        case=case,
        step=case.step if is_step else 0,
        made_at=made_at if is_step and made_at is not None else at,
        outcome=AttemptOutcome.PAID,
        method=method,
        amount=0,
    )
