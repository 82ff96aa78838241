"""
Moving a story's clock: everything that falls due on the way happens in order, as the schedules would do it.

The clock stops at every instant at which something is due, and there does what the beat schedules do; so a month passed
in one step is the same month as one passed in thirty. Adding a schedule: one more entry in `SCHEDULES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from accounts.models import (
    BILLABLE_STATUSES,
    UNFINISHED_SCHEDULES,
    CreditGrant,
    CreditLot,
    Subscription,
    SubscriptionSchedule,
)
from accounts.queries.schedules import list_due_schedules
from accounts.services.credit_burning import renew_grants
from accounts.services.credit_grants import expire_grants
from accounts.services.deposits import expire_deposits
from billing_site.kernel import clock
from billing_site.kernel.money import format_decimal
from billing_site.kernel.periods import local_midnight
from invoicing.gateways.local import LocalGateway
from invoicing.models import BillingRun, DunningCampaign, DunningCase, Invoice, OutcomeStatus, RunOutcome
from invoicing.rehearsal.world import Refused, World
from invoicing.services.collecting import collect_due
from invoicing.services.cost_alerts import evaluate_cost_alerts
from invoicing.services.dunning_sweep import sweep_dunning
from invoicing.services.grace import sweep_grace_periods
from invoicing.services.incomplete import cancel_unpaid_starts
from invoicing.services.interim import sweep_interim_invoices
from invoicing.services.pauses import resume_due
from invoicing.services.run_work import work_run
from invoicing.services.runs import RunRequest, plan_run
from invoicing.services.schedule_steps import advance_schedule
from metering.models import CostAlert

# A payment that fails ends in a cancellation at most, and that in one more invoice.
_ROUNDS: Final = 20


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    One of the product's schedules, limited to the story.

    `find_next` returns the first instant in `(after, until]` at which it is due; `ring` does at `world.now` what is due
    and returns remarks.
    """

    name: str
    find_next: Callable[[World, datetime, datetime], datetime | None]
    ring: Callable[[World], list[str]]


def advance(world: World, to: datetime, *, stop: Callable[[list[str]], None]) -> None:
    """
    Move the clock to `to`, stopping wherever something is due; `stop` is told the remarks of each stop.

    What is due at `to` itself happens too.
    :raises Refused: when a subscription cannot be billed; the clock stays there.
    """
    while (due := _find_next(world, to)) is not None:
        world.move_clock(due)
        with clock.travel(due):
            remarks = [remark for schedule in SCHEDULES for remark in schedule.ring(world)]
        stop(remarks)
    world.move_clock(to)


def _find_next(world: World, until: datetime) -> datetime | None:
    found = [schedule.find_next(world, world.now, until) for schedule in SCHEDULES]
    return min((each for each in found if each is not None), default=None)


def run_cycle(world: World, *, account: str = "") -> list[str]:
    """
    Plan and work off a billing run of the story's organization, or of one account, and return what came of it.

    :raises Refused: when a subscription could not be billed.
    """
    run = plan_run(
        org_id=world.org_id,
        as_of=world.now,
        request=RunRequest(world.actor, reason="Rehearsal"),
        livemode=False,
        account=world.get_account(account) if account else None,
    )
    run = work_run(run_id=run.id, actor=world.actor)
    failed = RunOutcome.objects.filter(run=run, status=OutcomeStatus.FAILED).order_by("id").first()
    if failed is not None:
        raise Refused(failed.error_code, failed.error_detail)
    return [_describe_run(run)]


def _describe_run(run: BillingRun) -> str:
    statuses = list(RunOutcome.objects.filter(run=run).values_list("status", flat=True))
    if not statuses:
        return "billing run: nothing due"
    invoices, count = Invoice.objects.filter(run=run, in_review=False).count(), len(statuses)
    held = statuses.count(OutcomeStatus.HELD)
    subscriptions = f"{count} subscription{'' if count == 1 else 's'}"
    waiting = f", {held} held for review" if held else ""
    return f"billing run: {subscriptions}, {invoices} invoice{'' if invoices == 1 else 's'}{waiting}"


