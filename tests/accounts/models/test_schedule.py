"""What schedules may become, and what plain SQL cannot make of them."""

from __future__ import annotations

import itertools

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import Account, ScheduleStatus, SubscriptionSchedule
from accounts.models.schedule import SCHEDULE_TRANSITIONS
from accounts.services.schedules import finish_schedule
from billing_site.kernel.errors import InvalidState
from billing_site.platform.models import Event
from invoicing.services.schedules import (
    cancel_schedule,
    create_schedule,
    release_schedule,
    update_schedule,
)
from tests.support import world
from tests.support.schedules import APRIL, FEBRUARY, JANUARY, make_ramp, phase, publish_ramp

ALLOWED = {
    ("not_started", "active"),
    ("not_started", "released"),
    ("not_started", "canceled"),
    ("active", "completed"),
    ("active", "released"),
    ("active", "canceled"),
}
ENDS = ("completed", "released", "canceled")


@pytest.fixture
def account(db: None) -> Account:
    publish_ramp()
    return world.open_account()


def make(account: Account, status: str) -> SubscriptionSchedule:
    """Return a schedule that came to `status` through the services."""
    if status == "not_started":
        return create_schedule(account=account, phases=[phase("ten", FEBRUARY)], at=JANUARY, actor=world.TESTER)
    schedule = make_ramp(account, at=APRIL if status == "completed" else JANUARY)
    if status == "released":
        release_schedule(schedule_id=schedule.pk, at=JANUARY, actor=world.TESTER)
    if status == "canceled":
        cancel_schedule(schedule_id=schedule.pk, at=JANUARY, actor=world.TESTER)
    schedule.refresh_from_db()
    assert schedule.status == status
    return schedule


@pytest.mark.parametrize(("before", "after"), list(itertools.product(ScheduleStatus.values, repeat=2)))
def test_can_become(before: str, after: str) -> None:
    assert SubscriptionSchedule(status=before).can_become(after) is ((before, after) in ALLOWED)


def test_every_status_has_its_row_in_the_table() -> None:
    assert set(SCHEDULE_TRANSITIONS) == set(ScheduleStatus.values)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(ScheduleStatus.values, ENDS)))
def test_ends_only_from_where_the_table_says(account: Account, before: str, after: str) -> None:
    schedule = make(account, before)
    finish = {
        "released": release_schedule,
        "canceled": cancel_schedule,
    }.get(after)
    allowed = (before, after) in ALLOWED
    if not allowed:
        count = Event.objects.count()
        with pytest.raises(InvalidState), transaction.atomic():
            if finish is not None:
                finish(schedule_id=schedule.pk, at=JANUARY, actor=world.TESTER)
            else:
                finish_schedule(schedule, [], ScheduleStatus(after), ended_at=JANUARY, at=JANUARY, actor=world.TESTER)
        assert Event.objects.count() == count
        return
    if finish is not None:
        finish(schedule_id=schedule.pk, at=JANUARY, actor=world.TESTER)
    else:
        phases = list(schedule.phases.all())
        finish_schedule(schedule, phases, ScheduleStatus(after), ended_at=JANUARY, at=JANUARY, actor=world.TESTER)
    schedule.refresh_from_db()
    assert (schedule.status, schedule.ended_at, schedule.next_step_at) == (after, JANUARY, None)


@pytest.mark.parametrize("status", ENDS)
def test_what_is_over_cannot_be_edited(account: Account, status: str) -> None:
    schedule = make(account, status)
    with pytest.raises(InvalidState):
        update_schedule(schedule_id=schedule.pk, at=JANUARY, actor=world.TESTER, end_behavior="cancel")


@pytest.mark.parametrize(
    ("status", "sql", "constraint"),
    [
        ("active", "UPDATE subscription_schedules SET status = 'not_started'", "status_matches_phase"),
        ("active", "UPDATE subscription_schedules SET status = 'canceled'", "ended_has_time"),
        ("active", "UPDATE subscription_schedules SET ended_at = now()", "ended_has_time"),
        ("active", "UPDATE subscription_schedules SET subscription_id = NULL", "entered_has_subscription"),
        ("active", "UPDATE subscription_schedules SET failure_code = 'x'", "failure_has_code"),
        ("not_started", "UPDATE subscription_schedules SET status = 'active'", "status_matches_phase"),
        ("not_started", "UPDATE subscription_schedules SET next_step_at = NULL", "unstarted_waits"),
        ("completed", "UPDATE subscription_schedules SET next_step_at = now()", "ended_has_time"),
    ],
)
def test_the_database_ties_the_status_to_its_columns(account: Account, status: str, sql: str, constraint: str) -> None:
    make(account, status)
    assert refuse(sql) == f"subscription_schedules_{constraint}"


@pytest.mark.parametrize(
    ("sql", "constraint"),
    [
        ('UPDATE schedule_phases SET "end" = start WHERE position = 0', "forward"),
        ("UPDATE schedule_phases SET quantity = 0", "quantity_positive"),
        ("UPDATE schedule_phases SET position = 0", "position_once"),
        ('UPDATE schedule_phases SET "end" = NULL', "one_open_end"),
        ("UPDATE schedule_phases SET trial_end = start", "trial_within"),
        ("UPDATE schedule_phases SET trial_end = \"end\" + interval '1 day'", "trial_within"),
    ],
)
def test_the_database_keeps_phases_sound(account: Account, sql: str, constraint: str) -> None:
    make(account, "active")
    assert refuse(sql) == f"schedule_phases_{constraint}"


def test_a_subscription_has_one_unfinished_schedule(account: Account) -> None:
    schedule = make(account, "active")
    with pytest.raises(IntegrityError, match="one_unfinished"), transaction.atomic():
        SubscriptionSchedule.objects.create(
            account=account,
            subscription_id=schedule.subscription_id,
            start_date=APRIL,
            next_step_at=APRIL,
            currency="usd",
        )


def refuse(sql: str) -> str:
    """Run a statement that must fail and return the name of the constraint that says so."""
    with pytest.raises(IntegrityError) as error, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
    return str(error.value.__cause__.diag.constraint_name)  # type: ignore[union-attr]
