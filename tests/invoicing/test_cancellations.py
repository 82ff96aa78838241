"""Ending a subscription: with its period, at once, from every state, and taking it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Subscription, SubscriptionStatus
from accounts.models.subscription import SUBSCRIPTION_TRANSITIONS
from billing_site.kernel.errors import InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from catalog.services.publishing import publish_document
from invoicing.models import Invoice, InvoiceLine
from invoicing.services.cancellations import SubscriptionEnded, cancel_subscription, reactivate_subscription
from invoicing.services.verification import verify_invoice
from tests.support import world

pytestmark = pytest.mark.django_db

MIDDLE = datetime(2023, 11, 16, 12, tzinfo=UTC)
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish()


def cancel(subscription: Subscription, *, at: datetime = MIDDLE, **options: Any) -> Subscription:
    cancel_subscription(subscription_id=subscription.id, at=at, actor=world.TESTER, **options)
    subscription.refresh_from_db()
    return subscription


def list_amounts() -> list[tuple[str, int]]:
    return [(line.type, line.amount) for line in InvoiceLine.objects.order_by("invoice_id", "position")]


class TestAtPeriodEnd:
    def test_runs_on_and_ends_with_the_period_whose_usage_is_billed(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        cancel(subscription, reason="too_expensive", comment="found a cheaper one")
        assert (subscription.status, subscription.cancel_at_period_end) == ("active", True)
        assert (subscription.canceled_at, subscription.ended_at) == (MIDDLE, None)
        event = Event.objects.get(type="subscription.cancel_scheduled")
        assert (event.reason, event.data["cancellation_reason"]) == ("found a cheaper one", "too_expensive")

        world.use(account, "input_tokens", [2_000_000], at=MIDDLE + timedelta(days=3))
        world.run_cycle(as_of=JANUARY)
        subscription.refresh_from_db()
        assert (subscription.status, subscription.ended_at) == ("canceled", world.DECEMBER)
        # the fee of November, its usage 2,000,000 × 0.00005, nothing of December
        assert list_amounts() == [("subscription", 1000), ("usage", 100)]

    def test_of_a_trial_ends_it_unbilled(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro", trial_period_days=30)
        trial_end = subscription.trial_end
        cancel(subscription)
        world.run_cycle(as_of=JANUARY)
        subscription.refresh_from_db()
        assert (subscription.status, subscription.ended_at) == ("canceled", trial_end)
        assert not Invoice.objects.exists()

    def test_drops_a_pending_version(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        Subscription.objects.filter(id=subscription.id).update(pending_plan_version=subscription.plan_version)
        assert cancel(subscription).pending_plan_version_id is None

    @pytest.mark.parametrize("status", ["paused", "unpaid", "incomplete"])
    def test_ends_at_once_what_no_cycle_bills(self, status: str) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        Subscription.objects.filter(id=subscription.id).update(
            status=status, paused_at=MIDDLE if status == "paused" else None
        )
        assert (cancel(subscription).status, subscription.ended_at) == ("canceled", MIDDLE)


class TestAtOnce:
    def test_bills_what_was_used_so_far_and_gives_no_fee_back(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        world.use(account, "input_tokens", [2_000_000], at=MIDDLE - timedelta(days=1))
        world.use(account, "input_tokens", [4_000_000], at=MIDDLE, key="after")
        cancel(subscription, at_period_end=False)
        assert (subscription.status, subscription.ended_at) == ("canceled", MIDDLE)
        assert subscription.next_billing_at is None
        # 2,000,000 × 0.00005 = 100; what came at the moment of the end is not part of it
        assert list_amounts() == [("subscription", 1000), ("usage", 100)]
        line = InvoiceLine.objects.get(type="usage")
        assert (line.period_start, line.period_end) == (world.NOVEMBER, MIDDLE)
        assert verify_invoice(Invoice.objects.latest("id"), check_usage=True).differences == []
        world.run_cycle(as_of=JANUARY)
        assert len(list_amounts()) == 2

    def test_owes_a_fee_in_arrears_and_a_minimum_by_the_days(self) -> None:
        document = world.make_document()
        month = {"currency": "usd", "interval": "month"}
        document["plans"][1]["prices"] = [
            {**month, "unit_amount": 3000, "billing_timing": "arrears"},
            {**month, "meter": "input_tokens", "model": "per_unit", "unit_amount": "1", "minimum_amount": "600"},
        ]
        publish_document(org_id="default", document=document, at=world.OCTOBER, actor=world.TESTER)
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        world.use(account, "input_tokens", [100], at=MIDDLE - timedelta(days=1))
        cancel(subscription, at_period_end=False)
        # 15 of 30 days, the day of the end not counted: 3,000 × 15/30; 100 used of a minimum of 600 × 15/30
        assert list_amounts() == [("subscription", 1500), ("usage", 100), ("one_off", 200)]
        invoice = Invoice.objects.get()
        fee = invoice.lines.get(type="subscription")
        assert "15/30 days" in str(fee.trace["steps"])
        assert verify_invoice(invoice, check_usage=True).differences == []

    def test_catches_up_first(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        cancel(subscription, at=world.DECEMBER + timedelta(days=1), at_period_end=False)
        # November and December in advance, as if the cycle had come in time
        assert list_amounts() == [("subscription", 1000), ("subscription", 1000)]

    def test_of_a_trial_bills_nothing(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro", trial_period_days=30)
        cancel(subscription, at_period_end=False)
        assert (subscription.status, subscription.ended_at) == ("canceled", MIDDLE)
        assert not Invoice.objects.exists()

    @pytest.mark.parametrize("status", sorted(SubscriptionStatus.values))
    def test_ends_whatever_may_end(self, status: str) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        columns: dict[str, Any] = {"status": status}
        if status == "trialing":
            columns["trial_end"] = world.DECEMBER
        if status == "paused":
            columns["paused_at"] = MIDDLE
        if status == "canceled":
            columns["ended_at"] = MIDDLE
        Subscription.objects.filter(id=subscription.id).update(**columns)
        if "canceled" in SUBSCRIPTION_TRANSITIONS[status]:
            assert cancel(subscription, at_period_end=False).status == "canceled"
            assert Event.objects.filter(type="subscription.canceled").count() == 1
        else:
            with pytest.raises(InvalidState):
                cancel(subscription, at_period_end=False)


class TestReactivate:
    def test_takes_a_scheduled_end_back(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        cancel(subscription, reason="other")
        reactivate_subscription(subscription_id=subscription.id, at=MIDDLE, actor=world.TESTER)
        subscription.refresh_from_db()
        assert (subscription.cancel_at_period_end, subscription.canceled_at) == (False, None)
        assert subscription.cancellation_reason == ""
        world.run_cycle(as_of=world.DECEMBER)
        assert list_amounts() == [("subscription", 1000), ("subscription", 1000)]
        assert Event.objects.filter(type="subscription.reactivated").count() == 1

    def test_changes_nothing_where_nothing_is_scheduled(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        reactivate_subscription(subscription_id=subscription.id, at=MIDDLE, actor=world.TESTER)
        assert not Event.objects.filter(type="subscription.reactivated").exists()

    def test_comes_too_late_after_the_end(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        cancel(subscription, at_period_end=False)
        with pytest.raises(SubscriptionEnded):
            reactivate_subscription(subscription_id=subscription.id, at=MIDDLE, actor=world.TESTER)


class TestRefusals:
    def test_an_unknown_reason(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        with pytest.raises(ValidationFailed):
            cancel(subscription, reason="bored")

    def test_an_unknown_subscription(self) -> None:
        with pytest.raises(NotFound):
            cancel_subscription(subscription_id=new_uuid(), at=MIDDLE, actor=world.TESTER)
