"""Open invoices paid from stored money: in which order, in parts, charge by charge, and back when they are void."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, CreditBurn, CreditGrant, LedgerEntry, Subscription
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.services.accounts import update_account
from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.credit_grants import grant_credit
from accounts.services.deposits import deposit
from accounts.services.holds import create_hold
from accounts.services.prepaid import InsufficientBalance
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from invoicing.models import Invoice, InvoiceCredit
from invoicing.services.balance_payments import add_payment, pay_from_balance, preview_balance_payment
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.crediting import list_open_charges
from invoicing.services.documents import get_invoice_pdf
from invoicing.services.invoices import void_invoice
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.world import DECEMBER, NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
LATER = DECEMBER + timedelta(days=1)


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish(input_price="1", output_price="1")


@pytest.fixture
def account() -> Account:
    return world.open_account()


def bill(account: Account) -> Invoice:
    """Return the open invoice of December: the fee 1000, and 300 and 200 of usage."""
    world.subscribe(account, "pro")
    void_invoice(invoice_id=Invoice.objects.get().pk, at=NOVEMBER, actor=TESTER)
    world.use(account, "input_tokens", [300], at=NOVEMBER + timedelta(days=3))
    world.use(account, "output_tokens", [200], at=NOVEMBER + timedelta(days=3), key="out")
    world.run_cycle(as_of=DECEMBER)
    invoice = Invoice.objects.get(status="open")
    assert invoice.amount_due == 1500
    return invoice


def give(account: Account, amount: int, **values: Any) -> CreditGrant:
    return grant_credit(account=account, amount=amount, currency="usd", at=LATER, actor=TESTER, **values)


def put(account: Account, amount: int) -> None:
    deposit(account=account, amount=amount, currency="usd", at=LATER, actor=TESTER)


def adjust(account: Account, amount: int) -> None:
    adjust_invoice_credit(account=account, amount=amount, currency="usd", description="sorry", at=LATER, actor=TESTER)


def pay(invoice: Invoice) -> Invoice:
    return pay_from_balance(invoice_id=invoice.pk, at=LATER, actor=TESTER, reason="asked by phone")


def list_rests(invoice: Invoice) -> list[int]:
    return [charge.amount for charge in list_open_charges(Invoice.objects.get(pk=invoice.pk))]


class TestPayFromBalance:
    def test_takes_invoice_credit_then_grants_then_prepaid_money(self, account: Account) -> None:
        invoice = bill(account)
        adjust(account, 100)
        give(account, 200, name="Welcome")
        put(account, 5000)
        settlement = preview_balance_payment(invoice, at=LATER)
        assert settlement is not None
        assert (settlement.invoice_credit, settlement.granted, settlement.prepaid) == (100, 200, 1200)
        paid = pay(invoice)
        assert (paid.status, paid.paid_at, paid.payment_method) == ("paid", LATER, "balance")
        assert (paid.credit_applied, paid.amount_due, paid.amount_paid, paid.amount_remaining) == (0, 1500, 1500, 0)
        assert get_balance(account_id=account.pk, currency="usd").balance == 3800
        parts = InvoiceCredit.objects.filter(invoice=invoice).order_by("position")
        found = [(part.payment, part.source, part.amount, part.description) for part in parts]
        assert found == [
            (1, "invoice_credit", 100, "Invoice credit"),
            (1, "grant", 200, "Welcome"),
            (1, "balance", 1200, "Prepaid balance"),
        ]
        event = Event.objects.get(type="invoice.paid")
        assert (event.data["amount"], event.data["amount_paid"], event.reason) == (1500, 1500, "asked by phone")
        assert event.previous_data == {"status": "open", "amount_paid": 0}
        assert verify_invoice(paid).holds
        assert prove_ledger().fault is None

    def test_of_grants_alone_is_paid_by_credit(self, account: Account) -> None:
        invoice = bill(account)
        give(account, 2000)
        assert pay(invoice).payment_method == "credit"

    def test_takes_part_after_part(self, account: Account) -> None:
        invoice = bill(account)
        put(account, 400)
        first = pay(invoice)
        assert (first.status, first.amount_paid, first.amount_remaining, first.payment_method) == (
            "open",
            400,
            1100,
            "",
        )
        assert Event.objects.get(type="invoice.partially_paid").previous_data == {"amount_paid": 0}
        put(account, 1101)
        assert pay(invoice).status == "paid"
        assert get_balance(account_id=account.pk, currency="usd").balance == 1
        entries = LedgerEntry.objects.filter(key__startswith=f"balance:invoice:{invoice.public_id}").order_by("key")
        assert [each.key[-2:] for each in entries] == [":1", ":2"]
        assert prove_ledger().fault is None

    def test_pays_of_each_charge_only_what_is_left(self, account: Account) -> None:
        invoice = bill(account)
        assert list_rests(invoice) == [1000, 300, 200]
        give(account, 250, eligibility=["input_tokens"])
        pay(invoice)
        assert list_rests(invoice) == [1000, 50, 200]
        put(account, 125)  # a tenth of what is open: 100, 5 and 20
        pay(invoice)
        assert list_rests(invoice) == [900, 45, 180]
        give(account, 1000, eligibility=["input_tokens"])
        assert pay(invoice).amount_remaining == 1080
        assert list_rests(invoice) == [900, 180]
        assert CreditBurn.objects.filter(meter="input_tokens").count() == 2
        assert prove_ledger().fault is None

    def test_leaves_what_a_hold_needs(self, account: Account) -> None:
        invoice = bill(account)
        put(account, 1000)
        create_hold(account=account, amount=900, currency="usd", at=LATER, actor=TESTER)
        assert pay(invoice).amount_paid == 100

    def test_goes_on_after_what_came_in_another_way(self, account: Account) -> None:
        invoice = bill(account)
        add_payment(invoice, amount=750, at=LATER, actor=TESTER, method="card")
        assert list_rests(invoice) == [500, 150, 100]
        put(account, 2000)
        assert pay(invoice).amount_paid == 1500
        assert get_balance(account_id=account.pk, currency="usd").balance == 1250

    def test_pays_what_was_given_up_and_for_a_closed_account(self, account: Account) -> None:
        invoice = bill(account)
        put(account, 2000)
        Invoice.objects.filter(pk=invoice.pk).update(status="uncollectible")
        cancel_subscription(subscription_id=Subscription.objects.get().pk, at=LATER, actor=TESTER, at_period_end=False)
        update_account(account_id=account.pk, changes={"status": "closed"}, at=LATER, actor=TESTER)
        assert pay(invoice).status == "paid"

    def test_is_refused_without_money_and_for_what_is_not_open(self, account: Account) -> None:
        invoice = bill(account)
        assert preview_balance_payment(invoice, at=LATER) is None
        with pytest.raises(InsufficientBalance) as refused:
            pay(invoice)
        assert refused.value.members == {"available": 0, "required": 1500}
        put(account, 1500)
        pay(invoice)
        with pytest.raises(InvalidState):
            pay(invoice)
        with pytest.raises(InvalidState):
            pay(Invoice.objects.get(status="void"))
        with pytest.raises(NotFound):
            pay_from_balance(invoice_id=new_uuid(), at=LATER, actor=TESTER)

    def test_leaves_the_document_as_it_was_issued(self, account: Account) -> None:
        invoice = bill(account)
        before = get_invoice_pdf(invoice)
        put(account, 1500)
        pay(invoice)
        assert get_invoice_pdf(Invoice.objects.get(pk=invoice.pk)) == before


class TestVoiding:
    def test_gives_back_every_part_once(self, account: Account) -> None:
        world.subscribe(account, "pro")
        adjust(account, 40)
        grant = give(account, 60)
        void_invoice(invoice_id=Invoice.objects.get().pk, at=LATER, actor=TESTER)
        world.run_cycle(as_of=LATER)  # 1000 of December, 100 paid at issue
        invoice = Invoice.objects.get(status="open")
        for amount in (300, 200):
            put(account, amount)
            pay(invoice)
        adjust(account, 7)
        other = give(account, 9)
        assert pay(invoice).amount_remaining == 384
        voided = void_invoice(invoice_id=invoice.pk, at=LATER, actor=TESTER)
        assert (voided.credit_applied, voided.amount_paid, voided.amount_remaining) == (100, 0, 0)
        assert get_balance(account_id=account.pk, currency="usd").balance == 500
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 47
        for each, amount in ((grant, 60), (other, 9)):
            each.refresh_from_db()
            assert each.remaining == amount
        assert prove_ledger().fault is None

    def test_is_refused_when_something_else_paid_a_part(self, account: Account) -> None:
        invoice = bill(account)
        put(account, 100)
        pay(invoice)
        invoice.refresh_from_db()
        add_payment(invoice, amount=1, at=LATER, actor=TESTER, method="card")
        with pytest.raises(InvalidState):
            void_invoice(invoice_id=invoice.pk, at=LATER, actor=TESTER)
