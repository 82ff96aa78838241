"""The admin pages of accounts: they open, and what they change goes through the services."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import (
    Account,
    CreditLot,
    LedgerAccount,
    LedgerEntry,
    Member,
    Subscription,
    TestClock,
)
from accounts.queries.ledger import get_balance
from accounts.services.deposits import deposit
from accounts.services.test_clocks import create_test_clock
from billing_site.kernel import clock
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account, make_member, make_subscription, publish_catalog

pytestmark = pytest.mark.django_db

MODELS = (Account, Member, Subscription, LedgerEntry, LedgerAccount, TestClock, CreditLot)
READ_ONLY = (Subscription, LedgerEntry, LedgerAccount, CreditLot)


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


def sign_in(role: str = "") -> Client:
    """Return a browser signed in as a superuser, or as somebody with one role."""
    user = User.objects.create_user(f"ada-{role}", is_staff=True, is_superuser=not role)
    if role:
        user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def url(model: Any, page: str, *arguments: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


@pytest.fixture
def business() -> dict[Any, Any]:
    """One row of everything, and a few more so that a query per row would show."""
    publish_catalog()
    frozen = create_test_clock(name="slow", now_at=AT, at=AT, actor=ACTOR)
    for number in range(3):
        account = make_account(f"acme/shop-{number}", email=f"shop-{number}@acme.example", test_clock=frozen)
        make_member(account, f"bob-{number}", "admin")
        make_subscription(account, "mixed", quantity=3)
        deposit(account=account, amount=2500, currency="usd", expires_in=9, at=AT, actor=ACTOR, notes="wire")
        deposit(account=account, amount=50, currency="jpy", at=AT, actor=ACTOR)
    return {model: model.objects.order_by("id").first() for model in MODELS}


class TestPages:
    @pytest.mark.parametrize("role", ["", "viewer", "billing"])
    @pytest.mark.parametrize("model", MODELS)
    def test_open(self, business: dict[Any, Any], model: Any, role: str) -> None:
        browser = sign_in(role)
        for address in (url(model, "changelist"), url(model, "change", business[model].pk)):
            response = browser.get(address)
            assert response.status_code == 200, address

    @pytest.mark.parametrize("model", MODELS)
    def test_open_without_rows(self, model: Any) -> None:
        assert sign_in().get(url(model, "changelist")).status_code == 200

    @pytest.mark.parametrize("model", MODELS)
    def test_never_delete(self, business: dict[Any, Any], model: Any) -> None:
        browser = sign_in()
        assert browser.post(url(model, "delete", business[model].pk), {"post": "yes"}).status_code == 403
        assert model.objects.filter(pk=business[model].pk).exists()

    @pytest.mark.parametrize("model", READ_ONLY)
    def test_of_money_never_write(self, business: dict[Any, Any], model: Any) -> None:
        browser = sign_in()
        before = list(model.objects.order_by("id").values())
        assert browser.get(url(model, "add")).status_code == 403
        assert browser.post(url(model, "change", business[model].pk), {"currency": "eur"}).status_code == 403
        assert list(model.objects.order_by("id").values()) == before

    def test_list_money_and_plan_of_accounts(self, business: dict[Any, Any]) -> None:
        page = sign_in().get(url(Account, "changelist")).content.decode()
        assert "Seats and tokens" in page
        assert "25.00" in page

    @pytest.mark.parametrize("term", ["acme/shop-1", "SHOP-1@acme.example", "id"])
    def test_find_accounts(self, business: dict[Any, Any], term: str) -> None:
        wanted = Account.objects.get(external_id="acme/shop-1")
        text = wanted.public_id if term == "id" else term
        response = sign_in().get(url(Account, "changelist"), {"q": text})
        assert list(response.context["cl"].result_list) == [wanted]

    @pytest.mark.parametrize("model", [Subscription, LedgerEntry])
    def test_find_rows_by_public_id(self, business: dict[Any, Any], model: Any) -> None:
        response = sign_in().get(url(model, "changelist"), {"q": business[model].public_id})
        assert list(response.context["cl"].result_list) == [business[model]]

    def test_are_closed_to_people_without_a_role(self, business: dict[Any, Any]) -> None:
        user = User.objects.create_user("eve", is_staff=True)
        browser = Client()
        browser.force_login(user)
        for model in MODELS:
            assert browser.get(url(model, "changelist")).status_code == 403

    def test_are_all_registered(self) -> None:
        assert set(MODELS) <= set(admin.site._registry)


def account_form(**values: Any) -> dict[str, Any]:
    """What the browser sends for the profile form."""
    return {
        "name": "Acme",
        "company": "",
        "external_id": "acme",
        "org_id": "default",
        "email": "",
        "phone": "",
        "status": "active",
        "tier": "free",
        "line1": "",
        "line2": "",
        "postal_code": "",
        "city": "",
        "state": "",
        "country": "",
        "tax_id": "",
        "currency": "usd",
        "timezone": "UTC",
        "collection_method": "charge_automatically",
        "net_terms_days": "",
        "org_name": "",
        "test_clock": "",
        "metadata": "{}",
        **values,
    }


class HiddenInputs(HTMLParser):
    """Collects the hidden inputs of the tables below a form: how many rows, and which."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        name = found.get("name") or ""
        if tag == "input" and found.get("type") == "hidden" and "-" in name and "__prefix__" not in name:
            self.values[name] = found.get("value") or ""


