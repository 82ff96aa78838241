"""Paying an invoice in the admin: what is said first, who may, and what it does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Subscription
from accounts.services.credit_grants import grant_credit
from accounts.services.deposits import deposit
from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.models import Invoice
from tests.support import world
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _an_hour_later() -> Iterator[None]:
    with clock.travel(NOVEMBER + timedelta(hours=1)):
        yield


@pytest.fixture
def invoice() -> Invoice:
    """Return the open invoice of a start that waits for it, over 1000."""
    world.publish()
    world.subscribe(world.open_account(), "pro", payment_gated=True)
    return Invoice.objects.get()


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def name_page(invoice: Invoice) -> str:
    return reverse("admin:invoicing_invoice_pay", args=[invoice.pk])


class TestPay:
    def test_says_first_what_it_takes_then_takes_it(self, invoice: Invoice) -> None:
        account = invoice.account
        grant_credit(account=account, amount=150, currency="usd", at=NOVEMBER, actor=TESTER)
        deposit(account=account, amount=2000, currency="usd", at=NOVEMBER, actor=TESTER)
        browser = sign_in("finance_lead")
        page = browser.get(name_page(invoice)).content.decode()
        assert "1.50 USD from credit grants, 8.50 USD from the prepaid balance" in page
        assert "INV-0001 is paid then" in page
        assert Invoice.objects.get().status == "open"
        answer = browser.post(name_page(invoice), {"_confirmed": "1", "reason": "agreed by phone"}, follow=True)
        assert "INV-0001 is paid." in answer.content.decode()
        assert Subscription.objects.get().status == "active"
        event = Event.objects.get(type="invoice.paid")
        assert (event.actor_id, event.reason) == ("ada-finance_lead", "agreed by phone")

    def test_says_what_stays_open(self, invoice: Invoice) -> None:
        deposit(account=invoice.account, amount=400, currency="usd", at=NOVEMBER, actor=TESTER)
        browser = sign_in("finance_lead")
        assert "6.00 USD of INV-0001 stays open" in browser.get(name_page(invoice)).content.decode()
        answer = browser.post(name_page(invoice), {"_confirmed": "1", "reason": "agreed by phone"}, follow=True)
        page = answer.content.decode()
        assert "6.00 USD stays open." in page
        assert page.count("Prepaid balance") == 2  # the source and its words

    def test_is_refused_without_money_and_without_the_right(self, invoice: Invoice) -> None:
        browser = sign_in("finance_lead")
        assert "has nothing stored that may pay" in browser.get(name_page(invoice)).content.decode()
        answer = browser.post(name_page(invoice), {"_confirmed": "1", "reason": "agreed by phone"})
        assert answer.status_code == 409
        assert sign_in("viewer").get(name_page(invoice)).status_code == 403
        assert Invoice.objects.get().status == "open"
