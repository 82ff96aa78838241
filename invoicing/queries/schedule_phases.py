"""
Boundaries to come of subscriptions with schedules, for queries that look ahead: phases take over in memory.

A phase that begins in the middle of a period takes over at the next boundary here, without what it prorates.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from accounts.models import Subscription, SubscriptionStatus
from accounts.queries.schedules import UpcomingStep
from catalog.queries.plans import PlanNotFound, get_sellable_plan
from catalog.queries.prices import list_prices_of_versions
from invoicing.queries.billables import Billables, DueBoundary
from invoicing.queries.facts import get_boundary


def group_steps(steps: Sequence[UpcomingStep]) -> Mapping[uuid.UUID, list[UpcomingStep]]:
    """Return the steps by the subscription they are for; those that start one are left out."""
    grouped: dict[uuid.UUID, list[UpcomingStep]] = defaultdict(list)
    for step in steps:
        if step.schedule.subscription_id is not None:
            grouped[step.schedule.subscription_id].append(step)
    return grouped


def get_boundary_with_phases(
    subscription: Subscription, steps: list[UpcomingStep], billables: Billables, instant: datetime
) -> DueBoundary | None:
    """
    Return the next boundary, at `instant`, with the phases that begin by then taking over at it, in memory.

    None where a schedule ends the subscription. `steps` loses those that are done.
    """
    while steps and steps[0].at <= instant:
        step = steps.pop(0)
        if step.kind == "cancel":
            subscription.status = SubscriptionStatus.CANCELED
            return None
        if step.kind == "enter":
            _enter(subscription, step, billables)
    return get_boundary(subscription)


def _enter(subscription: Subscription, step: UpcomingStep, billables: Billables) -> None:
    """Let the plan and quantity of a phase take over at the next boundary."""
    try:
        version = get_sellable_plan(org_id=subscription.account.org_id, key=step.plan_key)
    except PlanNotFound:
        return
    subscription.drop_pending_change()
    if version.plan_id != subscription.plan_version.plan_id:
        subscription.pending_plan_version = version
        prices = dict(billables.pending_prices)
        prices.update(list_prices_of_versions([version.id]))
        billables.pending_prices = prices
    phase = step.schedule.phases.all()[step.index]
    if phase.quantity is not None and phase.quantity != subscription.quantity:
        subscription.pending_quantity = phase.quantity