def submit(browser: Client, account: Account, **values: Any) -> Any:
    """Open the account's page and send its form back as a browser does."""
    address = url(Account, "change", account.pk)
    hidden = HiddenInputs(browser.get(address).content.decode()).values
    assert any(name.endswith("-TOTAL_FORMS") for name in hidden)
    return browser.post(address, {**hidden, **account_form(**values)})


class TestAccountForm:
    def test_opens_an_account_through_the_service(self) -> None:
        response = sign_in().post(
            url(Account, "add"), account_form(name="Globex", external_id="globex/x", org_id="globex")
        )
        assert response.status_code == 302, response.context["adminform"].form.errors
        account = Account.objects.get()
        assert (account.name, account.org_id) == ("Globex", "globex")
        assert Member.objects.get().account == account
        event = Event.objects.get(type="account.created")
        assert (event.actor_type, event.actor_id, event.object_id) == ("staff", "ada-", account.public_id)

    def test_changes_a_profile_through_the_service(self) -> None:
        account = make_account("acme", name="Acme")
        response = submit(sign_in(), account, city="Bonn", country="de")
        assert response.status_code == 302, response.context["adminform"].form.errors
        account.refresh_from_db()
        assert (account.city, account.country) == ("Bonn", "DE")
        event = Event.objects.get(type="account.updated")
        assert event.previous_data == {"city": "", "country": ""}

    @pytest.mark.parametrize(
        ("values", "field"), [({"timezone": "Mars/Base"}, "timezone"), ({"country": "QQ"}, "country")]
    )
    def test_shows_a_refusal_beside_its_field(self, values: dict[str, str], field: str) -> None:
        account = make_account("acme", name="Acme")
        response = submit(sign_in(), account, city="Bonn", **values)
        assert response.status_code == 200
        assert field in response.context["adminform"].form.errors
        account.refresh_from_db()
        assert account.city == ""
        assert not Event.objects.filter(type="account.updated").exists()

    def test_keeps_the_currency_once_money_was_booked(self) -> None:
        account = make_account("acme", name="Acme")
        deposit(account=account, amount=5, currency="usd", at=AT, actor=ACTOR)
        response = submit(sign_in(), account, currency="eur")
        assert "currency" in response.context["adminform"].form.errors


