"""
Schedules as their owners handle them: make, edit, cancel, release. Steps that are due are done at once.

Source: contract chapter Schedules; ADR 0026.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts.models import (
    Account,
    SchedulePhase,
    ScheduleStatus,
    Subscription,
    SubscriptionSchedule,
    SubscriptionStatus,
)
from accounts.queries.schedules import describe_schedule
from accounts.queries.snapshots import find_changes
from accounts.services.account_locks import lock_account, lock_open_account
from accounts.services.schedule_phases import NewPhase, PhaseReader
from accounts.services.schedules import finish_schedule
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.platform.services import events
from invoicing.services.cancellations import cancel_subscription as end_now
from invoicing.services.schedule_steps import advance_schedule, catch_up, try_schedule


class ScheduleExists(DomainError):
    code, title, status = "schedule_exists", "This subscription has a schedule", 409


@transaction.atomic
def create_schedule(
    *,
    account: Account,
    phases: Sequence[NewPhase],
    at: datetime,
    actor: Actor,
    subscription: Subscription | None = None,
    start_date: datetime | None = None,
    end_behavior: str = "release",
    metadata: dict[str, Any] | None = None,
    self_service: bool = False,
    reason: str = "",
) -> SubscriptionSchedule:
    """
    Plan phases, over a running `subscription` of the account or for one that the first phase starts; return the plan.

    It begins at `start_date`, else where the first phase does, else at `at`. What is due by `at` is done at once, in
    order and as of its own instants, so a start in the past is caught up.
    :raises ValidationFailed: when the phases overlap, leave gaps, run backwards or cannot be sold.
    :raises PlanNotFound: when a phase names a plan that is not on sale.
    :raises PlanNotSubscribable: with `self_service`, for a plan sold by staff only.
    :raises ScheduleExists: when the subscription has an unfinished one.
    :raises InvalidState: for a closed account, or a subscription that has ended or is going to end.
    :raises SubscriptionExists: when a subscription that is to start now is running already.
    """
    lock_open_account(account.pk)
    if subscription is not None:
        catch_up(subscription_id=subscription.id, at=at, actor=actor)
        subscription = _get_running(account, subscription)
    start = _choose_start(start_date, phases, at)
    reader = PhaseReader(account=account, at=at, subscription=subscription, self_service=self_service)
    rows = reader.read(phases, start=start)
    schedule = SubscriptionSchedule(
        account=account,
        subscription=subscription,
        status=ScheduleStatus.NOT_STARTED,
        start_date=rows[0].start,
        end_behavior=end_behavior,
        currency=reader.currency,
        next_step_at=rows[0].start,
        livemode=account.livemode,
        metadata=metadata or {},
    )
    try:
        with transaction.atomic():
            schedule.save(force_insert=True)
    except IntegrityError as error:
        if "subscription_schedules_one_unfinished" not in str(error):
            raise
        raise ScheduleExists("Release or cancel the schedule that the subscription has.") from error
    _store_phases(schedule, rows)
    _emit("created", schedule, rows, before={}, at=at, actor=actor, reason=reason)
    advance_schedule(schedule_id=schedule.id, at=at, actor=actor)
    return _reload(schedule)


@transaction.atomic
def update_schedule(
    *,
    schedule_id: UUID,
    at: datetime,
    actor: Actor,
    phases: Sequence[NewPhase] | None = None,
    end_behavior: str | None = None,
    metadata: dict[str, Any] | None = None,
    expected_revision: int | None = None,
    self_service: bool = False,
    reason: str = "",
) -> SubscriptionSchedule:
    """
    Replace the phases, the end behaviour or the metadata of an unfinished schedule and return it.

    What is due is done first. `phases` are all of them: those that are over stay as they are, the running one may only
    get another end, the others are free. What is due of the new phases is done too. Without a change nothing happens.
    :raises InvalidState: if it is completed, released or canceled, or `expected_revision` is not the stored one.
    :raises ValidationFailed: for phases that cannot be, or that change what has begun.
    :raises PlanNotFound: when a phase names a plan that is not on sale.
    """
    schedule = _lock_unfinished(schedule_id, at=at, actor=actor)
    if expected_revision is not None and expected_revision != schedule.revision:
        raise InvalidState("Somebody changed the schedule meanwhile.", current_status=schedule.status)
    old = list(schedule.phases.order_by("position"))
    before = describe_schedule(schedule, old)
    rows = old if phases is None else _read_edit(schedule, phases, old, at=at, self_service=self_service)
    schedule.start_date = rows[0].start
    schedule.end_behavior = schedule.end_behavior if end_behavior is None else end_behavior
    schedule.metadata = schedule.metadata if metadata is None else metadata
    after = describe_schedule(schedule, rows)
    if after == before:
        return _reload(schedule)
    schedule.find_next_step(rows)
    schedule.failed_at, schedule.failure_code, schedule.failure_detail = None, "", ""
    schedule.revision += 1
    schedule.save()
    if rows is not old:
        schedule.phases.all().delete()
        _store_phases(schedule, rows)
    _emit("updated", schedule, rows, before=before, at=at, actor=actor, reason=reason)
    advance_schedule(schedule_id=schedule.id, at=at, actor=actor)
    return _reload(schedule)


@transaction.atomic
def cancel_schedule(
    *,
    schedule_id: UUID,
    at: datetime,
    actor: Actor,
    cancel_subscription: bool = True,
    reason: str = "",
) -> SubscriptionSchedule:
    """
    Cancel a schedule and, unless told otherwise, end its subscription at once; return the schedule.

    Usage so far is invoiced, fees are not given back. What was due is done first.
    :raises InvalidState: if it is completed, released or canceled.
    """
    schedule = _lock_unfinished(schedule_id, at=at, actor=actor)
    _finish(schedule, ScheduleStatus.CANCELED, at=at, actor=actor, reason=reason)
    subscription = schedule.subscription
    if cancel_subscription and subscription is not None and subscription.is_running:
        end_now(subscription_id=subscription.id, at=at, actor=actor, at_period_end=False, comment=reason)
    return _reload(schedule)


@transaction.atomic
def release_schedule(*, schedule_id: UUID, at: datetime, actor: Actor, reason: str = "") -> SubscriptionSchedule:
    """
    Let the subscription go on as it is, without the schedule, and return the schedule. What was due is done first.

    :raises InvalidState: if it is completed, released or canceled.
    """
    schedule = _lock_unfinished(schedule_id, at=at, actor=actor)
    _finish(schedule, ScheduleStatus.RELEASED, at=at, actor=actor, reason=reason)
    return _reload(schedule)


def _get_running(account: Account, subscription: Subscription) -> Subscription:
    found = (
        Subscription.objects.select_for_update(of=("self",))
        .select_related("plan_version__plan")
        .filter(pk=subscription.pk, account=account)
        .first()
    )
    if found is None:
        raise NotFound("subscription")
    if found.status == SubscriptionStatus.CANCELED:
        raise InvalidState("The subscription has ended.", current_status=found.status)
    if found.cancel_at_period_end:
        raise InvalidState("The subscription is going to end: take that back first.", current_status=found.status)
    return found


def _choose_start(start_date: datetime | None, phases: Sequence[NewPhase], at: datetime) -> datetime:
    first = phases[0].start if phases else None
    if start_date is not None and first is not None and start_date != first:
        raise ValidationFailed.of("/start_date", "contradiction", "The first phase starts when the schedule does.")
    return start_date or first or at


def _lock_unfinished(schedule_id: UUID, *, at: datetime, actor: Actor) -> SubscriptionSchedule:
    """
    Lock the account and the schedule, with its due steps done, and return it.

    A step that is refused stays due: a schedule that cannot go on can still be edited, released and canceled.
    """
    owner = SubscriptionSchedule.objects.filter(pk=schedule_id).values_list("account_id", flat=True).first()
    if owner is None:
        raise NotFound("subscription_schedule")
    lock_account(owner)
    try_schedule(schedule_id=schedule_id, at=at, actor=actor)
    locked = SubscriptionSchedule.objects.select_for_update(of=("self",)).select_related("account__test_clock")
    schedule = locked.get(pk=schedule_id)
    if not schedule.is_unfinished:
        raise InvalidState(f"The schedule is {schedule.status}.", current_status=schedule.status)
    return schedule


def _read_edit(
    schedule: SubscriptionSchedule,
    phases: Sequence[NewPhase],
    old: Sequence[SchedulePhase],
    *,
    at: datetime,
    self_service: bool,
) -> list[SchedulePhase]:
    begun = old[: 0 if schedule.entered is None else schedule.entered + 1]
    reader = PhaseReader(
        account=schedule.account,
        at=at,
        subscription=schedule.subscription,
        begun=begun,
        before=old,
        currency=schedule.currency,
        self_service=self_service,
    )
    return reader.read(phases, start=schedule.start_date)


def _store_phases(schedule: SubscriptionSchedule, rows: Sequence[SchedulePhase]) -> None:
    for row in rows:
        row.schedule = schedule
    SchedulePhase.objects.bulk_create(rows)


def _finish(schedule: SubscriptionSchedule, status: ScheduleStatus, *, at: datetime, actor: Actor, reason: str) -> None:
    phases = list(schedule.phases.order_by("position"))
    finish_schedule(schedule, phases, status, ended_at=at, at=at, actor=actor, reason=reason)


def _emit(
    what: str,
    schedule: SubscriptionSchedule,
    rows: Sequence[SchedulePhase],
    *,
    before: dict[str, Any],
    at: datetime,
    actor: Actor,
    reason: str,
) -> None:
    after = describe_schedule(schedule, rows)
    events.emit(
        f"subscription_schedule.{what}",
        subject=schedule,
        account_id=schedule.account_id,
        at=at,
        actor=actor,
        data=after,
        previous=find_changes(before, after),
        reason=reason,
    )


def _reload(schedule: SubscriptionSchedule) -> SubscriptionSchedule:
    return SubscriptionSchedule.objects.select_related("account__test_clock", "subscription").get(pk=schedule.pk)
