"""Renewing ahead of time: once, by the code of the cycle, and no usage is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Subscription
from billing_site.kernel.errors import InvalidState
from invoicing.models import InvoiceLine
from invoicing.services.billing import BilledSubscription
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.renewals import PeriodAlreadyInvoiced, renew_subscription
from invoicing.services.verification import verify_invoice
from tests.support import world

pytestmark = pytest.mark.django_db

MIDDLE = datetime(2023, 11, 16, 12, tzinfo=UTC)
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish()


def renew(subscription: Subscription, *, at: datetime = MIDDLE, **options: Any) -> BilledSubscription:
    billed = renew_subscription(subscription_id=subscription.id, at=at, actor=world.TESTER, **options)
    subscription.refresh_from_db()
    return billed


def list_lines() -> list[tuple[str, int, int]]:
    """Return type, first day of the period and amount of every line, after recomputing each invoice."""
    assert [str(found) for invoice in world.list_invoices() for found in verify_invoice(invoice).differences] == []
    lines = InvoiceLine.objects.order_by("invoice_id", "position")
    return [(line.type, line.period_start.day, line.amount) for line in lines]


class TestAhead:
    def test_bills_the_next_period_now_and_usage_in_two_parts(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        world.use(account, "input_tokens", [2_000_000], at=MIDDLE - timedelta(days=1), key="before")
        billed = renew(subscription)
        assert (len(billed.invoices), billed.boundaries) == (1, 1)
        assert (subscription.current_period_start, subscription.current_period_end) == (world.DECEMBER, JANUARY)
        assert subscription.usage_from == MIDDLE
        world.use(account, "input_tokens", [4_000_000], at=MIDDLE + timedelta(days=1), key="after")
        world.use(account, "input_tokens", [6_000_000], at=world.DECEMBER + timedelta(days=1), key="next")
        world.run_cycle(as_of=world.DECEMBER + timedelta(days=2))
        assert len(world.list_invoices()) == 2
        world.run_cycle(as_of=JANUARY)
        assert Subscription.objects.get(pk=subscription.pk).usage_from is None
        # The fee of November; that of December with 2,000,000 × 0.00005; that of January with 10,000,000 × 0.00005.
        assert list_lines() == [
            ("subscription", 1, 1000),
            ("subscription", 1, 1000),
            ("usage", 1, 100),
            ("subscription", 1, 1000),
            ("usage", 16, 500),
        ]

    def test_happens_once(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        billed = renew(subscription)
        with pytest.raises(PeriodAlreadyInvoiced) as refused:
            renew(subscription, at=MIDDLE + timedelta(days=1))
        assert refused.value.members == {"invoice_id": billed.invoices[0].public_id}

    def test_loses_no_usage_when_it_is_canceled_before_the_new_period(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        renew(subscription)
        world.use(account, "input_tokens", [4_000_000], at=MIDDLE + timedelta(days=1))
        end = MIDDLE + timedelta(days=2)
        cancel_subscription(subscription_id=subscription.id, at=end, actor=world.TESTER, at_period_end=False)
        assert list_lines()[-1] == ("usage", 16, 200)  # 4,000,000 × 0.00005
        subscription.refresh_from_db()
        assert (subscription.status, subscription.ended_at) == ("canceled", end)

    def test_of_a_trial_bills_its_first_period_and_keeps_the_trial_free(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro", trial_period_days=30)
        renew(subscription)
        world.use(account, "input_tokens", [4_000_000], at=MIDDLE + timedelta(days=1))
        assert (subscription.status, subscription.usage_from) == ("active", None)
        assert subscription.current_period_start == subscription.trial_end
        world.run_cycle(as_of=JANUARY)
        assert list_lines() == [("subscription", 1, 1000), ("subscription", 1, 1000)]


class TestInTime:
    def test_bills_what_is_due(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        billed = renew(subscription, at=world.DECEMBER, force=False)
        assert (billed.boundaries, subscription.usage_from) == (1, None)
        assert subscription.current_period_start == world.DECEMBER

    def test_without_force_is_refused_before_the_end(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        with pytest.raises(PeriodAlreadyInvoiced):
            renew(subscription, force=False)
        usage_only = world.subscribe(world.open_account("other"), "payg")
        with pytest.raises(InvalidState, match="has not ended"):
            renew(usage_only, force=False)


class TestRefusals:
    @pytest.mark.parametrize("status", ["canceled", "paused", "incomplete", "unpaid"])
    def test_of_what_does_not_run(self, status: str) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        Subscription.objects.update(
            status=status,
            ended_at=MIDDLE if status == "canceled" else None,
            paused_at=MIDDLE if status == "paused" else None,
        )
        with pytest.raises(InvalidState):
            renew(subscription)

    def test_of_what_ends_with_the_period(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        cancel_subscription(subscription_id=subscription.id, at=MIDDLE, actor=world.TESTER)
        with pytest.raises(InvalidState, match="ends with this period"):
            renew(subscription)
