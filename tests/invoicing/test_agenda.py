"""The agenda: what it foretells, and that exactly this is what then happens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, CreditGrant, Subscription, SubscriptionStatus
from accounts.services.credit_grants import grant_credit
from accounts.services.deposits import deposit
from accounts.services.discounts import give_discount
from accounts.services.holds import create_hold
from invoicing.models import Invoice
from invoicing.queries.agenda import list_agenda
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.pauses import pause_subscription, resume_due
from tests.support import world
from tests.support.schedules import FEBRUARY, JANUARY, MARCH, make_ramp, publish_ramp

pytestmark = pytest.mark.django_db

MIDDLE = datetime(2023, 11, 16, tzinfo=UTC)
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
FAR = datetime(2024, 2, 10, tzinfo=UTC)
Entry = tuple[str, str, int | None]


@pytest.fixture
def account() -> Account:
    world.publish(fee=1000)
    return world.open_account()


def read(account: Account, *, at: datetime = MIDDLE, until: datetime = FAR) -> list[Entry]:
    """Return day, kind and amount of what is foretold."""
    return [(f"{entry.at:%m-%d}", entry.kind, entry.amount) for entry in list_agenda(account, at=at, until=until)]


def tell(account: Account, *, at: datetime = MIDDLE, until: datetime = FAR) -> list[tuple[str, str]]:
    return [(f"{entry.at:%m-%d}", entry.text) for entry in list_agenda(account, at=at, until=until)]


class TestSubscriptions:
    def test_renew_with_the_usage_known_now(self, account: Account) -> None:
        world.subscribe(account, "pro")
        world.use(account, "input_tokens", [1_000_000], at=MIDDLE)
        # 1 000 000 x 0.00005 = 50 cents of usage beside the next fee; nothing is known of later months.
        assert read(account) == [("12-01", "invoice", 1050), ("01-01", "invoice", 1000), ("02-01", "invoice", 1000)]

    def test_on_trial_end_it_and_are_billed(self, account: Account) -> None:
        world.subscribe(account, "pro", trial_period_days=30)
        assert read(account, until=NEW_YEAR - timedelta(days=1)) == [
            ("12-01", "trial_ends", None),
            ("12-01", "invoice", 1000),
        ]

    def test_whose_change_waits_are_billed_at_the_new_terms(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro", quantity=3)
        change_subscription(
            subscription_id=subscription.pk, request=ChangeRequest(quantity=1), at=MIDDLE, actor=world.TESTER
        )
        assert read(account)[:2] == [("12-01", "plan_changes", None), ("12-01", "invoice", 1000)]
        assert tell(account)[0] == ("12-01", "Pro, 3 becomes 1.")

    def test_that_end_with_their_period_are_billed_for_usage_only(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro")
        world.use(account, "output_tokens", [2_000_000], at=MIDDLE)
        cancel_subscription(subscription_id=subscription.pk, at=MIDDLE, actor=world.TESTER)
        # 2 000 000 x 0.00015 = 300
        assert read(account) == [("12-01", "subscription_ends", None), ("12-01", "invoice", 300)]

    def test_that_are_paused_resume(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro")
        pause_subscription(
            subscription_id=subscription.pk, resume_at=datetime(2023, 11, 21, tzinfo=UTC), at=MIDDLE, actor=world.TESTER
        )
        assert read(account)[0] == ("11-21", "subscription_resumes", None)

    def test_tell_the_last_month_of_a_discount(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro")
        give_discount(
            subscription_id=subscription.pk,
            percent_off=Decimal(50),
            duration_months=2,
            name="Half",
            at=MIDDLE,
            actor=world.TESTER,
        )
        assert read(account) == [
            ("12-01", "invoice", 500),
            ("01-01", "invoice", 500),
            ("01-01", "discount_ends", None),
            ("02-01", "invoice", 1000),
        ]
        assert ("01-01", "The discount Half was used up.") in tell(account)

    def test_that_have_ended_have_none(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro")
        cancel_subscription(subscription_id=subscription.pk, at_period_end=False, at=MIDDLE, actor=world.TESTER)
        assert read(account) == []

    def test_of_others_are_not_told(self, account: Account) -> None:
        world.subscribe(world.open_account("globex"), "pro")
        assert read(account) == []


class TestSchedules:
    def test_bring_their_plan_at_a_boundary(self) -> None:
        publish_ramp()
        account = world.open_account()
        make_ramp(account)
        at = JANUARY + timedelta(days=10)
        told = [
            (f"{entry.at:%m-%d}", entry.kind, entry.amount)
            for entry in list_agenda(account, at=at, until=FEBRUARY + timedelta(days=1))
        ]
        assert [entry for entry in told if entry[1] == "phase_starts"] == [("02-01", "phase_starts", None)]
        world.run_cycle(as_of=FEBRUARY)
        billed = Invoice.objects.latest("id")
        assert [entry[2] for entry in told if entry[1] == "invoice"] == [billed.total]
        assert read(account, at=FEBRUARY, until=MARCH + timedelta(days=1))[0][:2] == ("03-01", "phase_starts")


class TestMoney:
    def test_that_ends_is_told_with_what_is_left(self, account: Account) -> None:
        end = datetime(2023, 12, 5, tzinfo=UTC)
        common: dict[str, Any] = {"account": account, "currency": "usd", "at": MIDDLE, "actor": world.TESTER}
        deposit(**common, amount=700, expires_at=end)
        grant_credit(**common, amount=300, name="Welcome", expires_at=end + timedelta(days=1))
        create_hold(**common, amount=200, expires_at=end - timedelta(days=1))
        assert read(account) == [
            ("12-04", "hold_expires", 200),
            ("12-05", "deposit_expires", 700),
            ("12-06", "credit_expires", 300),
        ]
        assert tell(account)[2] == ("12-06", "What is left of Welcome expires.")

    def test_that_ends_later_is_not_told(self, account: Account) -> None:
        deposit(account=account, currency="usd", amount=1, expires_at=FAR, at=MIDDLE, actor=world.TESTER)
        assert read(account) == []
        assert read(account, until=FAR + timedelta(seconds=1)) == [("02-10", "deposit_expires", 1)]


class TestLooking:
    def test_writes_nothing(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro", quantity=2)
        change_subscription(
            subscription_id=subscription.pk, request=ChangeRequest(quantity=1), at=MIDDLE, actor=world.TESTER
        )
        with CaptureQueriesContext(connection) as queries:
            list_agenda(account, at=MIDDLE, until=FAR)
        assert [query["sql"] for query in queries if query["sql"].split()[0] not in {"SELECT", "WITH"}] == []
        assert [query["sql"] for query in queries if "FOR UPDATE" in query["sql"] or "FOR NO KEY" in query["sql"]] == []
        assert Subscription.objects.get().pending_quantity == 1

    def test_takes_as_many_queries_for_many_subscriptions_and_a_long_past(self, account: Account) -> None:
        world.subscribe(account, "pro")

        def count(at: datetime) -> int:
            with CaptureQueriesContext(connection) as queries:
                assert read(account, at=at, until=at + timedelta(days=60))
            return len(queries)

        few = count(MIDDLE)
        world.subscribe(account, "free")
        for number in range(3):
            world.run_cycle(as_of=[world.DECEMBER, NEW_YEAR, FAR][number])
        # One more, once usage was billed: whether more of it came late.
        assert count(FAR) <= few + 1


class TestForetold:
    def test_is_what_then_happens(self, account: Account) -> None:
        """A month of usage, a change that waits, a discount of one month, a pause, money that ends: all as told."""
        pro = world.subscribe(account, "pro", quantity=4)
        world.use(account, "input_tokens", [3_000_000], at=MIDDLE)
        change_subscription(subscription_id=pro.pk, request=ChangeRequest(quantity=2), at=MIDDLE, actor=world.TESTER)
        give_discount(
            subscription_id=pro.pk, amount_off=100, duration_months=1, at=MIDDLE, actor=world.TESTER, name="Once"
        )
        told = list_agenda(account, at=MIDDLE, until=FAR)
        foretold = [(entry.at, entry.amount) for entry in told if entry.kind == "invoice"]
        known = Invoice.objects.count()
        for day in (world.DECEMBER, NEW_YEAR, FAR):
            world.run_cycle(as_of=day)
        happened = [
            (invoice.lines.get(type="subscription").period_start, invoice.total)
            for invoice in Invoice.objects.order_by("id")[known:]
        ]
        # 2 x 1000 + 150 - 100, then 2 x 1000
        assert (
            foretold
            == happened
            == [
                (world.DECEMBER, 2050),
                (NEW_YEAR, 2000),
                (datetime(2024, 2, 1, tzinfo=UTC), 2000),
            ]
        )
        assert Subscription.objects.get().quantity == 2
        assert [entry.at for entry in told if entry.kind == "discount_ends"] == [world.DECEMBER]
        assert not pro.discounts.filter(ended_at__isnull=True).exists()

    @pytest.mark.parametrize("back", [datetime(2023, 11, 21, tzinfo=UTC), datetime(2023, 12, 11, 8, tzinfo=UTC)])
    def test_what_follows_a_pause_is_what_then_happens(self, account: Account, back: datetime) -> None:
        pro = world.subscribe(account, "pro", quantity=4)
        change_subscription(subscription_id=pro.pk, request=ChangeRequest(quantity=2), at=MIDDLE, actor=world.TESTER)
        pause_subscription(subscription_id=pro.pk, resume_at=back, at=MIDDLE, actor=world.TESTER)
        told = list_agenda(account, at=MIDDLE, until=FAR)
        assert resume_due(at=back) == 1
        known = Invoice.objects.count()  # what the pause gives back and charges is not told
        for day in (world.DECEMBER, NEW_YEAR, FAR):
            world.run_cycle(as_of=day)
        happened = [
            (invoice.lines.get(type="subscription").period_start, invoice.total)
            for invoice in Invoice.objects.order_by("id")[known:]
        ]
        assert [(entry.at, entry.amount) for entry in told if entry.kind == "invoice"] == happened
        assert {amount for _, amount in happened} == {2000}
        assert len(happened) == (3 if back < world.DECEMBER else 2)

    def test_a_paused_trial_ends_as_much_later(self, account: Account) -> None:
        pro = world.subscribe(account, "pro", trial_period_days=30)
        end = Subscription.objects.get(pk=pro.pk).trial_end
        back = MIDDLE + timedelta(days=5)
        pause_subscription(subscription_id=pro.pk, resume_at=back, at=MIDDLE, actor=world.TESTER)
        moments = {entry.kind: entry.at for entry in list_agenda(account, at=MIDDLE, until=FAR)}
        assert resume_due(at=back) == 1
        assert end is not None
        assert moments["trial_ends"] == Subscription.objects.get(pk=pro.pk).trial_end == end + timedelta(days=5)

    def test_end_of_a_pause_and_of_credit_happen_then(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro")
        back = datetime(2023, 11, 21, tzinfo=UTC)
        pause_subscription(subscription_id=subscription.pk, resume_at=back, at=MIDDLE, actor=world.TESTER)
        grant_credit(account=account, amount=5, currency="usd", expires_at=back, at=MIDDLE, actor=world.TESTER)
        moments = {entry.kind: entry.at for entry in list_agenda(account, at=MIDDLE, until=FAR)}
        just_before = moments["subscription_resumes"] - timedelta(seconds=1)
        assert resume_due(at=just_before) == 0
        assert resume_due(at=moments["subscription_resumes"]) == 1
        assert Subscription.objects.get().status == SubscriptionStatus.ACTIVE
        assert CreditGrant.objects.get().is_ended(moments["credit_expires"])
        assert not CreditGrant.objects.get().is_ended(just_before)