# ---- schedules ------------------------------------------------------------------------------------------------------
def _find_next_boundary(world: World, after: datetime, until: datetime) -> datetime | None:
    due = Subscription.objects.filter(
        account_id__in=world.account_ids,
        status__in=BILLABLE_STATUSES,
        next_billing_at__gt=after,
        next_billing_at__lte=until,
    )
    return due.order_by("next_billing_at").values_list("next_billing_at", flat=True).first()


def _ring_cycle(world: World) -> list[str]:
    is_due = Subscription.objects.filter(
        account_id__in=world.account_ids, status__in=BILLABLE_STATUSES, next_billing_at__lte=world.now
    )
    return run_cycle(world) if is_due.exists() else []


def _find_next_expiry(world: World, after: datetime, until: datetime) -> datetime | None:
    lots = CreditLot.objects.filter(
        account_id__in=world.account_ids, remaining__gt=0, expires_at__gt=after, expires_at__lte=until
    )
    return lots.order_by("expires_at").values_list("expires_at", flat=True).first()


def _ring_expiry(world: World) -> list[str]:
    due = CreditLot.objects.filter(account_id__in=world.account_ids, remaining__gt=0, expires_at__lte=world.now)
    if not due.exists():
        return []
    lots = expire_deposits(at=world.now, actor=world.actor, org_id=world.org_id).lots
    return [f"deposits expired: {lots}"]


def _find_next_credit(world: World, after: datetime, until: datetime) -> datetime | None:
    """Return when the next grant ends or is set back: one that recurs ends when it is."""
    grants = CreditGrant.objects.filter(
        account_id__in=world.account_ids, voided_at__isnull=True, expires_at__gt=after, expires_at__lte=until
    )
    return grants.order_by("expires_at").values_list("expires_at", flat=True).first()


def _ring_credit(world: World) -> list[str]:
    renewed = renew_grants(at=world.now, actor=world.actor, org_id=world.org_id)
    expired = expire_grants(at=world.now, actor=world.actor, org_id=world.org_id).grants
    remarks = [f"credit set back: {renewed}"] if renewed else []
    return [*remarks, f"credit expired: {expired}"] if expired else remarks


def _find_next_resume(world: World, after: datetime, until: datetime) -> datetime | None:
    due = Subscription.objects.filter(account_id__in=world.account_ids, resume_at__gt=after, resume_at__lte=until)
    return due.order_by("resume_at").values_list("resume_at", flat=True).first()


def _ring_resume(world: World) -> list[str]:
    due = Subscription.objects.filter(account_id__in=world.account_ids, resume_at__lte=world.now)
    return [f"pauses ended: {resume_due(at=world.now)}"] if due.exists() else []


def _find_next_step(world: World, after: datetime, until: datetime) -> datetime | None:
    steps = SubscriptionSchedule.objects.filter(
        account_id__in=world.account_ids,
        status__in=UNFINISHED_SCHEDULES,
        next_step_at__gt=after,
        next_step_at__lte=until,
    )
    return steps.order_by("next_step_at").values_list("next_step_at", flat=True).first()


def _ring_steps(world: World) -> list[str]:
    """Do the steps that are due; unlike the sweep, a step that is refused stops the story."""
    done = 0
    for schedule_id in list_due_schedules(as_of=world.now, org_id=world.org_id):
        done += len(advance_schedule(schedule_id=schedule_id, at=world.now, actor=world.actor))
    world.name_scheduled()
    return [f"schedules: {done} step{'' if done == 1 else 's'}"] if done else []


def _find_next_deadline(world: World, after: datetime, until: datetime) -> datetime | None:
    waiting = Subscription.objects.filter(
        account_id__in=world.account_ids, incomplete_until__gt=after, incomplete_until__lte=until
    )
    return waiting.order_by("incomplete_until").values_list("incomplete_until", flat=True).first()


def _ring_deadline(world: World) -> list[str]:
    late = Subscription.objects.filter(account_id__in=world.account_ids, incomplete_until__lte=world.now)
    if not late.exists():
        return []
    return [f"starts canceled, not paid in time: {cancel_unpaid_starts(at=world.now, actor=world.actor)}"]


def _find_next_grace(world: World, after: datetime, until: datetime) -> datetime | None:
    held = Invoice.objects.filter(
        account_id__in=world.account_ids, status="draft", finalize_at__gt=after, finalize_at__lte=until
    )
    return held.order_by("finalize_at").values_list("finalize_at", flat=True).first()