class TestDeposit:
    def address(self, account: Account) -> str:
        return reverse("admin:accounts_account_deposit_money", args=[account.pk])

    def test_books_money_with_a_reason(self) -> None:
        account = make_account("acme")
        browser = sign_in()
        assert "Deposit" in browser.get(self.address(account)).content.decode()
        response = browser.post(
            self.address(account),
            {"_confirmed": "1", "amount": "12.50", "reason": "goodwill, ticket 7", "currency": ""},
        )
        assert response.status_code == 302
        assert get_balance(account_id=account.pk, currency="usd").balance == 1250
        event = Event.objects.get(type="balance.deposited")
        assert (event.actor_id, event.reason) == ("ada-", "goodwill, ticket 7")

    @pytest.mark.parametrize(
        "form",
        [
            {"amount": "12.505", "reason": "goodwill"},
            {"amount": "-1", "reason": "goodwill"},
            {"amount": "x", "reason": "goodwill"},
            {"amount": "5", "currency": "xyz", "reason": "goodwill"},
            {"amount": "5", "reason": ""},
        ],
    )
    def test_refuses_and_books_nothing(self, form: dict[str, str]) -> None:
        account = make_account("acme")
        response = sign_in().post(self.address(account), {"_confirmed": "1", "currency": "", **form})
        assert response.status_code in (200, 409)
        assert not LedgerEntry.objects.exists()

    @pytest.mark.parametrize("role", ["viewer", "billing"])
    def test_is_not_for_everybody(self, role: str) -> None:
        account = make_account("acme")
        form = {"_confirmed": "1", "amount": "5", "reason": "goodwill", "currency": ""}
        assert sign_in(role).post(self.address(account), form).status_code == 403
        assert not LedgerEntry.objects.exists()


class TestMembers:
    def test_are_added_and_changed_through_the_services(self) -> None:
        account = make_account("acme")
        browser = sign_in()
        form = {"account": str(account.pk), "user_id": "bob", "email": "", "name": "Bob", "role": "member"}
        assert browser.post(url(Member, "add"), form).status_code == 302
        bob = Member.objects.get(user_id="bob")
        assert browser.post(url(Member, "change", bob.pk), {"role": "admin"}).status_code == 302
        types = Event.objects.filter(object_id=bob.public_id).order_by("id").values_list("type", flat=True)
        assert list(types) == ["account.member_added", "account.member_updated"]

    def test_are_removed_by_an_action(self) -> None:
        bob = make_member(make_account("acme"), "bob")
        address = reverse("admin:accounts_member_remove", args=[bob.pk])
        response = sign_in().post(address, {"_confirmed": "1", "reason": "left the company"})
        assert response.status_code == 302
        assert not Member.objects.filter(pk=bob.pk).exists()

    def test_keep_an_owner(self) -> None:
        owner = Member.objects.get(account=make_account("acme"))
        response = sign_in().post(url(Member, "change", owner.pk), {"role": "member"})
        assert "At least one owner stays" in response.content.decode()
        assert Member.objects.get().role == "owner"


class TestClocks:
    def test_are_made_and_advanced(self) -> None:
        browser = sign_in()
        form = {"name": "fast", "now_at_0": "2026-03-01", "now_at_1": "00:00:00"}
        assert browser.post(url(TestClock, "add"), form).status_code == 302
        made = TestClock.objects.get()
        address = reverse("admin:accounts_testclock_advance", args=[made.pk])
        response = browser.post(address, {"_confirmed": "1", "to": "2026-04-01T00:00", "reason": "month end"})
        assert response.status_code == 302
        assert TestClock.objects.get().now_at - made.now_at == timedelta(days=31)

    def test_do_not_go_back(self) -> None:
        made = create_test_clock(name="c", now_at=AT, at=AT, actor=ACTOR)
        address = reverse("admin:accounts_testclock_advance", args=[made.pk])
        response = sign_in().post(address, {"_confirmed": "1", "to": "2026-01-01T00:00", "reason": "month end"})
        assert response.status_code == 409
        assert TestClock.objects.get().now_at == AT

    def test_are_not_made_in_live_mode(self, settings: Any) -> None:
        settings.BILLING_LIVEMODE = True
        assert sign_in().get(url(TestClock, "add")).status_code == 403
