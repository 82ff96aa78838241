"""
The steps of schedules: entering a phase, and ending after the last.

Each step counts from its own instant, however late it is done. What falls due before it is billed first, by the terms
of the phase before; billing itself waits for the step (`load_waits`). So a schedule that is caught up after a downtime
bills what it would have billed in time. Source: contract chapter Schedules; ADR 0026.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction

from accounts.models import (
    UNFINISHED_SCHEDULES,
    Account,
    EndBehavior,
    SchedulePhase,
    ScheduleStatus,
    Subscription,
    SubscriptionSchedule,
)
from accounts.queries.schedules import describe_phase, describe_schedule, list_due_schedules
from accounts.queries.snapshots import describe_subscription, find_changes
from accounts.services.account_locks import lock_account
from accounts.services.schedule_phases import choose_interval, count_trial_days
from accounts.services.schedules import finish_schedule
from accounts.services.subscriptions import create_subscription
from accounts.terms.changes import ProrationBehavior
from accounts.terms.phases import EndBehavior as EndWord
from accounts.terms.phases import Step, list_due_steps
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError, NotFound
from billing_site.platform.services import events
from catalog.queries.plans import get_sellable_plan
from invoicing.queries.policies import find_seller_policies
from invoicing.services.billing import bill_subscriptions, lock_subscriptions
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.endings import end_subscription

logger = logging.getLogger(__name__)

_FAILURE_COLUMNS = ("failed_at", "failure_code", "failure_detail", "updated_at")


@dataclass(slots=True)
class SweptSchedules:
    """What a sweep did: how many steps of how many schedules, and the schedules whose step was refused."""

    schedules: int = 0
    steps: int = 0
    failed: list[UUID] = field(default_factory=list)


def sweep_due_schedules(
    *,
    at: datetime,
    limit: int | None = 200,
    org_id: str | None = None,
    account_id: UUID | None = None,
    actor: Actor = SYSTEM,
) -> SweptSchedules:
    """
    Do every due step of at most `limit` schedules (None: all), each schedule in a transaction of its own.

    A refused step is written on its schedule, tried again by later sweeps, and stops no other schedule. Losing the
    database raises; the next sweep comes back.
    """
    swept = SweptSchedules()
    for schedule_id in list_due_schedules(as_of=at, org_id=org_id, account_id=account_id, limit=limit):
        steps = try_schedule(schedule_id=schedule_id, at=at, actor=actor)
        if steps is None:
            swept.failed.append(schedule_id)
        elif steps:
            swept.schedules += 1
            swept.steps += len(steps)
    return swept


def catch_up(*, subscription_id: UUID, at: datetime, actor: Actor) -> None:
    """Do what is due of the subscription's schedule before something else changes it; a refusal is written down."""
    for schedule_id in list_due_schedules(as_of=at, subscription_id=subscription_id):
        try_schedule(schedule_id=schedule_id, at=at, actor=actor)


def try_schedule(*, schedule_id: UUID, at: datetime, actor: Actor) -> list[Step] | None:
    """Do the due steps of one schedule and return them; None when one was refused, which the schedule then tells."""
    try:
        return advance_schedule(schedule_id=schedule_id, at=at, actor=actor)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if not isinstance(error, DomainError):
            logger.exception("a step of schedule %s failed", schedule_id)
        _record_failure(schedule_id, error, at)
        return None


def _record_failure(schedule_id: UUID, error: Exception, at: datetime) -> None:
    unexpected = f"Unexpected failure ({type(error).__name__}); the log has the details."
    code, detail = (error.code, error.detail) if isinstance(error, DomainError) else ("internal_error", unexpected)
    SubscriptionSchedule.objects.filter(id=schedule_id, status__in=UNFINISHED_SCHEDULES).update(
        failed_at=at, failure_code=code, failure_detail=detail
    )


@transaction.atomic
def advance_schedule(*, schedule_id: UUID, at: datetime, actor: Actor) -> list[Step]:
    """
    Do every step that is due, in order, each as of its own instant, and return them; all of them or none.

    `at` is when that is really done: the time of the events and the day of the invoices. An account on a test clock has
    its own. Nothing is done while another process holds the schedule.
    :raises NotFound: when there is no such schedule.
    :raises DomainError: when the product refuses a step, such as a plan that is no longer sold.
    """
    owner = SubscriptionSchedule.objects.filter(pk=schedule_id).values_list("account_id", flat=True).first()
    if owner is None:
        raise NotFound("subscription_schedule")
    account = lock_account(owner)
    schedule = (
        SubscriptionSchedule.objects.select_for_update(skip_locked=True)
        .filter(pk=schedule_id, status__in=UNFINISHED_SCHEDULES)
        .first()
    )
    if schedule is None:
        return []
    now = account.clock_time or at
    phases = list(schedule.phases.order_by("position"))
    due = list_due_steps(
        [phase.terms for phase in phases],
        entered=schedule.entered,
        end_behavior=cast(EndWord, schedule.end_behavior),
        at=now,
    )
    stepping = _Stepping(account, schedule, phases, now, actor)
    for step in due:
        stepping.take(step)
    stepping.bill_what_started()
    return due


