"""Schedules of accounts: what callers see of them, what is due, and what comes when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Prefetch, Q, QuerySet

from accounts.models import UNFINISHED_SCHEDULES, Account, SchedulePhase, SubscriptionSchedule
from accounts.queries.access import WRITING_ROLES, require_role, visible_accounts
from accounts.terms.phases import StepKind, list_due_steps
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound
from billing_site.kernel.periods import Period


@dataclass(frozen=True, slots=True)
class UpcomingStep:
    """What a schedule does at `at`: enter phase number `index` (from 0), or end after it."""

    at: datetime
    schedule: SubscriptionSchedule
    kind: StepKind
    index: int
    plan_key: str


def list_schedules(accounts: QuerySet[Account], *, status: str | None = None) -> QuerySet[SubscriptionSchedule]:
    """Return the schedules of `accounts`, ended ones included, with their phases."""
    found = with_phases(SubscriptionSchedule.objects.filter(account__in=accounts.order_by()))
    return found if status is None else found.filter(status=status)


def find_schedule(principal: Principal, reference: str, *, write: bool = False) -> SubscriptionSchedule:
    """
    Return a schedule the caller may see, by public id, with its account, clock and phases.

    :raises NotFound: when there is none, or the caller does not see it.
    :raises AccountForbidden: with `write`, when a public caller may only read.
    """
    key = SubscriptionSchedule.parse_id(reference)
    visible = SubscriptionSchedule.objects.filter(account__in=visible_accounts(principal).order_by())
    found = None if key is None else with_phases(visible.filter(pk=key)).first()
    if found is None:
        raise NotFound("subscription_schedule")
    if write:
        require_role(principal, found.account, WRITING_ROLES)
    return found


def with_phases(schedules: QuerySet[SubscriptionSchedule]) -> QuerySet[SubscriptionSchedule]:
    """Load account, clock, subscription and the phases in order."""
    phases = SchedulePhase.objects.order_by("position")
    return schedules.select_related("account__test_clock", "subscription").prefetch_related(
        Prefetch("phases", queryset=phases)
    )


def describe_schedule(schedule: SubscriptionSchedule, phases: Iterable[SchedulePhase]) -> dict[str, Any]:
    """Return what an event stores of a schedule: its state after the change, with public ids."""
    subscription = schedule.subscription
    return {
        "id": schedule.public_id,
        "subscription_id": None if subscription is None else subscription.public_id,
        "status": schedule.status,
        "start_date": schedule.start_date,
        "end_behavior": schedule.end_behavior,
        "current_phase": schedule.entered,
        "ended_at": schedule.ended_at,
        "phases": [describe_phase(phase) for phase in phases],
        "metadata": schedule.metadata,
    }


def describe_phase(phase: SchedulePhase) -> dict[str, Any]:
    """Return a phase as it was agreed."""
    return {
        "plan_id": phase.plan_key,
        "items": phase.items,
        "start_date": phase.start,
        "end_date": phase.end,
        "trial_end": phase.trial_end,
        "proration_behavior": phase.proration_behavior,
    }


def list_due_schedules(
    *,
    as_of: datetime,
    org_id: str | None = None,
    account_id: UUID | None = None,
    subscription_id: UUID | None = None,
    limit: int | None = None,
) -> list[UUID]:
    """
    Return the schedules with a step due as of `as_of`: those never refused first, then the longest overdue.

    Accounts on a test clock are due by their own clock, whatever `as_of` says.
    """
    is_due = Q(account__test_clock__isnull=True, next_step_at__lte=as_of) | Q(
        next_step_at__lte=F("account__test_clock__now_at")
    )
    found = SubscriptionSchedule.objects.filter(is_due, status__in=UNFINISHED_SCHEDULES)
    if org_id is not None:
        found = found.filter(account__org_id=org_id)
    if account_id is not None:
        found = found.filter(account_id=account_id)
    if subscription_id is not None:
        found = found.filter(subscription_id=subscription_id)
    ids = found.order_by(F("failed_at").asc(nulls_first=True), "next_step_at", "id").values_list("id", flat=True)
    return list(ids if limit is None else ids[:limit])


def load_waits(subscription_ids: Iterable[UUID]) -> dict[UUID, datetime]:
    """Return, by subscription, from when on billing waits for the next step of its schedule. One query."""
    waiting = SubscriptionSchedule.objects.filter(
        subscription_id__in=list(subscription_ids), status__in=UNFINISHED_SCHEDULES, next_step_at__isnull=False
    )
    rows = waiting.order_by().values_list("subscription_id", "next_step_at")
    return {key: at for key, at in rows if at is not None}


def list_upcoming_steps(accounts: QuerySet[Account], *, within: Period) -> list[UpcomingStep]:
    """
    Return what the schedules of `accounts` are going to do in `within` (half-open), in order. Two queries.

    Overdue steps are not among them unless `within` reaches back.
    """
    unfinished = SubscriptionSchedule.objects.filter(
        account__in=accounts.order_by(), status__in=UNFINISHED_SCHEDULES, next_step_at__lt=within.end
    )
    found = [
        step
        for schedule in with_phases(unfinished).order_by("id")
        for step in _list_steps(schedule, list(schedule.phases.all()), until=within.end)
        if within.start <= step.at < within.end
    ]
    return sorted(found, key=lambda step: (step.at, step.schedule.id))


def _list_steps(
    schedule: SubscriptionSchedule, phases: Sequence[SchedulePhase], *, until: datetime
) -> list[UpcomingStep]:
    steps = list_due_steps(
        [phase.terms for phase in phases],
        entered=schedule.entered,
        end_behavior="cancel" if schedule.end_behavior == "cancel" else "release",
        at=until,
    )
    return [UpcomingStep(step.at, schedule, step.kind, step.index, phases[step.index].plan_key) for step in steps]
