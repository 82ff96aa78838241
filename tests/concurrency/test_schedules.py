"""Schedules worked on over several connections at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from accounts.models import Account, SubscriptionSchedule
from billing_site.kernel.errors import DomainError
from billing_site.platform.models import Event
from invoicing.models import InvoiceLine
from invoicing.services.schedule_steps import advance_schedule, sweep_due_schedules
from invoicing.services.schedules import ScheduleExists, cancel_schedule, create_schedule, release_schedule
from tests.support import world
from tests.support.schedules import APRIL, JANUARY, MARCH, make_ramp, phase, publish_ramp

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(work: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run everything at the same moment, each on a connection of its own; return results or refusals in order."""
    barrier = Barrier(len(work))

    def run(task: Callable[[], Any]) -> Any:
        try:
            barrier.wait(timeout=30)
            return task()
        except DomainError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(run, task) for task in work]]


@pytest.fixture
def account() -> Account:
    publish_ramp()
    return world.open_account()


def list_started() -> list[int]:
    started = Event.objects.filter(type="subscription_schedule.phase_started").order_by("id")
    return [event.data["current_phase"] for event in started]


def list_fees() -> list[int]:
    fees = InvoiceLine.objects.filter(type="subscription").order_by("period_start")
    return list(fees.values_list("amount", flat=True))


def test_workers_that_advance_one_schedule_do_each_step_once(account: Account) -> None:
    schedule = make_ramp(account)
    tasks = [lambda: advance_schedule(schedule_id=schedule.pk, at=APRIL, actor=world.TESTER)] * 6
    results = at_once(tasks)
    assert sorted(len(steps) for steps in results) == [0, 0, 0, 0, 0, 3]
    assert list_started() == [0, 1, 2]
    assert Event.objects.filter(type="subscription_schedule.completed").count() == 1


def test_sweeps_and_runs_at_once_bill_each_phase_once(account: Account) -> None:
    accounts = [account, *(world.open_account(f"other-{number}") for number in range(4))]
    for each in accounts:
        make_ramp(each)
    at_once([*[lambda: sweep_due_schedules(at=MARCH)] * 3, lambda: world.run_cycle(as_of=MARCH)])
    world.run_cycle(as_of=MARCH)
    assert sorted(list_fees()) == sorted([1000, 2000, 3000] * 5)
    assert not SubscriptionSchedule.objects.exclude(failure_code="").exists()


def test_a_subscription_gets_one_schedule_of_many(account: Account) -> None:
    subscription = world.subscribe(account, "ten", at=JANUARY)

    def plan() -> Any:
        return create_schedule(
            account=account, subscription=subscription, phases=[phase("ten")], at=JANUARY, actor=world.TESTER
        )

    results = at_once([plan] * 4)
    assert sum(isinstance(each, ScheduleExists) for each in results) == 3
    assert SubscriptionSchedule.objects.count() == 1


def test_a_release_against_a_cancel_lets_one_of_them_win(account: Account) -> None:
    schedule = make_ramp(account)
    key = schedule.pk
    results = at_once(
        [
            lambda: release_schedule(schedule_id=key, at=JANUARY, actor=world.TESTER),
            lambda: cancel_schedule(schedule_id=key, at=JANUARY, actor=world.TESTER),
            lambda: sweep_due_schedules(at=MARCH),
        ]
    )
    assert sum(isinstance(each, DomainError) for each in results[:2]) == 1
    ends = Event.objects.filter(type__in=("subscription_schedule.released", "subscription_schedule.canceled"))
    assert ends.count() == 1
