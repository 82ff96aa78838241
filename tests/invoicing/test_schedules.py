"""Making, editing, canceling and releasing schedules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account, AccountStatus, Subscription, SubscriptionSchedule
from accounts.services.schedule_phases import NewItem, NewPhase
from accounts.services.subscriptions import PlanNotSubscribable, SubscriptionExists
from billing_site.kernel.errors import InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from catalog.models import Price
from catalog.queries.plans import PlanNotFound
from invoicing.services.cancellations import cancel_subscription, reactivate_subscription
from invoicing.services.schedules import (
    ScheduleExists,
    cancel_schedule,
    create_schedule,
    release_schedule,
    update_schedule,
)
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


def find_mistakes(account: Account, *phases: NewPhase, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as refusal:
        create(account, *phases, **options)
    assert not SubscriptionSchedule.objects.exists()
    return [(each.pointer, each.code) for each in refusal.value.errors]


def get_subscription(schedule: SubscriptionSchedule) -> Subscription:
    schedule.refresh_from_db()
    assert schedule.subscription_id is not None
    return Subscription.objects.get(pk=schedule.subscription_id)


def get_price(plan: str) -> Price:
    return Price.objects.get(plan_version__plan__key=plan, meter__isnull=True)


def list_events() -> list[str]:
    kept = Event.objects.filter(type__startswith="subscription").order_by("id").values_list("type", flat=True)
    return list(kept)


class TestCreate:
    def test_that_starts_now_starts_the_subscription_and_bills_its_first_fee(self, account: Account) -> None:
        schedule = make_ramp(account)
        assert (schedule.status, schedule.entered, schedule.next_step_at) == ("active", 0, FEBRUARY)
        subscription = get_subscription(schedule)
        assert (subscription.plan_version.plan.key, subscription.quantity, subscription.status) == ("ten", 1, "active")
        assert list_lines() == [("subscription", "ten", "01-01", 1000)]
        assert list_events() == [
            "subscription_schedule.created",
            "subscription.created",
            "subscription_schedule.phase_started",
        ]

    def test_in_the_future_waits(self, account: Account) -> None:
        schedule = create(account, phase("ten"), start_date=MARCH, metadata={"deal": "7"})
        assert (schedule.status, schedule.subscription_id, schedule.next_step_at) == ("not_started", None, MARCH)
        assert schedule.metadata == {"deal": "7"}
        assert not Subscription.objects.exists()
        event = Event.objects.get(type="subscription_schedule.created")
        assert event.data["phases"][0]["plan_id"] == "ten"

    def test_starts_with_its_first_phase_when_nothing_else_says_when(self, account: Account) -> None:
        assert create(account, phase("ten", FEBRUARY)).start_date == FEBRUARY

    def test_refuses_two_starts(self, account: Account) -> None:
        mistakes = find_mistakes(account, phase("ten", FEBRUARY), start_date=MARCH)
        assert mistakes == [("/start_date", "contradiction")]

    def test_starts_with_the_quantity_and_interval_of_the_price(self, account: Account) -> None:
        items = [NewItem(get_price("yearly").public_id, 3)]
        subscription = get_subscription(create(account, NewPhase("yearly", items=items)))
        assert (subscription.interval, subscription.quantity) == ("year", 3)
        assert list_lines() == [("subscription", "yearly", "01-01", 27000)]  # 3 × 90.00

    def test_takes_the_only_interval_that_the_plan_is_sold_by(self, account: Account) -> None:
        assert get_subscription(create(account, phase("yearly"))).interval == "year"

    def test_knows_a_price_of_an_older_version(self, account: Account) -> None:
        old = get_price("ten").public_id
        publish_ramp(at=world.NOVEMBER, without="other")
        schedule = create(account, NewPhase("ten", items=[NewItem(old, 4)]))
        assert get_subscription(schedule).quantity == 4

    def test_names_everything_that_is_wrong_with_its_times(self, account: Account) -> None:
        phases = [phase("ten", JANUARY, FEBRUARY), phase("twenty", MARCH, FEBRUARY), phase("thirty", FEBRUARY)]
        assert find_mistakes(account, *phases) == [
            ("/phases/1/end_date", "out_of_range"),
            ("/phases/1/start_date", "gap"),
        ]

    def test_needs_a_phase(self, account: Account) -> None:
        assert find_mistakes(account) == [("/phases", "required")]

    def test_refuses_unknown_plans(self, account: Account) -> None:
        with pytest.raises(PlanNotFound):
            create(account, phase("ten", JANUARY, FEBRUARY), phase("nothing"))
        assert not Subscription.objects.exists()

    def test_refuses_plans_of_different_products(self, account: Account) -> None:
        mistakes = find_mistakes(account, phase("ten", JANUARY, FEBRUARY), phase("other"))
        assert mistakes == [("/phases/1/plan_id", "other_product")]

    def test_refuses_a_plan_that_is_not_sold_in_the_currency(self) -> None:
        account = world.open_account("euro", currency="eur")
        assert find_mistakes(account, phase("ten")) == [("/phases/0/plan_id", "not_priced")]

    def test_refuses_a_plan_that_is_not_sold_by_the_interval_of_the_phase_before(self, account: Account) -> None:
        mistakes = find_mistakes(account, phase("ten", JANUARY, FEBRUARY), phase("yearly"))
        assert mistakes == [("/phases/1/plan_id", "not_priced")]

    def test_refuses_items_that_are_not_the_plans(self, account: Account) -> None:
        items = [NewItem(get_price("twenty").public_id, 1)]
        assert find_mistakes(account, NewPhase("ten", items=items)) == [("/phases/0/items/0/price_id", "unknown")]

    def test_refuses_a_quantity_of_usage_and_a_second_fee(self, account: Account) -> None:
        usage = Price.objects.get(plan_version__plan__key="ten", meter__isnull=False).public_id
        items = [NewItem(usage, 2), NewItem(quantity=1), NewItem(quantity=0)]
        assert find_mistakes(account, NewPhase("ten", items=items)) == [
            ("/phases/0/items/0/quantity", "metered"),
            ("/phases/0/items/2", "duplicate"),
            ("/phases/0/items/2/quantity", "out_of_range"),
        ]

    def test_of_a_customer_may_not_have_a_plan_that_staff_sells(self, account: Account) -> None:
        with pytest.raises(PlanNotSubscribable):
            create(account, phase("ten", JANUARY, FEBRUARY), phase("custom"), self_service=True)
        assert create(account, phase("custom")).status == "active"

    def test_refuses_a_product_that_is_running(self, account: Account) -> None:
        world.subscribe(account, "ten", at=JANUARY)
        with pytest.raises(SubscriptionExists):
            create(account, phase("twenty"))
        assert not SubscriptionSchedule.objects.exists()

    def test_refuses_a_closed_account(self, account: Account) -> None:
        Account.objects.filter(pk=account.pk).update(status=AccountStatus.CLOSED)
        with pytest.raises(InvalidState):
            create(account, phase("ten"))


class TestTrial:
    def test_of_the_first_phase_is_the_subscriptions(self, account: Account) -> None:
        schedule = create(account, phase("ten", JANUARY, trial_end=JANUARY + 14 * DAY))
        subscription = get_subscription(schedule)
        assert (subscription.status, subscription.trial_end) == ("trialing", JANUARY + 14 * DAY)
        assert list_lines() == []

    def test_lasts_until_the_next_midnight_of_the_account(self) -> None:
        account = world.open_account("paris", timezone="Europe/Paris")
        schedule = create(account, phase("ten", JANUARY, trial_end=datetime(2024, 1, 15, 12, tzinfo=UTC)))
        assert get_subscription(schedule).trial_end == datetime(2024, 1, 15, 23, tzinfo=UTC)

    def test_is_none_where_none_is_given_whatever_the_plan_says(self, account: Account, settings: Any) -> None:
        settings.BILLING_TRIAL_PERIOD_DAYS = 30
        assert get_subscription(create(account, phase("ten"))).status == "active"

    def test_of_a_later_phase_is_refused(self, account: Account) -> None:
        later = phase("twenty", trial_end=FEBRUARY + DAY)
        mistakes = find_mistakes(account, phase("ten", JANUARY, FEBRUARY), later)
        assert mistakes == [("/phases/1/trial_end", "not_possible")]

    def test_of_a_running_subscription_is_refused(self, account: Account) -> None:
        subscription = world.subscribe(account, "ten", at=JANUARY)
        first = phase("ten", JANUARY, trial_end=JANUARY + DAY)
        assert find_mistakes(account, first, subscription=subscription) == [("/phases/0/trial_end", "not_possible")]

    def test_is_not_a_customers_to_give(self, account: Account) -> None:
        first = phase("ten", JANUARY, trial_end=JANUARY + DAY)
        assert find_mistakes(account, first, self_service=True) == [("/phases/0/trial_end", "internal_only")]

    def test_must_fit_into_its_phase(self, account: Account) -> None:
        noon = timedelta(hours=12)
        first = phase("ten", JANUARY, JANUARY + DAY + noon, trial_end=JANUARY + DAY + noon)
        assert find_mistakes(account, first, phase("twenty")) == [("/phases/0/trial_end", "out_of_range")]
        assert find_mistakes(account, phase("ten", JANUARY, trial_end=JANUARY + 731 * DAY)) == [
            ("/phases/0/trial_end", "out_of_range")
        ]


class TestTakingOver:
    def test_a_running_subscription_leaves_what_is_agreed_already(self, account: Account) -> None:
        subscription = world.subscribe(account, "ten", at=JANUARY, quantity=3)
        phases = [phase("ten", JANUARY, FEBRUARY), phase("twenty")]
        schedule = create(account, *phases, at=JANUARY + DAY, subscription=subscription)
        assert (schedule.status, schedule.entered, schedule.subscription_id) == ("active", 0, subscription.pk)
        assert get_subscription(schedule).quantity == 3
        assert list_lines() == [("subscription", "ten", "01-01", 3000)]

    def test_happens_once_at_a_time(self, account: Account) -> None:
        subscription = world.subscribe(account, "ten", at=JANUARY)
        first = create(account, phase("ten"), subscription=subscription)
        with pytest.raises(ScheduleExists):
            create(account, phase("ten"), subscription=subscription)
        release_schedule(schedule_id=first.pk, at=JANUARY, actor=world.TESTER)
        assert create(account, phase("ten"), subscription=subscription).status == "active"

    def test_reaches_no_further_back_than_the_running_period(self, account: Account) -> None:
        subscription = world.subscribe(account, "ten", at=JANUARY)
        world.run_cycle(as_of=FEBRUARY)
        mistakes = find_mistakes(
            account, phase("ten"), at=FEBRUARY, start_date=FEBRUARY - DAY, subscription=subscription
        )
        assert mistakes == [("/start_date", "out_of_range")]

    def test_refuses_one_that_has_ended_or_will(self, account: Account) -> None:
        subscription = world.subscribe(account, "ten", at=JANUARY)
        cancel_subscription(subscription_id=subscription.pk, at=JANUARY, actor=world.TESTER)
        with pytest.raises(InvalidState):
            create(account, phase("ten"), subscription=subscription)
        world.run_cycle(as_of=FEBRUARY)
        with pytest.raises(InvalidState):
            create(account, phase("ten"), at=FEBRUARY, subscription=subscription)

    def test_refuses_somebody_elses(self, account: Account) -> None:
        other = world.subscribe(world.open_account("other"), "ten", at=JANUARY)
        with pytest.raises(NotFound):
            create(account, phase("ten"), subscription=other)

    def test_refuses_another_product(self, account: Account) -> None:
        subscription = world.subscribe(account, "other", at=JANUARY)
        assert find_mistakes(account, phase("ten"), subscription=subscription) == [
            ("/phases/0/plan_id", "other_product")
        ]


class TestUpdate:
    def edit(self, schedule: SubscriptionSchedule, *phases: NewPhase, at: datetime, **options: Any) -> None:
        update_schedule(schedule_id=schedule.pk, phases=phases or None, at=at, actor=world.TESTER, **options)
        schedule.refresh_from_db()

    def find_edit_mistakes(
        self, schedule: SubscriptionSchedule, *phases: NewPhase, at: datetime
    ) -> list[tuple[str, str]]:
        before = list(schedule.phases.values_list("plan_key", "start", "end"))
        with pytest.raises(ValidationFailed) as refusal:
            self.edit(schedule, *phases, at=at)
        assert list(schedule.phases.values_list("plan_key", "start", "end")) == before
        return [(each.pointer, each.code) for each in refusal.value.errors]

    def test_changes_phases_to_come(self, account: Account) -> None:
        schedule = make_ramp(account)
        self.edit(schedule, phase("ten", JANUARY, MARCH), phase("thirty"), at=JANUARY + DAY)
        assert list(schedule.phases.values_list("plan_key", "start", "end")) == [
            ("ten", JANUARY, MARCH),
            ("thirty", MARCH, None),
        ]
        assert (schedule.next_step_at, schedule.revision) == (MARCH, 3)  # made, phase started, edited
        event = Event.objects.get(type="subscription_schedule.updated")
        assert event.previous_data is not None
        assert len(event.previous_data["phases"]) == 3

    def test_keeps_the_rest_when_only_one_thing_is_named(self, account: Account) -> None:
        schedule = make_ramp(account)
        self.edit(schedule, at=JANUARY, end_behavior="cancel")
        self.edit(schedule, at=JANUARY, metadata={"deal": "8"})
        assert (schedule.end_behavior, schedule.metadata, schedule.phases.count()) == ("cancel", {"deal": "8"}, 3)

    def test_without_a_change_does_nothing(self, account: Account) -> None:
        schedule = make_ramp(account)
        phases = [phase("ten", JANUARY), phase("twenty", FEBRUARY), phase("thirty", MARCH, APRIL)]
        self.edit(schedule, *phases, at=JANUARY, end_behavior="release", metadata={})
        assert schedule.revision == 2
        assert not Event.objects.filter(type="subscription_schedule.updated").exists()

    def test_refuses_to_move_what_has_begun(self, account: Account) -> None:
        schedule = make_ramp(account)
        rest = [phase("twenty", FEBRUARY), phase("thirty", MARCH, APRIL)]
        at = FEBRUARY + DAY
        assert self.find_edit_mistakes(schedule, phase("ten", JANUARY + DAY), *rest, at=at) == [
            ("/phases/0/start_date", "immutable")
        ]
        moved = [phase("ten", JANUARY), phase("twenty", FEBRUARY + DAY), phase("thirty", MARCH, APRIL)]
        assert ("/phases/1/start_date", "immutable") in self.find_edit_mistakes(schedule, *moved, at=at)
        changed = [phase("thirty", JANUARY), phase("twenty", FEBRUARY, quantity=2), phase("thirty", MARCH, APRIL)]
        assert self.find_edit_mistakes(schedule, *changed, at=at) == [
            ("/phases/0/plan_id", "immutable"),
            ("/phases/1/items", "immutable"),
        ]
        assert ("/phases/1/start_date", "immutable") in self.find_edit_mistakes(schedule, phase("ten", JANUARY), at=at)

    def test_moves_the_end_of_the_running_phase_but_not_into_the_past(self, account: Account) -> None:
        schedule = make_ramp(account)
        at = JANUARY + 10 * DAY
        assert self.find_edit_mistakes(schedule, phase("ten", JANUARY, JANUARY + DAY), phase("twenty"), at=at) == [
            ("/phases/0/end_date", "out_of_range")
        ]
        self.edit(schedule, phase("ten", JANUARY, MARCH), phase("twenty"), at=at)
        assert schedule.next_step_at == MARCH

    def test_before_the_start_moves_the_start(self, account: Account) -> None:
        schedule = create(account, phase("ten"), start_date=MARCH)
        self.edit(schedule, phase("twenty", FEBRUARY), at=JANUARY)
        assert (schedule.start_date, schedule.next_step_at, schedule.status) == (FEBRUARY, FEBRUARY, "not_started")
        self.edit(schedule, phase("twenty", JANUARY), at=JANUARY)
        assert (schedule.status, get_subscription(schedule).started_at) == ("active", JANUARY)

    def test_refuses_a_revision_that_is_gone(self, account: Account) -> None:
        schedule = make_ramp(account)
        with pytest.raises(InvalidState):
            self.edit(schedule, at=JANUARY, end_behavior="cancel", expected_revision=1)

    def test_of_an_unknown_one_is_refused(self) -> None:
        with pytest.raises(NotFound):
            update_schedule(schedule_id=new_uuid(), at=JANUARY, actor=world.TESTER)


class TestCancel:
    def test_ends_the_subscription_at_once(self, account: Account) -> None:
        schedule = make_ramp(account)
        at = JANUARY + 10 * DAY
        cancel_schedule(schedule_id=schedule.pk, at=at, actor=world.TESTER, reason="wrong deal")
        subscription = get_subscription(schedule)
        assert (schedule.status, schedule.ended_at, schedule.next_step_at) == ("canceled", at, None)
        assert (subscription.status, subscription.ended_at) == ("canceled", at)
        assert Event.objects.get(type="subscription_schedule.canceled").reason == "wrong deal"

    def test_leaves_the_subscription_when_told_to(self, account: Account) -> None:
        schedule = make_ramp(account)
        cancel_schedule(schedule_id=schedule.pk, at=JANUARY, actor=world.TESTER, cancel_subscription=False)
        assert get_subscription(schedule).status == "active"
        world.run_cycle(as_of=FEBRUARY)
        assert list_lines()[1:] == [("subscription", "ten", "02-01", 1000)]

    def test_before_its_start_starts_nothing(self, account: Account) -> None:
        schedule = create(account, phase("ten"), start_date=MARCH)
        cancel_schedule(schedule_id=schedule.pk, at=FEBRUARY, actor=world.TESTER)
        world.run_cycle(as_of=MAY)
        assert not Subscription.objects.exists()


class TestRelease:
    def test_lets_the_subscription_go_on_as_it_is(self, account: Account) -> None:
        schedule = make_ramp(account)
        release_schedule(schedule_id=schedule.pk, at=JANUARY + DAY, actor=world.TESTER)
        world.run_cycle(as_of=MARCH)
        subscription = get_subscription(schedule)
        assert (schedule.status, subscription.status) == ("released", "active")
        assert [amount for *_, amount in list_lines()] == [1000, 1000, 1000]

    def test_does_what_is_due_first(self, account: Account) -> None:
        schedule = make_ramp(account)
        release_schedule(schedule_id=schedule.pk, at=FEBRUARY, actor=world.TESTER)
        world.run_cycle(as_of=FEBRUARY)
        assert get_subscription(schedule).plan_version.plan.key == "twenty"


class TestCancelingTheSubscription:
    def test_cancels_its_schedule_for_good(self, account: Account) -> None:
        schedule = make_ramp(account)
        subscription = get_subscription(schedule)
        cancel_subscription(subscription_id=subscription.pk, at=JANUARY + DAY, actor=world.TESTER)
        schedule.refresh_from_db()
        assert (schedule.status, schedule.ended_at) == ("canceled", JANUARY + DAY)
        reactivate_subscription(subscription_id=subscription.pk, at=JANUARY + 2 * DAY, actor=world.TESTER)
        world.run_cycle(as_of=FEBRUARY)
        assert get_subscription(schedule).plan_version.plan.key == "ten"

    def test_after_a_step_that_was_due_ends_what_that_step_made(self, account: Account) -> None:
        schedule = make_ramp(account)
        cancel_subscription(
            subscription_id=get_subscription(schedule).pk, at=FEBRUARY, actor=world.TESTER, at_period_end=False
        )
        assert list_lines() == [("subscription", "ten", "01-01", 1000), ("subscription", "twenty", "02-01", 2000)]
        assert get_subscription(schedule).status == "canceled"
