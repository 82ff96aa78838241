"""Collecting an invoice: stored money first, then the card, one attempt at a time, booked once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.models import Account, LedgerEntry, LedgerKind, Posting
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.proof import prove_ledger
from accounts.services.accounts import update_account
from accounts.services.deposits import deposit
from billing_site.kernel.errors import InvalidState
from billing_site.platform.models import Event
from billing_site.platform.services.keyed_requests import RequestKeyReused, RequestMark
from invoicing.gateways.local import LocalGateway
from invoicing.gateways.port import ObjectUnknown
from invoicing.models import Invoice, PaymentAllocation, PaymentIntent
from invoicing.services.balance_payments import pay_from_balance
from invoicing.services.collecting import (
    UNKNOWN_OUTCOME,
    Collection,
    CollectionInProgress,
    collect_due,
    collect_invoice,
    collect_invoices_together,
)
from invoicing.services.invoices import void_invoice
from invoicing.services.settling_sweep import NEVER_MADE, settle_payment, settle_unanswered
from tests.support import world
from tests.support.payments import attach, bill, renew
from tests.support.world import DECEMBER, NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
LATER = NOVEMBER + timedelta(days=1)


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish(input_price="1", output_price="1")


@pytest.fixture
def account() -> Account:
    return world.open_account()


def collect(invoice: Invoice, **options: object) -> tuple[Invoice, Collection]:
    return collect_invoice(invoice_id=invoice.pk, at=LATER, actor=TESTER, **options)  # type: ignore[arg-type]


def sum_cash() -> int:
    rows = Posting.objects.filter(ledger_account__kind=LedgerKind.CASH)
    return sum(rows.values_list("amount", flat=True))


def sum_charged() -> int:
    """What the provider took, by its own books."""
    found = LocalGateway().list_payments(since=world.OCTOBER, until=world.DECEMBER.replace(year=2100))
    return sum(each.amount_received for each in found)


class TestCollectInvoice:
    def test_charges_the_card_for_what_stored_money_leaves(self, account: Account) -> None:
        attach(account)
        deposit(account=account, amount=300, currency="usd", at=NOVEMBER, actor=TESTER)
        invoice = bill(account)  # 1000 - 300 of prepaid money at issue
        paid, collection = collect(invoice)
        assert (paid.status, paid.payment_method, paid.amount_paid, paid.attempt_count) == ("paid", "local", 700, 1)
        assert (collection.provider_used, collection.balance_used, collection.error) == (700, 0, None)
        intent = PaymentIntent.objects.get()
        assert (intent.status, intent.amount_received, intent.attempt) == ("succeeded", 700, 1)
        assert intent.call_key == f"invoice:{invoice.public_id}:1"
        assert LedgerEntry.objects.get(key=f"payment:{intent.public_id}").metadata["invoice_id"] == invoice.public_id
        assert sum_cash() == 1000 and sum_charged() == 700
        assert prove_ledger().fault is None

    def test_of_a_declined_card_keeps_what_was_taken(self, account: Account) -> None:
        attach(account, "insufficientlater")
        invoice = bill(account)
        deposit(account=account, amount=300, currency="usd", at=NOVEMBER, actor=TESTER)
        still_open, collection = collect(invoice)
        assert (still_open.status, still_open.amount_paid, still_open.attempt_count) == ("open", 300, 1)
        assert (collection.balance_used, collection.provider_used) == (300, 0)
        assert collection.error == "The card has insufficient funds."
        failed = Event.objects.get(type="invoice.payment_failed")
        assert failed.data["error"] == "The card has insufficient funds."
        intent = PaymentIntent.objects.get()
        assert (intent.status, intent.decline_reason) == ("requires_payment_method", "insufficient_funds")
        assert not PaymentAllocation.objects.get().is_open
        assert prove_ledger().fault is None

    def test_charges_the_method_of_the_request_before_that_of_the_account(self, account: Account) -> None:
        attach(account, "chargecustomerfail")
        other = attach(account, "mastercard")
        paid, _ = collect(bill(account), method=other)
        assert paid.status == "paid"
        assert PaymentIntent.objects.get().payment_method == other

    def test_charges_nothing_by_itself_where_invoices_are_sent(self, account: Account) -> None:
        attach(account)
        update_account(account_id=account.pk, changes={"collection_method": "send_invoice"}, at=NOVEMBER, actor=TESTER)
        invoice = bill(Account.objects.get())
        assert invoice.next_attempt_at is None
        still_open, collection = collect(invoice)
        assert still_open.status == "open" and not PaymentIntent.objects.exists()
        assert "No payment method was charged" in (collection.error or "")

    def test_of_a_paid_invoice_is_refused(self, account: Account) -> None:
        attach(account)
        invoice = bill(account)
        collect(invoice)
        with pytest.raises(InvalidState):
            collect(invoice)
        assert sum_charged() == 1000

    def test_of_a_repeated_request_charges_once(self, account: Account) -> None:
        attach(account)
        invoice, mark = bill(account), RequestMark("k" * 64, "h" * 64)
        collect(invoice, mark=mark)
        again, collection = collect(invoice, mark=mark)
        assert again.status == "paid" and collection.provider_used == 1000
        assert PaymentIntent.objects.count() == 1 and sum_charged() == 1000
        with pytest.raises(RequestKeyReused):
            collect(invoice, mark=RequestMark("k" * 64, "x" * 64))


class TestUnknownOutcome:
    def test_of_a_charge_that_did_succeed_is_settled_by_the_sweep(self, account: Account) -> None:
        attach(account, "succeedslate")
        invoice = bill(account)
        still_open, collection = collect(invoice)
        assert (still_open.status, collection.error) == ("open", UNKNOWN_OUTCOME)
        intent = PaymentIntent.objects.get()
        assert (intent.status, intent.pending_call) == ("processing", "pay")
        with pytest.raises(CollectionInProgress):
            collect(invoice)
        later = intent.updated_at + timedelta(minutes=11)
        assert settle_unanswered(at=later) == 1
        invoice.refresh_from_db()
        assert (invoice.status, invoice.attempt_count) == ("paid", 1)
        assert sum_cash() == sum_charged() == 1000
        assert settle_unanswered(at=later + timedelta(hours=1)) == 0

    def test_of_a_call_that_was_lost_is_made_once_by_the_sweep(self, account: Account) -> None:
        attach(account, "chargetimeout")
        invoice = bill(account)
        collect(invoice)
        assert sum_charged() == 0
        assert settle_payment(intent_id=PaymentIntent.objects.get().pk, at=LATER)
        invoice.refresh_from_db()
        assert invoice.status == "paid" and sum_charged() == 1000

    def test_of_what_is_not_owed_any_more_is_not_charged_again(self, account: Account) -> None:
        attach(account, "chargetimeout")
        invoice = bill(account)
        collect(invoice)
        deposit(account=account, amount=1000, currency="usd", at=LATER, actor=TESTER)
        pay_from_balance(invoice_id=invoice.pk, at=LATER, actor=TESTER)
        assert settle_payment(intent_id=PaymentIntent.objects.get().pk, at=LATER)
        intent = PaymentIntent.objects.get()
        assert (intent.status, intent.last_error) == ("requires_payment_method", NEVER_MADE)
        assert sum_charged() == 0

    def test_of_a_charge_whose_invoice_was_paid_meanwhile_is_invoice_credit(self, account: Account) -> None:
        attach(account, "succeedslate")
        invoice = bill(account)
        collect(invoice)
        deposit(account=account, amount=1000, currency="usd", at=LATER, actor=TESTER)
        pay_from_balance(invoice_id=invoice.pk, at=LATER, actor=TESTER)
        assert settle_payment(intent_id=PaymentIntent.objects.get().pk, at=LATER)
        assert PaymentAllocation.objects.get().applied == 0
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 1000
        assert prove_ledger().fault is None

    def test_keeps_an_invoice_from_being_voided(self, account: Account) -> None:
        attach(account, "succeedslate")
        invoice = bill(account)
        collect(invoice)
        with pytest.raises(InvalidState, match="under way"):
            void_invoice(invoice_id=invoice.pk, at=LATER, actor=TESTER)


class TestCollectDue:
    def test_collects_a_renewal_by_itself_at_once(self, account: Account) -> None:
        attach(account)
        collect(bill(account))
        invoice = renew(account)
        assert (invoice.status, invoice.next_attempt_at) == ("open", DECEMBER)
        assert collect_due(at=DECEMBER) == 1
        invoice.refresh_from_db()
        assert (invoice.status, invoice.next_attempt_at) == ("paid", None)
        assert collect_due(at=DECEMBER) == 0

    def test_leaves_accounts_without_a_method_alone(self, account: Account) -> None:
        invoice = bill(account)
        assert invoice.next_attempt_at is None
        assert collect_due(at=DECEMBER) == 0
        invoice.refresh_from_db()
        assert invoice.attempt_count == 0

    def test_charges_nobody_who_is_there(self, account: Account) -> None:
        attach(account, "failsonrenewal")
        invoice = bill(account)
        paid, _ = collect(invoice, off_session=False)
        assert paid.status == "paid"
        renewal = renew(account)
        collect_due(at=DECEMBER)
        renewal.refresh_from_db()
        assert (renewal.status, renewal.attempt_count) == ("open", 1)


class TestOnePaymentForSeveralInvoices:
    def test_pays_all_of_them(self, account: Account) -> None:
        first = bill(account)
        second = renew(account)
        attach(account)
        intent = collect_invoices_together(
            account=account, invoice_ids=[second.pk, first.pk], at=DECEMBER, actor=TESTER
        )
        assert intent is not None
        assert (intent.status, intent.amount_received) == ("succeeded", 2000)
        assert set(Invoice.objects.values_list("status", flat=True)) == {"paid"}
        applied = PaymentAllocation.objects.filter(intent=intent).values_list("applied", flat=True)
        assert sorted(each or 0 for each in applied) == [1000, 1000]
        assert sum_charged() == sum_cash() == 2000
        assert prove_ledger().fault is None


class TestLocalProvider:
    def test_knows_nothing_of_others_payments(self) -> None:
        with pytest.raises(ObjectUnknown):
            LocalGateway().fetch_payment(payment_ref="pi_other")
