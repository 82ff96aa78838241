"""Starts that wait for their first payment: what switches them on, and what ends them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, CreditGrant, Subscription
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.services.deposits import deposit
from accounts.services.subscriptions import SubscriptionExists
from accounts.services.test_clocks import advance_test_clock, create_test_clock
from billing_site.platform.models import Event
from catalog.services.publishing import publish_document
from invoicing.models import Invoice, Seller
from invoicing.queries.agenda import list_agenda
from invoicing.services.balance_payments import pay_from_balance
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.incomplete import cancel_unpaid_start, cancel_unpaid_starts
from invoicing.services.invoices import void_invoice
from tests.support import world
from tests.support.world import DECEMBER, NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
DEADLINE = NOVEMBER + timedelta(hours=23)


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish()


def gate(account: Account, plan: str = "pro", **options: Any) -> Subscription:
    return world.subscribe(account, plan, payment_gated=True, **options)


def put(account: Account, amount: int, *, hours: int = 0) -> None:
    at = NOVEMBER + timedelta(hours=hours)
    deposit(account=account, amount=amount, currency="usd", at=at, actor=TESTER)


def pay(invoice: Invoice | None = None, *, hours: int = 1) -> Invoice:
    invoice = invoice or Invoice.objects.get()
    return pay_from_balance(invoice_id=invoice.pk, at=NOVEMBER + timedelta(hours=hours), actor=TESTER)


def list_types() -> list[str]:
    wanted = ("subscription.", "invoice.")
    return [each.type for each in Event.objects.order_by("id") if each.type.startswith(wanted)]


def list_balance(account: Account) -> int:
    return get_balance(account_id=account.pk, currency="usd").balance


class TestAStartThatWaits:
    def test_is_incomplete_holds_its_product_and_no_cycle_bills_it(self) -> None:
        account = world.open_account()
        subscription = gate(account)
        assert (subscription.status, subscription.incomplete_until) == ("incomplete", DEADLINE)
        assert Invoice.objects.get().status == "open"
        with pytest.raises(SubscriptionExists):
            world.subscribe(account, "pro")
        world.run_cycle(as_of=DECEMBER)
        assert Invoice.objects.count() == 1
        assert list_types() == ["subscription.created", "invoice.finalized"]

    def test_that_stored_money_pays_is_active_at_once(self) -> None:
        account = world.open_account()
        put(account, 1000)
        subscription = gate(account)
        assert (subscription.status, subscription.incomplete_until) == ("active", None)
        assert Subscription.objects.get().status == "active"
        assert list_types() == ["subscription.created", "invoice.paid", "subscription.activated"]
        event = Event.objects.get(type="subscription.activated")
        assert event.previous_data == {"status": "incomplete"}
        assert event.data["invoice_id"] == Invoice.objects.get().public_id

    @pytest.mark.parametrize(("plan", "options"), [("payg", {}), ("free", {}), ("pro", {"trial_period_days": 7})])
    def test_needs_a_fee_that_is_due(self, plan: str, options: dict[str, Any]) -> None:
        subscription = gate(world.open_account(), plan, **options)
        assert subscription.status == ("trialing" if options else "active")
        assert subscription.incomplete_until is None

    def test_is_what_the_seller_says_unless_the_request_does(self) -> None:
        Seller.objects.create(org_id="default", payment_gated=True)
        assert world.subscribe(world.open_account(), "pro").status == "incomplete"
        assert world.subscribe(world.open_account("beta"), "pro", payment_gated=False).status == "active"

    def test_in_the_past_is_billed_for_one_period_and_caught_up_when_it_is_paid(self) -> None:
        account = world.open_account()
        gate(account, at=DECEMBER, start_at=NOVEMBER)
        invoice = Invoice.objects.get()
        assert invoice.period_end == DECEMBER
        deposit(account=account, amount=1000, currency="usd", at=DECEMBER, actor=TESTER)
        pay_from_balance(invoice_id=invoice.pk, at=DECEMBER, actor=TESTER)
        world.run_cycle(as_of=DECEMBER)
        assert [each.status for each in world.list_invoices()] == ["paid", "open"]

    def test_gets_the_credit_of_its_plan_with_the_payment_once(self) -> None:
        document = world.make_document()
        document["plans"][1]["limits"] = {"included_cloud_credits": 500}
        publish_document(org_id="default", document=document, at=world.OCTOBER, actor=TESTER)
        account = world.open_account()
        gate(account)
        assert not CreditGrant.objects.exists()
        put(account, 1000)
        pay()
        grant = CreditGrant.objects.get()
        assert (grant.amount, grant.effective_at, grant.expires_at) == (500, NOVEMBER, DECEMBER)

        other = world.open_account("beta")
        put(other, 1000)
        gate(other)
        assert CreditGrant.objects.get(account=other).amount == 500
        assert prove_ledger().fault is None

    def test_is_told_by_the_agenda(self) -> None:
        account = world.open_account(timezone="Europe/Paris")
        gate(account)
        (entry,) = list_agenda(account, at=NOVEMBER, until=DECEMBER)
        assert (entry.at, entry.kind) == (DEADLINE, "start_expires")
        assert entry.text == "Pro is canceled if not paid by 02 Nov 2023, 00:00."  # 23:00 UTC


class TestItsEnd:
    def test_comes_after_23_hours_and_gives_back_what_paid_a_part(self) -> None:
        account = world.open_account()
        put(account, 300)
        subscription = gate(account)
        put(account, 200)
        assert pay().amount_remaining == 500
        assert cancel_unpaid_starts(at=DEADLINE - timedelta(seconds=1)) == 0
        assert cancel_unpaid_starts(at=DEADLINE + timedelta(minutes=4)) == 1
        assert cancel_unpaid_starts(at=DECEMBER) == 0
        subscription.refresh_from_db()
        assert (subscription.status, subscription.ended_at) == ("canceled", DEADLINE)
        assert (subscription.canceled_at, subscription.incomplete_until) == (DEADLINE, None)
        invoice = Invoice.objects.get()
        assert (invoice.status, invoice.voided_at, invoice.credit_applied) == ("void", DEADLINE, 300)
        assert (invoice.amount_paid, invoice.amount_remaining) == (0, 0)
        assert list_balance(account) == 500
        assert list_types()[-2:] == ["invoice.voided", "subscription.canceled"]
        assert Event.objects.get(type="subscription.canceled").reason == "Not paid in time"
        assert prove_ledger().fault is None
        assert world.subscribe(account, "pro", at=DECEMBER).status == "active"

    def test_does_not_come_once_it_is_paid(self) -> None:
        account = world.open_account()
        subscription = gate(account)
        put(account, 1000)
        pay(hours=24)  # late, before the sweep
        assert not cancel_unpaid_start(subscription_id=subscription.pk, at=DECEMBER, actor=TESTER)
        assert cancel_unpaid_starts(at=DECEMBER) == 0
        assert Subscription.objects.get().status == "active"

    def test_keeps_its_hour_when_the_setting_changes(self, settings: Any) -> None:
        settings.BILLING_INCOMPLETE_HOURS = 2
        gate(world.open_account())
        settings.BILLING_INCOMPLETE_HOURS = 48
        assert cancel_unpaid_starts(at=NOVEMBER + timedelta(hours=2)) == 1

    def test_comes_by_the_clock_of_the_account(self) -> None:
        clock = create_test_clock(name="slow", now_at=NOVEMBER, at=NOVEMBER, actor=TESTER)
        gate(world.open_account(test_clock=clock))
        assert cancel_unpaid_starts(at=DECEMBER) == 0
        advance_test_clock(clock_id=clock.pk, to=DEADLINE, at=NOVEMBER, actor=TESTER)
        assert cancel_unpaid_starts(at=NOVEMBER) == 1

    def test_by_hand_voids_its_invoice_too(self) -> None:
        subscription = gate(world.open_account())
        cancel_subscription(subscription_id=subscription.pk, at=NOVEMBER + timedelta(hours=1), actor=TESTER)
        assert Invoice.objects.get().status == "void"
        assert Subscription.objects.get().incomplete_until is None

    def test_comes_also_when_somebody_voided_the_invoice(self) -> None:
        gate(world.open_account())
        void_invoice(invoice_id=Invoice.objects.get().pk, at=NOVEMBER, actor=TESTER)
        assert Subscription.objects.get().status == "incomplete"
        assert cancel_unpaid_starts(at=DEADLINE) == 1


class TestActivatePaid:
    """`past_due` and `unpaid` are what failed collections leave; the status is written."""

    def arrange(self, status: str) -> tuple[Account, list[Invoice]]:
        """Return an account with two open invoices, of November (due on 8 November) and of December."""
        account = world.open_account()
        world.subscribe(account, "pro")
        world.run_cycle(as_of=DECEMBER)
        Subscription.objects.update(status=status)
        return account, world.list_invoices()

    def settle(self, account: Account, invoice: Invoice, *, days: int = 1) -> str:
        at = DECEMBER + timedelta(days=days)
        deposit(account=account, amount=1000, currency="usd", at=at, actor=TESTER)
        pay_from_balance(invoice_id=invoice.pk, at=at, actor=TESTER)
        return Subscription.objects.get().status

    def test_past_due_ends_with_the_bill_that_failed_though_a_newer_one_is_not_due(self) -> None:
        account, (november, _) = self.arrange("past_due")
        assert self.settle(account, november) == "active"
        event = Event.objects.get(type="subscription.activated")
        assert (event.previous_data, event.data["invoice_id"]) == ({"status": "past_due"}, november.public_id)

    def test_past_due_goes_on_while_an_older_bill_is_open(self) -> None:
        account, (november, december) = self.arrange("past_due")
        assert self.settle(account, december) == "past_due"
        assert self.settle(account, november) == "active"

    def test_past_due_goes_on_while_another_bill_is_overdue(self) -> None:
        account, (november, december) = self.arrange("past_due")
        assert self.settle(account, november, days=8) == "past_due"  # the newer one was due on 8 December
        assert self.settle(account, december, days=8) == "active"

    @pytest.mark.parametrize("status", ["past_due", "unpaid"])
    def test_waits_for_what_was_given_up_as_uncollectible(self, status: str) -> None:
        account, (november, december) = self.arrange(status)
        Invoice.objects.filter(pk=december.pk).update(status="uncollectible")
        assert self.settle(account, november) == status
        assert self.settle(account, december) == "active"

    def test_unpaid_ends_when_nothing_is_owed(self) -> None:
        account, (november, december) = self.arrange("unpaid")
        assert self.settle(account, november) == "unpaid"
        assert self.settle(account, december) == "active"
        assert prove_ledger().fault is None

    def test_a_part_does_not_end_it(self) -> None:
        account, (november, _) = self.arrange("past_due")
        deposit(account=account, amount=999, currency="usd", at=DECEMBER, actor=TESTER)
        assert pay_from_balance(invoice_id=november.pk, at=DECEMBER, actor=TESTER).amount_remaining == 1
        assert Subscription.objects.get().status == "past_due"

    def test_a_renewal_that_is_paid_at_issue_ends_it_when_nothing_older_is_open(self) -> None:
        account = world.open_account()
        put(account, 2000)
        world.subscribe(account, "pro")
        Subscription.objects.update(status="past_due")
        world.run_cycle(as_of=DECEMBER)
        subscription = Subscription.objects.get()
        assert (subscription.status, subscription.current_period_start) == ("active", DECEMBER)