@dataclass(slots=True)
class _Stepping:
    """One pass over the due steps of a locked schedule. `now` is when they are really done."""

    account: Account
    schedule: SubscriptionSchedule
    phases: Sequence[SchedulePhase]
    now: datetime
    actor: Actor
    started: bool = False

    def take(self, step: Step) -> None:
        """Bill what falls due before the step, then do it as of its instant."""
        subscription = self._bill_before()
        if step.kind != "enter":
            self._end(step, subscription)
            return
        before = describe_schedule(self.schedule, self.phases)
        phase = self.phases[step.index]
        if subscription is None:
            subscription = self._start(phase)
        else:
            self._change(subscription, phase)
        schedule = self.schedule
        schedule.subscription = subscription
        schedule.status, schedule.entered = ScheduleStatus.ACTIVE, step.index
        schedule.find_next_step(self.phases)
        schedule.failed_at, schedule.failure_code, schedule.failure_detail = None, "", ""
        schedule.revision += 1
        schedule.save()
        after = describe_schedule(schedule, self.phases)
        events.emit(
            "subscription_schedule.phase_started",
            subject=schedule,
            account_id=schedule.account_id,
            at=self.now,
            actor=self.actor,
            data=after | {"phase": describe_phase(phase), "started_at": step.at},
            previous=find_changes(before, after),
        )

    def bill_what_started(self) -> None:
        """Bill a subscription that a step has started: its first fee in advance, and what has passed since."""
        if self.started and self.schedule.subscription_id is not None:
            bill_subscriptions(subscription_ids=[self.schedule.subscription_id], as_of=self.now, actor=self.actor)

    def _bill_before(self) -> Subscription | None:
        """Bill the subscription up to the next step, which is the one to be taken, and return it as it is then."""
        if self.schedule.subscription_id is None:
            return None
        (billed,) = bill_subscriptions(
            subscription_ids=[self.schedule.subscription_id], as_of=self.now, actor=self.actor
        )
        return billed.subscription

    def _start(self, phase: SchedulePhase) -> Subscription:
        self.started = True
        return create_subscription(
            account=self.account,
            plan_key=phase.plan_key,
            at=self.now,
            actor=self.actor,
            quantity=phase.quantity or 1,
            interval=phase.interval or self._choose_interval(phase.plan_key),
            currency=self.schedule.currency,
            trial_period_days=count_trial_days(phase.start, phase.trial_end, zone=self.account.zone),
            start_at=phase.start,
            alignment=find_seller_policies(self.account).alignment,
        )

    def _choose_interval(self, plan_key: str) -> str:
        version = get_sellable_plan(org_id=self.account.org_id, key=plan_key)
        return choose_interval(version.prices.all(), currency=self.schedule.currency)

    def _change(self, subscription: Subscription, phase: SchedulePhase) -> None:
        """Let the phase take over; where it begins with a period, that period's boundary is billed by its terms."""
        opens = subscription.next_billing_at == phase.start == subscription.current_period_end
        change_subscription(
            subscription_id=subscription.id,
            request=ChangeRequest(
                plan_key=phase.plan_key,
                quantity=phase.quantity,
                interval=phase.interval or None,
                effective="period_end" if opens else "immediate",
                proration_behavior=cast(ProrationBehavior, phase.proration_behavior),
            ),
            at=phase.start,
            actor=self.actor,
            reason="A phase of the schedule started.",
        )

    def _end(self, step: Step, subscription: Subscription | None) -> None:
        """Complete the schedule. What is to end with it ends at the step, with nothing that would begin there."""
        ending = self.schedule.end_behavior == EndBehavior.CANCEL
        finish_schedule(
            self.schedule,
            self.phases,
            ScheduleStatus.COMPLETED,
            ended_at=step.at,
            at=self.now,
            actor=self.actor,
        )
        if not ending or subscription is None or not subscription.is_running:
            return
        (subscription,) = lock_subscriptions([subscription.id])
        before = describe_subscription(subscription)
        subscription.canceled_at = step.at
        subscription.save(update_fields=["canceled_at", "updated_at"])
        end_subscription(
            subscription, before, at=step.at, actor=self.actor, comment="The schedule has ended.", as_of=self.now
        )
