"""One subscription handled by several at the same moment: whoever comes first, each thing happens once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import CouponRedemption, Subscription
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.proof import prove_ledger
from accounts.services.coupons import redeem_coupon
from billing_site.kernel.errors import DomainError
from billing_site.platform.models import Event
from billing_site.platform.services.events import verify_all
from catalog.models import Coupon
from catalog.services.coupons import create_coupon
from invoicing.models import InvoiceLine, RunOutcome
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.pauses import pause_subscription, resume_due, resume_subscription
from invoicing.services.run_work import work_run
from invoicing.services.runs import RunRequest, plan_run
from tests.support import world
from tests.support.parallel import race
from tests.support.schedules import publish_ramp
from tests.support.world import DECEMBER, NOVEMBER, TESTER

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 5
MIDDLE = datetime(2023, 11, 16, 12, tzinfo=UTC)
LATER = DECEMBER + timedelta(days=9)  # 22 of 31 days are left


def start(number: int, plan: str = "ten") -> Subscription:
    return world.subscribe(world.open_account(f"acme/{number}"), plan)


def count_events(subscription: Subscription) -> Counter[str]:
    """Count what happened to the subscription since it was made."""
    types = Event.objects.filter(object_id=subscription.public_id).values_list("type", flat=True)
    return Counter(each.removeprefix("subscription.") for each in types if each != "subscription.created")


def list_amounts(subscription: Subscription) -> list[int]:
    """List the amounts of what was billed, oldest first."""
    lines = InvoiceLine.objects.filter(invoice__subscription=subscription)
    return list(lines.order_by("invoice__number", "position").values_list("amount", flat=True))


def require_proven() -> None:
    assert prove_ledger().fault is None
    assert [report.fault for report in verify_all() if report.fault is not None] == []


def against_renewal(subscription: Subscription, task: Callable[[], Any]) -> Any:
    """Let `task` meet the billing run that renews the subscription; nothing of the run may fail."""
    run = plan_run(
        org_id=subscription.account.org_id,
        as_of=LATER,
        request=RunRequest(TESTER),
        livemode=False,
        account=subscription.account,
    )
    result, _ = race(task, lambda: work_run(run_id=run.id, actor=TESTER))
    (outcome,) = RunOutcome.objects.filter(run=run)
    assert outcome.status in ("issued", "nothing_to_bill"), outcome.error_detail
    subscription.refresh_from_db()
    return result


class TestTwoChanges:
    def test_of_what_both_saw_are_one_change_and_one_conflict(self) -> None:
        publish_ramp()
        for number in range(ROUNDS):
            subscription = start(number)

            def change(plan: str, key: Any = subscription.pk) -> Any:
                request = ChangeRequest(plan_key=plan)
                return change_subscription(
                    subscription_id=key, request=request, at=MIDDLE, actor=TESTER, expected_revision=0
                )

            results = race(partial(change, "twenty"), partial(change, "thirty"))
            refused = [each for each in results if isinstance(each, DomainError)]
            assert [(each.code, each.status) for each in refused] == [("conflict", 409)]
            subscription.refresh_from_db()
            won = "twenty" if results[1] is refused[0] else "thirty"
            assert (subscription.plan_version.plan.key, subscription.revision) == (won, 1)
            # 15 of 30 days are left: half of 10.00 back, half of 20.00 or 30.00 charged.
            assert list_amounts(subscription) == [1000, -500, {"twenty": 1000, "thirty": 1500}[won]]
            assert count_events(subscription) == {"updated": 1}
        require_proven()


class TestRenewal:
    def test_and_a_pause_bill_the_period_once(self) -> None:
        publish_ramp()
        for number in range(ROUNDS):
            subscription = start(number)
            pause = partial(pause_subscription, subscription_id=subscription.pk, at=LATER, actor=TESTER)
            against_renewal(subscription, pause)
            assert (subscription.status, subscription.paused_at) == ("paused", LATER)
            assert list_amounts(subscription) == [1000, 1000]
            assert count_events(subscription) == {"renewed": 1, "paused": 1}
        require_proven()

    def test_and_a_cancellation_bill_the_period_once_and_give_its_rest_back_once(self) -> None:
        publish_ramp()
        for number in range(ROUNDS):
            subscription = start(number)
            cancel = partial(
                cancel_subscription,
                subscription_id=subscription.pk,
                at=LATER,
                actor=TESTER,
                at_period_end=False,
                unused="credit",
            )
            against_renewal(subscription, cancel)
            assert (subscription.status, subscription.ended_at) == ("canceled", LATER)
            assert list_amounts(subscription) == [1000, 1000, -710]  # 1000 × 22/31 = 709.68
            assert get_invoice_credit(account_id=subscription.account_id, currency="usd") == 710
            assert count_events(subscription) == {"renewed": 1, "canceled": 1}
        require_proven()

    def test_and_a_change_bill_the_period_once_by_the_old_terms(self) -> None:
        publish_ramp()
        for number in range(ROUNDS):
            subscription = start(number)
            request = ChangeRequest(plan_key="twenty")
            change = partial(
                change_subscription, subscription_id=subscription.pk, request=request, at=LATER, actor=TESTER
            )
            against_renewal(subscription, change)
            assert subscription.plan_version.plan.key == "twenty"
            assert list_amounts(subscription) == [1000, 1000, -710, 1419]  # 2000 × 22/31 = 1419.35
            assert count_events(subscription) == {"renewed": 1, "updated": 1}
        require_proven()


class TestResumeDue:
    def pause(self, number: int) -> Subscription:
        subscription = start(number)
        until = MIDDLE + timedelta(days=10)
        return pause_subscription(subscription_id=subscription.pk, at=MIDDLE, actor=TESTER, resume_at=until)

    def test_by_four_workers_resumes_each_once(self, caplog: pytest.LogCaptureFixture) -> None:
        publish_ramp()
        paused = [self.pause(number) for number in range(ROUNDS)]
        assert sum(race(*[partial(resume_due, at=LATER)] * 4)) == ROUNDS
        for subscription in paused:
            subscription.refresh_from_db()
            assert subscription.status == "active"
            assert count_events(subscription) == {"paused": 1, "resumed": 1}
            # Paused on the 16th, resumed on the 26th: 15/30 back and 5/30 charged.
            assert list_amounts(subscription)[1:] == [-500, 167]
        assert "could not be ended" not in caplog.text
        require_proven()

    def test_leaves_a_pause_alone_that_began_meanwhile(self) -> None:
        publish_ramp()
        subscription = self.pause(0)
        again = LATER + timedelta(days=20)

        def work() -> int:
            try:
                return resume_due(at=LATER)
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                resume_subscription(subscription_id=subscription.pk, at=MIDDLE + timedelta(days=3), actor=TESTER)
                late = pool.submit(work)  # finds the pause that we are just ending, and waits for our lock
                with pytest.raises(TimeoutError):
                    late.result(timeout=0.5)
                pause_subscription(
                    subscription_id=subscription.pk, at=MIDDLE + timedelta(days=4), actor=TESTER, resume_at=again
                )
            assert late.result(timeout=30) == 0
        subscription.refresh_from_db()
        assert (subscription.status, subscription.resume_at) == ("paused", again)


class TestTheLastCoupon:
    def test_is_used_by_one_of_ten(self) -> None:
        publish_ramp()
        subscriptions = [start(number) for number in range(10)]
        create_coupon(
            org_id="acme",
            code="LAST",
            discount_type="credit",
            discount_value=Decimal(500),
            currency="usd",
            max_redemptions=3,
            at=NOVEMBER,
            actor=TESTER,
        )
        results = race(
            *[
                partial(redeem_coupon, subscription_id=each.pk, code="last", at=MIDDLE, actor=TESTER)
                for each in subscriptions
            ]
        )
        refused = [each for each in results if isinstance(each, DomainError)]
        assert {(each.code, each.members["reason"]) for each in refused} == {("coupon_not_applicable", "exhausted")}
        assert (len(refused), CouponRedemption.objects.count(), Coupon.objects.get().redemption_count) == (7, 3, 3)
        require_proven()

    def test_is_used_once_by_an_account_that_asks_ten_times(self) -> None:
        publish_ramp()
        subscription = start(0)
        create_coupon(
            org_id="acme",
            code="LAST",
            discount_type="percentage",
            discount_value=Decimal(10),
            at=NOVEMBER,
            actor=TESTER,
        )
        redeem = partial(redeem_coupon, subscription_id=subscription.pk, code="last", at=MIDDLE, actor=TESTER)
        results = race(*[redeem] * 10)
        codes = Counter(each.code if isinstance(each, DomainError) else "used" for each in results)
        assert codes == {"used": 1, "already_redeemed": 9}
        assert Coupon.objects.get().redemption_count == subscription.discounts.count() == 1
