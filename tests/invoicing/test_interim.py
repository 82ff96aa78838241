"""Usage that is invoiced before its period ends, because it has reached the subscription's threshold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from accounts.services.accounts import update_account
from billing_site.kernel import clock
from invoicing.models import Invoice, InvoiceLine
from invoicing.queries.costs import load_costs
from invoicing.queries.usage_inspection import explain_billing
from invoicing.services.interim import issue_interim_invoices, sweep_interim_invoices
from invoicing.services.invoices import void_invoice
from invoicing.services.verification import verify_invoice
from metering.models import UsageEvent
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.support import world

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
