"""Usage that is invoiced before its period ends, because it has reached the subscription's threshold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Subscription
from accounts.services.accounts import update_account
from billing_site.kernel import clock
from invoicing.models import Invoice, InvoiceLine
from invoicing.queries.costs import load_costs
from invoicing.queries.usage_inspection import explain_billing
from invoicing.services.interim import (
    CHECK,
    check_thresholds,
    forget_checked,
    issue_interim_invoices,
    look_at_thresholds,
    sweep_interim_invoices,
)
from invoicing.services.invoices import void_invoice
from invoicing.services.verification import verify_invoice
from metering.models import UsageEvent
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.support import world
from tests.support.jobs import SentJobs

pytestmark = pytest.mark.django_db
MID = datetime(2023, 11, 10, 9, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(MID):
        yield


@pytest.fixture
def account() -> Account:
    world.publish(input_price="10", output_price="20")
    account = world.open_account()
    world.subscribe(account, "payg", billing_threshold=50)
    return account


def use(account: Account, quantity: int, *, at: datetime = MID) -> UsageEvent:
    key = f"{account.external_id}-{at:%d%H}-{quantity}"
    event = NewUsageEvent(account, "input_tokens", Decimal(quantity), timestamp=at, idempotency_key=key)
    record_usage_events(events=[event], at=at, actor=world.TESTER)
    return UsageEvent.objects.select_related("account__test_clock", "meter", "cost_center").get(idempotency_key=key)


def sweep(at: datetime = MID) -> list[Invoice]:
    return sweep_interim_invoices(at=at, actor=world.TESTER)


class TestSweepInterimInvoices:
    def test_waits_for_the_threshold(self, account: Account) -> None:
        use(account, 4)
        assert sweep() == []
        use(account, 1)
        (invoice,) = sweep()
        assert (invoice.total, invoice.status, invoice.boundary) == (50, "open", None)
        assert sweep() == []
        assert verify_invoice(invoice, check_usage=True).differences == []

    def test_an_account_has_a_threshold_for_those_without_one(self, account: Account) -> None:
        update_account(account_id=account.pk, changes={"billing_threshold": 30}, at=MID, actor=world.TESTER)
        use(account, 4)
        assert sweep() == []  # its own of 50 holds
        other = world.open_account("other", billing_threshold=30)
        world.subscribe(other, "payg")
        use(other, 4)
        (invoice,) = sweep()
        assert (invoice.account, invoice.total) == (other, 40)

    def test_a_threshold_of_an_account_is_in_its_currency(self, account: Account) -> None:
        other = world.open_account("other", billing_threshold=30)
        world.subscribe(other, "payg")
        use(other, 4)
        Account.objects.filter(pk=other.pk).update(currency="eur")
        assert sweep() == []

    def test_the_closing_invoice_has_the_rest(self, account: Account) -> None:
        use(account, 5)
        sweep()
        use(account, 2, at=MID + timedelta(days=1))
        world.run_cycle(as_of=world.DECEMBER)
        closing = Invoice.objects.latest("id")
        assert (closing.total, closing.boundary is not None) == (20, True)
        assert verify_invoice(closing, check_usage=True).differences == []

    def test_a_void_one_is_billed_when_the_period_closes(self, account: Account) -> None:
        use(account, 5)
        (invoice,) = sweep()
        void_invoice(invoice_id=invoice.pk, at=MID, actor=world.TESTER)
        world.run_cycle(as_of=world.DECEMBER)
        assert Invoice.objects.latest("id").total == 50

    def test_leaves_a_period_that_is_over_to_the_cycle(self, account: Account) -> None:
        use(account, 9)
        assert sweep(world.DECEMBER) == []

    def test_leaves_subscriptions_without_a_threshold(self, account: Account) -> None:
        other = world.open_account("globex")
        world.subscribe(other, "payg")
        use(other, 900)
        assert sweep() == []

    def test_costs_so_far_count_everything_once(self, account: Account) -> None:
        use(account, 5)
        sweep()
        use(account, 2, at=MID + timedelta(hours=1))
        (costs,) = load_costs(accounts=[account], at=MID + timedelta(hours=2))[account.pk].subscriptions
        assert sum(cost.net for cost in costs.running) == 70

    def test_the_inspector_knows_both_sides(self, account: Account) -> None:
        first = use(account, 5)
        sweep()
        second = use(account, 2, at=MID + timedelta(hours=1))
        assert explain_billing(first).state == "invoiced"
        assert (explain_billing(second).state, explain_billing(second).due_at) == ("next_invoice", world.DECEMBER)

    def test_the_number_of_queries_does_not_grow(self, account: Account) -> None:
        def count(names: list[str]) -> int:
            ids = []
            for name in names:
                owner = world.open_account(name)
                ids.append(world.subscribe(owner, "payg", billing_threshold=50).pk)
                use(owner, 5)
                issue_interim_invoices(subscription_ids=ids[-1:], at=MID, actor=world.TESTER)
                use(owner, 7)
            with CaptureQueriesContext(connection) as queries:
                issued = issue_interim_invoices(subscription_ids=ids, at=MID, actor=world.TESTER)
            assert [invoice.total for invoice in issued] == [70] * len(names)
            return len(queries)

        assert count(["b1", "b2", "b3"]) == count(["a1"])
        assert set(InvoiceLine.objects.values_list("sequence", flat=True)) == {0, 1}


class TestAfterIngest:
    def test_an_invoice_follows_the_usage_that_reaches_the_threshold(
        self, account: Account, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            use(account, 5)
        with django_capture_on_commit_callbacks(execute=True):
            assert sent_jobs.run() == ["metering.evaluate_alerts"]
        assert sent_jobs.names == [CHECK]
        sent_jobs.run()
        assert [invoice.total for invoice in Invoice.objects.all()] == [50]
        assert sweep() == []

    def test_is_checked_once_in_a_while(self, account: Account, sent_jobs: SentJobs) -> None:
        (key,) = look_at_thresholds(account_ids=[account.pk], at=MID)
        assert look_at_thresholds(account_ids=[account.pk], at=MID) == []
        forget_checked()
        assert look_at_thresholds(account_ids=[account.pk], at=MID) == [key]

    def test_without_a_threshold_nothing_is_sent(
        self, account: Account, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        other = world.open_account("other")
        world.subscribe(other, "payg")
        with django_capture_on_commit_callbacks(execute=True):
            assert look_at_thresholds(account_ids=[other.pk], at=MID) == []
        assert sent_jobs.names == []

    def test_recording_usage_asks_as_often_with_a_threshold_as_without(self, account: Account) -> None:
        other = world.open_account("other")
        world.subscribe(other, "payg")
        counts = []
        for each in (account, other):
            use(each, 1)
            with CaptureQueriesContext(connection) as queries:
                use(each, 2)
            counts.append(len(queries))
        assert counts[0] == counts[1]

    def test_one_that_has_ended_since_is_left_alone(self, account: Account) -> None:
        use(account, 5)
        keys = look_at_thresholds(account_ids=[account.pk], at=MID)
        Subscription.objects.filter(pk__in=keys).update(billed_by_provider=True)
        assert check_thresholds(subscription_ids=keys, at=MID) == []
        Subscription.objects.filter(pk__in=keys).update(billed_by_provider=False)
        assert [each.total for each in check_thresholds(subscription_ids=keys, at=MID)] == [50]
