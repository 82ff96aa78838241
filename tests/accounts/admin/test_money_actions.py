"""Deposits and invoice credit from an account's page, with and without a second person."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Account, LedgerEntry
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.ledger import get_balance
from billing_site.kernel import clock
from billing_site.platform.models import Approval
from tests.factories.accounts import AT, make_account

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


def sign_in(name: str, role: str = "finance_lead") -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def act(browser: Client, account: Account, action: str, **form: Any) -> str:
    """Confirm an action of the account's page and return the page that answers, or its status when refused."""
    address = reverse(f"admin:accounts_account_{action}", args=[account.pk])
    body = {"_confirmed": "1", "reason": "outage in May", "currency": "", **form}
    return html.unescape(browser.post(address, body, follow=True).content.decode())


def approve(browser: Client) -> str:
    approval = Approval.objects.get()
    page = browser.get(reverse("admin:platform_approval_change", args=[approval.pk]))
    assert page.status_code == 200
    address = reverse("admin:platform_approval_approve_request", args=[approval.pk])
    browser.post(address, {"_confirmed": "1", "reason": "checked the receipt"}, follow=True)
    return html.unescape(page.content.decode())


class TestDeposit:
    def test_below_the_limit_is_booked_at_once(self) -> None:
        account = make_account()
        page = act(sign_in("ada"), account, "deposit_money", amount="100.00")
        assert "100.00 USD deposited" in page
        assert not Approval.objects.exists()

    def test_above_the_limit_is_booked_by_a_second_person(self) -> None:
        account = make_account()
        ada, bob = sign_in("ada"), sign_in("bob")
        page = act(ada, account, "deposit_money", amount="100.01", promotional="on", expires_in="30")
        assert "another person must approve the deposit" in page
        assert not LedgerEntry.objects.exists()
        shown = approve(ada)
        assert not LedgerEntry.objects.exists()
        assert "100.01 USD is added to the prepaid balance as money given away. It expires 30 days after" in shown
        approve(bob)
        assert get_balance(account_id=account.pk, currency="usd").balance == 10_001

    def test_is_asked_for_once(self) -> None:
        account, ada = make_account(), sign_in("ada")
        act(ada, account, "deposit_money", amount="200")
        assert "asked for this already" in act(ada, account, "deposit_money", amount="300")
        assert Approval.objects.get().amount == 20_000


class TestAdjustCredit:
    def test_gives_and_takes(self) -> None:
        account, ada = make_account(), sign_in("ada")
        assert "is 50.00 USD now" in act(ada, account, "adjust_credit", amount="50")
        assert "is 30.00 USD now" in act(ada, account, "adjust_credit", amount="-20")
        assert "not enough available money" in act(ada, account, "adjust_credit", amount="-30.01")
        act(ada, account, "adjust_credit", amount="-30.01", allow_negative="on")
        assert get_invoice_credit(account_id=account.pk, currency="usd") == -1

    def test_above_the_limit_takes_a_second_person(self) -> None:
        account = make_account()
        page = act(sign_in("ada"), account, "adjust_credit", amount="100.01")
        assert "another person must approve the credit" in page
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 0
        assert "100.01 USD is added to the credit" in approve(sign_in("bob"))
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 10_001

    @pytest.mark.parametrize("amount", ["", "x", "--5", "0", "1.234"])
    def test_refuses_what_is_no_amount(self, amount: str) -> None:
        act(sign_in("ada"), make_account(), "adjust_credit", amount=amount)
        assert not LedgerEntry.objects.exists()

    @pytest.mark.parametrize("role", ["viewer", "billing"])
    def test_is_not_for_everybody(self, role: str) -> None:
        act(sign_in("eve", role), make_account(), "adjust_credit", amount="5")
        assert not LedgerEntry.objects.exists()
