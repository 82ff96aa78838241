"""Steps of schedules: in order, each as of its own instant, and the same whether late or in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Subscription, SubscriptionSchedule
from accounts.queries.schedules import list_upcoming_steps
from accounts.services.schedule_phases import NewItem, NewPhase
from accounts.services.test_clocks import advance_test_clock, create_test_clock
from billing_site.kernel import clock
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.periods import Period
from billing_site.platform.models import Event
from catalog.models import Plan
from invoicing.models import Invoice, RunOutcome
from invoicing.queries.previews import preview_subscriptions
from invoicing.services import schedule_steps
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.pauses import pause_subscription, resume_subscription
from invoicing.services.schedule_steps import advance_schedule, sweep_due_schedules
from invoicing.services.schedules import create_schedule, release_schedule
from invoicing.services.subscription_updates import update_subscription
from invoicing.services.verification import verify_invoice
from invoicing.tasks.schedules import advance_schedules
from tests.support import world
from tests.support.schedules import (
    APRIL,
    FEBRUARY,
    JANUARY,
    MARCH,
    MAY,
    list_lines,
    make_ramp,
    phase,
    publish_ramp,
)

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def catalog() -> None:
    publish_ramp()


@pytest.fixture
def account() -> Account:
    return world.open_account()


def create(account: Account, *phases: NewPhase, at: datetime = JANUARY, **options: Any) -> SubscriptionSchedule:
    return create_schedule(account=account, phases=phases, at=at, actor=world.TESTER, **options)


def get_subscription(schedule: SubscriptionSchedule) -> Subscription:
    schedule.refresh_from_db()
    assert schedule.subscription_id is not None
    return Subscription.objects.get(pk=schedule.subscription_id)


def take_off_sale(plan: str) -> None:
    Plan.objects.filter(key=plan).update(is_active=False)


class TestInTime:
    def test_a_phase_opens_its_period_with_its_own_price(self, account: Account) -> None:
        schedule = make_ramp(account)
        for at in (FEBRUARY, MARCH, APRIL):
            sweep_due_schedules(at=at)
            world.run_cycle(as_of=at)
        assert list_lines() == [
            ("subscription", "ten", "01-01", 1000),
            ("subscription", "twenty", "02-01", 2000),
            ("subscription", "thirty", "03-01", 3000),
            ("subscription", "thirty", "04-01", 3000),
        ]
        subscription = get_subscription(schedule)
        assert (schedule.status, schedule.entered, schedule.ended_at) == ("completed", 2, APRIL)
        assert (subscription.status, subscription.cancel_at_period_end) == ("active", False)

    def test_the_cycle_does_the_steps_that_nobody_has_done(self, account: Account) -> None:
        make_ramp(account)
        world.run_cycle(as_of=APRIL)
        assert [amount for *_, amount in list_lines()] == [1000, 2000, 3000, 3000]

    def test_the_task_does_what_is_due(self, account: Account) -> None:
        schedule = make_ramp(account)
        with clock.travel(FEBRUARY - DAY):
            assert advance_schedules() == 0
        with clock.travel(FEBRUARY):
            assert advance_schedules() == 1
        schedule.refresh_from_db()
        assert schedule.entered == 1

    def test_a_step_is_told_with_when_it_was_done_and_from_when_it_counts(self, account: Account) -> None:
        make_ramp(account)
        late = FEBRUARY + timedelta(hours=5)
        sweep_due_schedules(at=late)
        event = Event.objects.filter(type="subscription_schedule.phase_started").order_by("-id")[0]
        assert event.created_at == late
        assert event.data["started_at"] == FEBRUARY.isoformat().replace("+00:00", "Z")
        assert (event.data["current_phase"], event.data["phase"]["plan_id"]) == (1, "twenty")

    def test_a_year_follows_months(self, account: Account) -> None:
        months = [phase("ten", JANUARY, MARCH)]
        price = Plan.objects.get(key="yearly").current_version.prices.get(meter__isnull=True)  # type: ignore[union-attr]
        yearly = NewPhase("yearly", items=[NewItem(price.public_id)])
        create(account, *months, yearly)
        world.run_cycle(as_of=MARCH)
        assert list_lines() == [
            ("subscription", "ten", "01-01", 1000),
            ("subscription", "ten", "02-01", 1000),
            ("subscription", "yearly", "03-01", 7525),  # to the anchor in January: 90.00 × 306/366
        ]

    def test_in_the_middle_of_a_period_leaves_prorations_for_the_next_invoice(self, account: Account) -> None:
        create(account, phase("ten", JANUARY, JANUARY + 15 * DAY), phase("thirty", quantity=2))
        world.run_cycle(as_of=FEBRUARY)
        # January has 31 days; on the 16th 16 are left: 10.00 × 16/31 = 5.16 back, 60.00 × 16/31 = 30.97
        assert list_lines()[1:] == [
            ("subscription", "thirty", "02-01", 6000),
            ("proration", "ten", "01-16", -516),
            ("proration", "thirty", "01-16", 3097),
        ]

    def test_without_proration_charges_from_the_next_period(self, account: Account) -> None:
        middle = phase("thirty", proration_behavior="none")
        create(account, phase("ten", JANUARY, JANUARY + 15 * DAY), middle)
        world.run_cycle(as_of=FEBRUARY)
        assert list_lines()[1:] == [("subscription", "thirty", "02-01", 3000)]


class TestLate:
    def test_a_start_in_the_past_is_caught_up_in_order(self, account: Account) -> None:
        late = datetime(2024, 3, 15, 9, tzinfo=UTC)
        schedule = make_ramp(account, at=late)
        assert list_lines() == [
            ("subscription", "ten", "01-01", 1000),
            ("subscription", "twenty", "02-01", 2000),
            ("subscription", "thirty", "03-01", 3000),
        ]
        assert {invoice.issue_date for invoice in Invoice.objects.all()} == {late.date()}
        assert (schedule.status, schedule.entered, schedule.next_step_at) == ("active", 2, APRIL)
        assert get_subscription(schedule).current_period_end == APRIL
        for invoice in Invoice.objects.all():
            assert verify_invoice(invoice).differences == []

    def test_a_deal_that_is_over_is_done_in_one_go(self, account: Account) -> None:
        schedule = create(
            account, phase("ten", JANUARY, FEBRUARY), phase("twenty", FEBRUARY, MARCH), at=MAY, end_behavior="cancel"
        )
        subscription = get_subscription(schedule)
        assert (schedule.status, schedule.ended_at) == ("completed", MARCH)
        assert (subscription.status, subscription.ended_at) == ("canceled", MARCH)
        assert [amount for *_, amount in list_lines()] == [1000, 2000]

    def test_billing_waits_for_the_step(self, account: Account) -> None:
        schedule = make_ramp(account)
        take_off_sale("twenty")
        run = world.run_cycle(as_of=APRIL)
        assert [amount for *_, amount in list_lines()] == [
            1000
        ]  # nobody is billed by the terms of a phase that is over
        outcome = RunOutcome.objects.get(run=run)
        assert (outcome.status, outcome.error_code) == ("failed", "schedule_step_refused")
        schedule.refresh_from_db()
        assert (schedule.failure_code, schedule.failed_at, schedule.entered) == ("plan_not_found", APRIL, 0)

        Plan.objects.update(is_active=True)
        world.run_cycle(as_of=APRIL)
        schedule.refresh_from_db()
        assert (schedule.failure_code, schedule.failed_at, schedule.status) == ("", None, "completed")
        assert [amount for *_, amount in list_lines()] == [1000, 2000, 3000, 3000]

    def test_a_schedule_that_cannot_go_on_can_be_released(self, account: Account) -> None:
        schedule = make_ramp(account)
        take_off_sale("twenty")
        release_schedule(schedule_id=schedule.pk, at=MARCH, actor=world.TESTER)
        world.run_cycle(as_of=MARCH)
        assert [amount for *_, amount in list_lines()] == [1000, 1000, 1000]
        assert get_subscription(schedule).status == "active"

    def test_one_that_is_refused_stops_no_other(self, account: Account) -> None:
        refused = create(account, phase("ten"), start_date=FEBRUARY)
        world.subscribe(account, "ten", at=JANUARY)
        good = make_ramp(world.open_account("other"))
        swept = sweep_due_schedules(at=FEBRUARY)
        assert (swept.schedules, swept.steps, swept.failed) == (1, 1, [refused.pk])
        refused.refresh_from_db()
        good.refresh_from_db()
        assert (refused.failure_code, good.entered) == ("subscription_exists", 1)

    def test_a_step_that_breaks_in_the_middle_leaves_nothing(
        self, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        schedule = make_ramp(account)
        before = (list_lines(), Event.objects.count())
        calls = []

        def break_the_second(**arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 2:
                raise RuntimeError("power cut")
            return change_subscription(**arguments)

        monkeypatch.setattr(schedule_steps, "change_subscription", break_the_second)
        with pytest.raises(RuntimeError):
            advance_schedule(schedule_id=schedule.pk, at=APRIL, actor=world.TESTER)
        schedule.refresh_from_db()
        assert (list_lines(), Event.objects.count()) == before
        assert (schedule.entered, schedule.next_step_at) == (0, FEBRUARY)
        assert get_subscription(schedule).pending_plan_version is None

        calls.clear()
        assert sweep_due_schedules(at=APRIL).failed == [schedule.pk]
        schedule.refresh_from_db()
        assert schedule.failure_code == "internal_error"
        monkeypatch.undo()
        assert sweep_due_schedules(at=APRIL).steps == 3

    def test_again_does_nothing(self, account: Account) -> None:
        schedule = make_ramp(account)
        assert len(advance_schedule(schedule_id=schedule.pk, at=APRIL, actor=world.TESTER)) == 3
        assert advance_schedule(schedule_id=schedule.pk, at=MAY, actor=world.TESTER) == []

    def test_of_an_unknown_one_is_refused(self) -> None:
        with pytest.raises(NotFound):
            advance_schedule(schedule_id=new_uuid(), at=APRIL, actor=world.TESTER)

    def test_a_pause_holds_the_phase_up_until_it_ends(self, account: Account) -> None:
        schedule = make_ramp(account)
        subscription = get_subscription(schedule)
        pause_subscription(subscription_id=subscription.pk, at=JANUARY + 20 * DAY, actor=world.TESTER)
        assert sweep_due_schedules(at=FEBRUARY + DAY).failed == [schedule.pk]
        resume_subscription(subscription_id=subscription.pk, at=FEBRUARY + 2 * DAY, actor=world.TESTER)
        assert sweep_due_schedules(at=FEBRUARY + 2 * DAY).steps == 1
        assert get_subscription(schedule).plan_version.plan.key == "twenty"


def make_deal(seed: int) -> tuple[list[NewPhase], str, list[tuple[datetime, int]]]:
    """Two to five phases of whole and broken lengths, whether the subscription ends with them, and some usage."""
    draw = Random(seed)
    moment, phases = JANUARY, []
    for _ in range(draw.randint(2, 5)):
        length = draw.choice([timedelta(days=draw.randint(2, 50)), timedelta(hours=draw.randint(30, 900))])
        following = draw.choice([FEBRUARY, MARCH, APRIL, moment + length])
        following = following if following > moment else moment + length
        behavior = draw.choice(["create_prorations", "none"])
        quantity = draw.choice([None, 1, 2, 7])
        plan = draw.choice(["ten", "twenty", "thirty"])
        phases.append(phase(plan, moment, following, quantity=quantity, proration_behavior=behavior))
        moment = following
    usage = [(JANUARY + timedelta(hours=draw.randint(1, 2000)), draw.randint(1, 500)) for _ in range(4)]
    return phases, draw.choice(["release", "cancel"]), usage


def list_documents(org_id: str) -> list[list[tuple[Any, ...]]]:
    """Every invoice as its lines, in order of issue, without numbers and days of issue."""
    invoices = Invoice.objects.filter(org_id=org_id).order_by("id").prefetch_related("lines")
    return [
        [
            (line.type, line.price_id, line.meter_id, line.quantity, line.amount, line.period_start, line.period_end)
            for line in invoice.lines.all()
        ]
        for invoice in invoices
    ]


def describe_standing(account: Account) -> list[tuple[Any, ...]]:
    schedule = SubscriptionSchedule.objects.get(account=account)
    terms = account.subscriptions.values_list(
        "status", "plan_version", "quantity", "current_period_start", "current_period_end", "ended_at"
    )
    return [(schedule.status, schedule.entered, schedule.ended_at), *terms]


@pytest.mark.parametrize("seed", range(16))
def test_late_is_the_same_as_in_time(seed: int) -> None:
    """In time, caught up after months of downtime, and agreed months late: the same documents, the same standing."""
    phases, end_behavior, usage = make_deal(seed)
    end = datetime(2024, 9, 1, tzinfo=UTC)
    accounts = {name: world.open_account(f"{name}/a", org_id=name) for name in ("in-time", "down", "late")}
    for account in accounts.values():
        for moment, calls in usage:
            world.use(account, "calls", [calls], at=moment, key=f"{account.pk}-{moment}")
    for name, at in (("in-time", JANUARY), ("down", JANUARY), ("late", end)):
        create(accounts[name], *phases, at=at, end_behavior=end_behavior)
    steps = {each.start for each in phases if each.start} | {each.end for each in phases if each.end}
    for moment in sorted({JANUARY + day * DAY for day in range(0, 245)} | steps):
        if moment in steps or moment.day in (1, 2):
            sweep_due_schedules(at=moment, org_id="in-time")
            world.run_cycle(as_of=moment, org_id="in-time")
    world.run_cycle(as_of=end, org_id="down")
    world.run_cycle(as_of=end, org_id="late")
    documents = list_documents("in-time")
    assert documents
    assert list_documents("down") == documents
    assert list_documents("late") == documents
    standing = describe_standing(accounts["in-time"])
    assert describe_standing(accounts["down"]) == standing
    assert describe_standing(accounts["late"]) == standing
    for invoice in Invoice.objects.all():
        assert verify_invoice(invoice).differences == []


class TestBesides:
    def test_a_change_by_hand_holds_until_the_next_phase(self, account: Account) -> None:
        schedule = make_ramp(account)
        change_subscription(
            subscription_id=get_subscription(schedule).pk,
            request=ChangeRequest(quantity=5, effective="period_end"),
            at=JANUARY + DAY,
            actor=world.TESTER,
        )
        world.run_cycle(as_of=FEBRUARY)
        # the phase takes the place of what was waiting: 20.00 × 1
        assert list_lines()[-1] == ("subscription", "twenty", "02-01", 2000)

    def test_a_preview_has_the_phases_that_billing_will_have(self, account: Account) -> None:
        schedule = make_ramp(account)
        world.use(account, "calls", [40], at=JANUARY + DAY)
        subscription = get_subscription(schedule)
        (previewed,) = preview_subscriptions(subscription_ids=[subscription.pk], as_of=MARCH)
        before = Invoice.objects.count()
        world.run_cycle(as_of=MARCH)
        issued = list(Invoice.objects.order_by("id"))[before:]
        assert [draft.total for draft in previewed.drafts] == [2040, 3000]
        assert [invoice.total for invoice in issued] == [2040, 3000]

    def test_a_change_over_a_step_that_is_due_comes_after_it(self, account: Account) -> None:
        schedule = make_ramp(account)
        update_subscription(
            subscription_id=get_subscription(schedule).pk,
            settings={},
            request=ChangeRequest(quantity=3, effective="immediate", proration_behavior="create_prorations"),
            at=FEBRUARY + timedelta(minutes=1),
            actor=world.TESTER,
        )
        subscription = get_subscription(schedule)
        assert (subscription.plan_version.plan.key, subscription.quantity, schedule.entered) == ("twenty", 3, 1)
        assert list_lines()[1:] == [("subscription", "twenty", "02-01", 2000)]

    def test_no_pause_overtakes_a_step(self, account: Account) -> None:
        subscription = get_subscription(make_ramp(account))
        with pytest.raises(InvalidState):
            pause_subscription(subscription_id=subscription.pk, at=FEBRUARY, actor=world.TESTER)
        sweep_due_schedules(at=FEBRUARY)
        paused = pause_subscription(subscription_id=subscription.pk, at=FEBRUARY, actor=world.TESTER)
        assert (paused.status, paused.plan_version.plan.key) == ("paused", "twenty")

    def test_an_account_on_a_test_clock_lives_by_it(self) -> None:
        frozen = create_test_clock(name="c", now_at=JANUARY, at=JANUARY, actor=world.TESTER)
        account = world.open_account("frozen", test_clock=frozen)
        schedule = make_ramp(account)
        assert sweep_due_schedules(at=MAY).steps == 0
        advance_test_clock(clock_id=frozen.pk, to=MARCH, at=MAY, actor=world.TESTER)
        assert sweep_due_schedules(at=MAY).steps == 2
        world.run_cycle(as_of=MAY)
        assert [amount for *_, amount in list_lines()] == [1000, 2000, 3000]
        schedule.refresh_from_db()
        assert (schedule.entered, schedule.next_step_at) == (2, APRIL)

    def test_an_end_in_the_middle_of_a_period_forfeits_the_rest(self, account: Account) -> None:
        end = FEBRUARY + 10 * DAY
        schedule = create(account, phase("ten", JANUARY, end), end_behavior="cancel")
        world.use(account, "calls", [40], at=FEBRUARY + DAY)
        world.run_cycle(as_of=MARCH)
        subscription = get_subscription(schedule)
        assert (subscription.status, subscription.ended_at, schedule.status) == ("canceled", end, "completed")
        assert list_lines() == [
            ("subscription", "ten", "01-01", 1000),
            ("subscription", "ten", "02-01", 1000),
            ("usage", "ten", "02-01", 40),  # 40 × 0.01
        ]

    def test_billing_asks_once_for_all_schedules(self, account: Account) -> None:
        def count(handle: str, subscriptions: int) -> int:
            for number in range(subscriptions):
                make_ramp(world.open_account(f"{handle}/{number}", org_id=handle))
            sweep_due_schedules(at=FEBRUARY, org_id=handle)
            with CaptureQueriesContext(connection) as queries:
                world.run_cycle(as_of=FEBRUARY, org_id=handle)
            return len([each for each in queries if '"subscription_schedules"' in each["sql"]])

        assert count("one", 1) == count("many", 4)


class TestUpcoming:
    def test_lists_the_steps_of_a_time_in_order(self, account: Account) -> None:
        make_ramp(account, end_behavior="cancel")
        create(world.open_account("later"), phase("other"), start_date=MARCH)
        steps = list_upcoming_steps(Account.objects.all(), within=Period(FEBRUARY, APRIL + DAY))
        assert [(step.at, step.kind, step.index, step.plan_key) for step in steps] == [
            (FEBRUARY, "enter", 1, "twenty"),
            (MARCH, "enter", 2, "thirty"),
            (MARCH, "enter", 0, "other"),
            (APRIL, "cancel", 2, "thirty"),
        ]
        assert list_upcoming_steps(Account.objects.all(), within=Period(APRIL + DAY, MAY)) == []
