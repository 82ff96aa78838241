"""Payment methods in the admin: to look at, make the default, detach."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Account, PaymentMethod
from accounts.models import TestClock as ClockRow
from accounts.services.payment_methods import update_display_data
from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.services.payment_methods import CardVerificationFailed
from tests.factories.accounts import ACTOR, AT, make_account, make_subscription, publish_catalog
from tests.factories.payment_methods import make_payment_method

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def account() -> Account:
    publish_catalog()
    return make_account()


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def address(page: str, *arguments: object) -> str:
    return reverse(f"admin:accounts_paymentmethod_{page}", args=arguments)


class TestPages:
    def test_show_display_data_and_refused_ones(self, account: Account) -> None:
        methods = [make_payment_method(account), make_payment_method(make_account(), "tok_amex")]
        with pytest.raises(CardVerificationFailed):
            make_payment_method(account, "tok_stolen_card")
        browser = sign_in("viewer")
        listed = browser.get(address("changelist")).content.decode()
        assert "Visa ending in 4242" in listed
        assert "Amex ending in 0005" in listed
        shown = browser.get(address("change", methods[0].pk)).content.decode()
        assert "12/2034" in shown
        refused = PaymentMethod.objects.get(status="refused")
        assert "please contact your bank" in browser.get(address("change", refused.pk)).content.decode()
        assert browser.get(address("add")).status_code == 403

    def test_are_found_by_id(self, account: Account) -> None:
        method = make_payment_method(account)
        make_payment_method(make_account(), "tok_amex")
        listed = sign_in("viewer").get(address("changelist"), {"q": method.public_id}).content.decode()
        assert "Visa ending in 4242" in listed
        assert "Amex" not in listed

    def test_stand_on_the_accounts_page(self, account: Account) -> None:
        for token in ("tok_visa", "tok_amex"):
            make_payment_method(account, token)
        page = sign_in("billing").get(reverse("admin:accounts_account_change", args=[account.pk])).content.decode()
        assert "Visa ending in 4242" in page
        assert "Amex ending in 0005" in page


class TestExpiry:
    """The pages say of a card that its end is near or past, by the account's own day."""

    @pytest.mark.parametrize(
        ("month", "year", "mark"),
        [
            # AT is 15 March 2026: 30 days ahead is 14 April, before the last day of that month.
            (4, 2026, ""),
            (3, 2026, "Expires soon"),
            (2, 2026, "Expired"),
        ],
    )
    def test_is_marked(self, account: Account, month: int, year: int, mark: str) -> None:
        method = make_payment_method(account)
        card = {**method.card, "exp_month": month, "exp_year": year}
        update_display_data(method_id=method.pk, card=card, at=AT, actor=ACTOR)
        browser = sign_in("viewer")
        pages = [
            browser.get(address("changelist")).content.decode(),
            browser.get(address("change", method.pk)).content.decode(),
            browser.get(reverse("admin:accounts_account_change", args=[account.pk])).content.decode(),
        ]
        for page in pages:
            assert f"{month:02d}/{year}" in page
            assert [text for text in ("Expires soon", "Expired") if f">{text}<" in page] == ([mark] if mark else [])

    def test_costs_no_query_a_row(self, account: Account) -> None:
        browser, clocked = sign_in("viewer"), make_account()
        clocked.test_clock = ClockRow.objects.create(name="later", now_at=AT)
        clocked.save(update_fields=["test_clock"])
        counts = []
        for _ in range(2):
            for owner in (account, clocked):
                make_payment_method(owner)
            with CaptureQueriesContext(connection) as queries:
                assert browser.get(address("changelist")).status_code == 200
            counts.append(len(queries))
        assert counts[0] == counts[1]


class TestActions:
    BODY = {"_confirmed": "1", "reason": "asked by phone"}

    def test_make_another_one_the_default(self, account: Account) -> None:
        first, second = make_payment_method(account), make_payment_method(account)
        browser = sign_in("billing")
        assert browser.post(address("make_default", second.pk), self.BODY).status_code == 302
        assert PaymentMethod.objects.get(is_default=True) == second
        event = Event.objects.get(type="payment_method.default_changed")
        assert (event.actor_id, event.reason) == ("ada-billing", "asked by phone")
        browser.post(address("make_default", second.pk), self.BODY)
        assert Event.objects.filter(type="payment_method.default_changed").count() == 1
        assert first.pk != second.pk

    def test_detach_and_warn_of_the_only_one(self, account: Account) -> None:
        method = make_payment_method(account)
        make_subscription(account, "pro")
        browser = sign_in("billing")
        assert "has no other method" in browser.get(address("detach", method.pk)).content.decode()
        assert browser.post(address("detach", method.pk), self.BODY).status_code == 409
        assert PaymentMethod.objects.get().is_attached
        assert browser.post(address("detach", method.pk), {**self.BODY, "force": "on"}).status_code == 302
        assert not PaymentMethod.objects.get().is_attached

    def test_are_not_for_everybody(self, account: Account) -> None:
        method = make_payment_method(account)
        browser = sign_in("viewer")
        for action in ("make_default", "detach"):
            assert browser.post(address(action, method.pk), self.BODY).status_code == 403
        assert PaymentMethod.objects.get().is_attached
