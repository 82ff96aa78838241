"""Whether a usage event is on an invoice, on which line, or when it will be, or why on none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Subscription
from billing_site.kernel import clock
from invoicing.models import Invoice
from invoicing.queries.usage_inspection import EventBilling, explain_billing, inspect_usage
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.verification import verify_invoice
from metering.models import UsageEvent
from metering.services.corrections import amend_usage_event, void_usage_event
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.support import world

pytestmark = pytest.mark.django_db
MID = datetime(2023, 11, 10, 9, 30, tzinfo=UTC)
AFTER = world.DECEMBER + timedelta(days=3)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(MID):
        yield


@pytest.fixture
def account() -> Account:
    world.publish()
    return world.open_account()


@pytest.fixture
def subscription(account: Account) -> Subscription:
    return world.subscribe(account)


def find(key: str) -> UsageEvent:
    return UsageEvent.objects.select_related("account__test_clock", "meter", "cost_center").get(idempotency_key=key)


def use(
    account: Account, quantity: int = 100, *, at: datetime = MID, recorded_at: datetime | None = None
) -> UsageEvent:
    """Record an event that happened at `at`, then or later."""
    key = f"{at:%d%H%M}-{quantity}"
    event = NewUsageEvent(account, "input_tokens", Decimal(quantity), timestamp=at, idempotency_key=key)
    record_usage_events(events=[event], at=recorded_at or at, actor=world.TESTER)
    return find(key)


def bill() -> Invoice:
    """Run the cycle of December and return the invoice with the usage of November."""
    world.run_cycle(as_of=world.DECEMBER)
    return Invoice.objects.filter(lines__type="usage").distinct().get()


def void(event: UsageEvent, at: datetime) -> None:
    void_usage_event(event=event, at=at, actor=world.TESTER, reason="Sent twice")


class TestExplainBilling:
    def test_goes_on_the_next_invoice_of_the_subscription(self, account: Account, subscription: Subscription) -> None:
        assert explain_billing(use(account)) == EventBilling("next_invoice", None, subscription, world.DECEMBER)

    def test_is_on_the_line_that_was_made_with_it(self, account: Account, subscription: Subscription) -> None:
        event = use(account)
        invoice = bill()
        found = explain_billing(event)
        assert (found.state, found.is_billed) == ("invoiced", True)
        assert found.line is not None
        assert (found.line.invoice, found.line.type, found.line.meter_id) == (invoice, "usage", event.meter_id)

    def test_recorded_after_the_invoice_is_on_none(self, account: Account, subscription: Subscription) -> None:
        use(account)
        invoice = bill()
        found = explain_billing(use(account, 7, recorded_at=AFTER))
        assert (found.state, found.is_billed) == ("after_invoice", False)
        assert found.line is not None
        assert found.line.invoice == invoice

    def test_of_a_period_that_was_billed_without_its_meter(self, account: Account, subscription: Subscription) -> None:
        world.use(account, "output_tokens", [5_000_000], at=MID)
        bill()
        assert explain_billing(use(account, 7, recorded_at=AFTER)).state == "next_invoice"

    def test_of_the_next_period_goes_on_a_later_invoice(self, account: Account, subscription: Subscription) -> None:
        assert explain_billing(use(account, at=AFTER)).state == "later_invoice"

    def test_from_before_the_subscription_is_on_none(self, account: Account, subscription: Subscription) -> None:
        event = use(account, at=world.OCTOBER + timedelta(days=3), recorded_at=MID)
        assert explain_billing(event).state == "closed"

    def test_without_a_subscription(self, account: Account) -> None:
        assert explain_billing(use(account)).state == "no_subscription"

    def test_of_a_meter_that_no_plan_prices(self, account: Account) -> None:
        world.subscribe(account, "free")
        assert explain_billing(use(account)).state == "not_priced"

    def test_the_subscription_that_prices_it_is_named_of_several(self, account: Account) -> None:
        world.subscribe(account, "free")
        paid = world.subscribe(account, "payg")
        found = explain_billing(use(account))
        assert (found.state, found.subscription) == ("next_invoice", paid)

    def test_in_a_trial_is_not_billed(self, account: Account) -> None:
        world.subscribe(account, "pro", trial_period_days=30)
        assert explain_billing(use(account)).state == "trial"

    def test_charged_when_it_happened(self, account: Account, subscription: Subscription) -> None:
        event = use(account)
        event.charged = True
        assert explain_billing(event).state == "charged"

    def test_of_a_canceled_subscription_stays_on_its_last_invoice(
        self, account: Account, subscription: Subscription
    ) -> None:
        event = use(account)
        at = MID + timedelta(days=1)
        cancel_subscription(subscription_id=subscription.pk, at=at, actor=world.TESTER, at_period_end=False)
        assert explain_billing(event).state == "invoiced"


class TestInspectUsage:
    def test_says_what_the_buckets_say_now(self, account: Account, subscription: Subscription) -> None:
        event = use(account, 100)
        use(account, 20, at=MID + timedelta(minutes=10))
        use(account, 3, at=MID + timedelta(hours=2))
        found = inspect_usage(event, at=MID)
        assert found.facts.counts
        buckets = [
            (bucket.span, bucket.period.start, int(bucket.now.quantity), bucket.now.event_count)
            for bucket in found.facts.buckets
        ]
        assert buckets == [("hour", MID.replace(minute=0), 120, 2), ("day", MID.replace(hour=0, minute=0), 123, 3)]
        assert found.voiding is None

    def test_voided_before_the_invoice_is_on_its_line_and_counts_nothing(
        self, account: Account, subscription: Subscription
    ) -> None:
        event = use(account, 30)
        use(account, 40)
        void(event, MID + timedelta(hours=1))
        invoice = bill()
        found = inspect_usage(event, at=AFTER)
        assert not found.facts.counts
        assert found.voiding is not None
        assert (found.billing.state, found.voiding.state) == ("invoiced", "invoiced")
        assert invoice.lines.get(type="usage", meter=event.meter).quantity == 40

    def test_voided_after_the_invoice_leaves_it_as_it_is(self, account: Account, subscription: Subscription) -> None:
        event = use(account, 30)
        use(account, 40)
        invoice = bill()
        void(event, AFTER)
        found = inspect_usage(event, at=AFTER)
        assert found.voiding is not None
        assert (found.billing.state, found.voiding.state) == ("invoiced", "after_invoice")
        assert invoice.lines.get(type="usage", meter=event.meter).quantity == 70
        checked = verify_invoice(invoice, check_usage=True)
        assert checked.differences == []
        assert checked.late_usage == ["Input tokens: 30 taken back after the invoice (1 event)"]

    def test_names_both_sides_of_an_amendment(self, account: Account, subscription: Subscription) -> None:
        event = use(account, 30)
        done = amend_usage_event(event=event, quantity=Decimal(3), at=MID, actor=world.TESTER, reason="Wrong unit")
        assert inspect_usage(event, at=MID).facts.voided_by == done.correction
        assert done.replacement is not None
        other = inspect_usage(find(done.replacement.idempotency_key), at=MID).facts
        assert (other.made_by, other.voided_by, other.counts) == (done.correction, None, True)
        taking = inspect_usage(find(done.void.idempotency_key), at=MID)
        assert (taking.facts.is_voiding, taking.facts.counts) == (True, False)
        assert taking.billing.state == "next_invoice"

    def test_takes_the_same_queries_whatever_there_is(self, account: Account, subscription: Subscription) -> None:
        event = use(account)

        def count() -> int:
            with CaptureQueriesContext(connection) as queries:
                inspect_usage(event, at=MID)
            return len(queries)

        first = count()
        world.subscribe(account, "free")
        for number in range(1, 9):
            use(account, number)
        assert count() == first