def _ring_grace(world: World) -> list[str]:
    issued = sweep_grace_periods(at=world.now, actor=world.actor, org_id=world.org_id)
    return [f"drafts issued: {len(issued)}"] if issued else []


def _find_next_attempt(world: World, after: datetime, until: datetime) -> datetime | None:
    """Return when the next invoice is to be collected, or dunning that is held goes on."""
    rows = {"account_id__in": world.account_ids}
    planned = Invoice.objects.filter(**rows, next_attempt_at__gt=after, next_attempt_at__lte=until)
    held = DunningCase.objects.filter(**rows, held_until__gt=after, held_until__lte=until)
    late = _find_next_overdue(world, after, until)
    found = [
        planned.order_by("next_attempt_at").values_list("next_attempt_at", flat=True).first(),
        held.order_by("held_until").values_list("held_until", flat=True).first(),
        late,
    ]
    return min((each for each in found if each is not None), default=None)


def _find_next_overdue(world: World, after: datetime, until: datetime) -> datetime | None:
    """Return the first midnight, where the account is, at which an open invoice becomes overdue; if anybody asks."""
    if not DunningCampaign.objects.filter(org_id=world.org_id, is_active=True, on_overdue=True).exists():
        return None
    rows = Invoice.objects.filter(account_id__in=world.account_ids, status="open", dunning_cases__isnull=True)
    days = [
        local_midnight(due + timedelta(days=1), ZoneInfo(zone))
        for due, zone in rows.values_list("due_date", "account__timezone")
        if due is not None
    ]
    return min((each for each in days if after < each <= until), default=None)


def collect_open(world: World) -> list[str]:
    """Do what follows an issued invoice, a failed payment and a new card, until nothing is left to do now."""
    tried = 0
    for _ in range(_ROUNDS):
        by: dict[str, Any] = {"at": world.now, "account_ids": world.account_ids, "gateway": LocalGateway()}
        attempts = collect_due(**by)
        if not attempts + sweep_dunning(**by):
            break
        tried += attempts
    return [f"invoices collected: {tried} tried"] if tried else []


def _find_next_period(world: World, after: datetime, until: datetime) -> datetime | None:
    """Return when the next alert that has had its say is armed again."""
    silent = CostAlert.objects.filter(
        account_id__in=world.account_ids, deleted_at__isnull=True, silent_until__gt=after, silent_until__lte=until
    )
    return silent.order_by("silent_until").values_list("silent_until", flat=True).first()


def look_at_alerts(world: World) -> list[str]:
    """Do what follows a change of costs: fire the alerts that are reached, and return what fired."""
    fired = evaluate_cost_alerts(account_ids=world.account_ids, at=world.now, actor=world.actor)
    return [
        f"alert {world.name_alert(firing.alert_id) or firing.alert} fired at"
        f" {format_decimal(firing.value, firing.currency)} {firing.currency.upper()}"
        for firing in fired
    ]


def bill_thresholds(world: World) -> list[str]:
    """Do what follows usage: invoice what has reached a threshold, and return remarks."""
    issued = sweep_interim_invoices(at=world.now, actor=world.actor, org_id=world.org_id)
    return [f"interim invoices: {len(issued)}"] if issued else []


# In this order at the same instant: money that ends at an instant is gone when the bill of that instant is made, and a
# phase that begins with a period is the one whose price opens it. Alerts see what all of that has come to.
SCHEDULES: Final[tuple[Schedule, ...]] = (
    Schedule("deposits", _find_next_expiry, _ring_expiry),
    Schedule("credit", _find_next_credit, _ring_credit),
    Schedule("pauses", _find_next_resume, _ring_resume),
    Schedule("unpaid starts", _find_next_deadline, _ring_deadline),
    Schedule("subscription schedules", _find_next_step, _ring_steps),
    Schedule("billing cycle", _find_next_boundary, _ring_cycle),
    Schedule("grace periods", _find_next_grace, _ring_grace),
    Schedule("collection", _find_next_attempt, collect_open),
    Schedule("cost alerts", _find_next_period, look_at_alerts),
)
