"""The end of schedules: with their subscription, or by themselves. Nothing is billed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from accounts.models import UNFINISHED_SCHEDULES, SchedulePhase, ScheduleStatus, SubscriptionSchedule
from accounts.queries.schedules import describe_schedule, with_phases
from accounts.queries.snapshots import find_changes
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState
from billing_site.platform.services import events


def finish_schedule(
    schedule: SubscriptionSchedule,
    phases: Sequence[SchedulePhase],
    status: ScheduleStatus,
    *,
    ended_at: datetime,
    at: datetime,
    actor: Actor,
    reason: str = "",
) -> None:
    """
    End a locked schedule as of `ended_at`; `at` is when it is really done, which the event tells.

    :raises InvalidState: when the transition table does not allow `status`.
    """
    if not schedule.can_become(status):
        raise InvalidState(f"The schedule is {schedule.status}.", current_status=schedule.status)
    before = describe_schedule(schedule, phases)
    schedule.status, schedule.ended_at, schedule.next_step_at = status, ended_at, None
    schedule.failed_at, schedule.failure_code, schedule.failure_detail = None, "", ""
    schedule.revision += 1
    schedule.save()
    after = describe_schedule(schedule, phases)
    events.emit(
        f"subscription_schedule.{status}",
        subject=schedule,
        account_id=schedule.account_id,
        at=at,
        actor=actor,
        data=after,
        previous=find_changes(before, after),
        reason=reason,
    )


def cancel_schedules_of(ended: Mapping[UUID, datetime], *, actor: Actor, reason: str = "") -> int:
    """
    Cancel the unfinished schedules of subscriptions that end, by when they do, and return how many there were.

    Runs in the transaction that ends the subscriptions. One query when there are none.
    Source: ADR 0026.
    """
    if not ended:
        return 0
    unfinished = SubscriptionSchedule.objects.filter(subscription_id__in=list(ended), status__in=UNFINISHED_SCHEDULES)
    # Locking and loading are two queries: an outer join cannot be locked.
    keys = list(unfinished.select_for_update(no_key=True).order_by("id").values_list("id", flat=True))
    if not keys:
        return 0
    for schedule in with_phases(SubscriptionSchedule.objects.filter(id__in=keys)).order_by("id"):
        if schedule.subscription_id is not None:
            at = ended[schedule.subscription_id]
            phases = list(schedule.phases.all())
            finish_schedule(schedule, phases, ScheduleStatus.CANCELED, ended_at=at, at=at, actor=actor, reason=reason)
    return len(keys)
