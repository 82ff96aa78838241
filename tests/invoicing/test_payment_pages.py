"""Payments in the admin: collecting an invoice, asking the provider, capturing, giving up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Account
from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.models import Invoice, PaymentIntent
from invoicing.services.collecting import collect_invoice
from invoicing.services.payment_intents import NewIntent, confirm_intent, create_intent
from tests.support import world
from tests.support.payments import attach, bill
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _an_hour_later() -> Iterator[None]:
    with clock.travel(NOVEMBER + timedelta(hours=1)):
        yield


@pytest.fixture
def account() -> Account:
    world.publish()
    return world.open_account()


def sign_in(role: str = "billing") -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def name_page(what: str, row: PaymentIntent) -> str:
    return reverse(f"admin:invoicing_paymentintent_{what}", args=[row.pk])


def authorise(account: Account) -> PaymentIntent:
    new = NewIntent(amount=500, currency="usd", method=attach(account), capture_method="manual")
    intent = create_intent(account=account, new=new, at=NOVEMBER, actor=TESTER)
    return confirm_intent(intent_id=intent.pk, at=NOVEMBER, actor=TESTER)


class TestCollect:
    def test_says_first_what_it_charges_then_charges_it(self, account: Account) -> None:
        attach(account, "mastercard")
        invoice, browser = bill(account), sign_in()
        page = reverse("admin:invoicing_invoice_collect", args=[invoice.pk])
        assert "Mastercard ending in 4444 is charged 10.00 USD." in browser.get(page).content.decode()
        assert not PaymentIntent.objects.exists()
        answer = browser.post(page, {"_confirmed": "1", "reason": "asked by phone"}, follow=True).content.decode()
        assert "is paid: 10.00 USD taken." in answer
        assert "Mastercard ending in 4444" in answer  # among the payments of the invoice
        assert Invoice.objects.get().status == "paid"
        assert Event.objects.get(type="invoice.paid").actor_id == "ada-billing"

    def test_says_why_it_stays_open(self, account: Account) -> None:
        attach(account, "insufficientlater")
        invoice, browser = bill(account), sign_in()
        page = reverse("admin:invoicing_invoice_collect", args=[invoice.pk])
        answer = browser.post(page, {"_confirmed": "1", "reason": "asked by phone"}, follow=True).content.decode()
        assert "10.00 USD stays open. The card has insufficient funds." in answer

    def test_needs_the_right(self, account: Account) -> None:
        attach(account)
        page = reverse("admin:invoicing_invoice_collect", args=[bill(account).pk])
        assert sign_in("viewer").post(page, {"_confirmed": "1", "reason": "x"}).status_code == 403
        assert Invoice.objects.get().status == "open"


class TestThePageOfAPayment:
    def test_shows_what_waits_and_asks_the_provider(self, account: Account) -> None:
        attach(account, "succeedslate")
        collect_invoice(invoice_id=bill(account).pk, at=NOVEMBER, actor=TESTER)
        intent, browser = PaymentIntent.objects.get(), sign_in()
        shown = browser.get(name_page("change", intent)).content.decode()
        assert "nswer to pay" in shown and "INV-0001" in shown
        answer = browser.post(name_page("ask", intent), {"_confirmed": "1", "reason": "customer waits"}, follow=True)
        assert "is succeeded." in answer.content.decode()
        assert Invoice.objects.get().status == "paid"

    def test_is_found_by_invoice_id_and_account(self, account: Account) -> None:
        attach(account)
        collect_invoice(invoice_id=bill(account).pk, at=NOVEMBER, actor=TESTER)
        intent, browser = PaymentIntent.objects.get(), sign_in("viewer")
        found = reverse("admin:invoicing_paymentintent_changelist")
        for wanted in (intent.public_id, intent.provider_ref, "INV-0001", "acme"):
            page = browser.get(found, {"q": wanted}).content.decode()
            assert name_page("change", intent) in page, wanted
        assert name_page("change", intent) not in browser.get(found, {"q": "nobody"}).content.decode()

    def test_captures_a_part(self, account: Account) -> None:
        intent, browser = authorise(account), sign_in()
        page = browser.get(name_page("capture", intent)).content.decode()
        assert 'value="5.00"' in page
        body = {"_confirmed": "1", "reason": "delivered", "amount": "3.00"}
        answer = browser.post(name_page("capture", intent), body, follow=True)
        assert "3.00 USD taken." in answer.content.decode()
        intent.refresh_from_db()
        assert (intent.status, intent.amount_received) == ("succeeded", 300)

    def test_refuses_to_capture_more_than_was_set_aside(self, account: Account) -> None:
        intent, browser = authorise(account), sign_in()
        for amount, says in (("9.00", "more than was authorised"), ("much", "is not an amount in USD")):
            body = {"_confirmed": "1", "reason": "delivered", "amount": amount}
            answer = browser.post(name_page("capture", intent), body, follow=True)
            assert says in answer.content.decode()
        intent.refresh_from_db()
        assert intent.status == "requires_capture"

    def test_gives_up_what_was_set_aside(self, account: Account) -> None:
        intent, browser = authorise(account), sign_in()
        assert "5.00 USD that are set aside are released." in browser.get(name_page("give_up", intent)).content.decode()
        browser.post(name_page("give_up", intent), {"_confirmed": "1", "reason": "out of stock"})
        intent.refresh_from_db()
        assert (intent.status, intent.cancellation_reason) == ("canceled", "out of stock")
