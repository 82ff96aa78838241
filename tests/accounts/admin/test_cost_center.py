"""Cost centers in the admin."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Account, CostCenter
from billing_site.kernel import clock
from billing_site.platform.models import Event
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.factories.accounts import AT, make_account
from tests.factories.cost_centers import make_branch, make_cost_center
from tests.support import world
from tests.support.forms import read_form
from tests.support.prices import publish_prices

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def account() -> Account:
    return make_account("acme", name="Acme")


@pytest.fixture
def browser() -> Client:
    return sign_in("billing")


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def url(page: str, *arguments: Any) -> str:
    return reverse(f"admin:accounts_costcenter_{page}", args=arguments)


def submit(browser: Client, center: CostCenter, **values: str) -> Any:
    """Post the page's form as a browser would, with some fields changed."""
    address = url("change", center.pk)
    fields = read_form(browser.get(address).content.decode(), "costcenter_form")
    if "is_active" in fields:
        fields["is_active"] = "on"  # what a browser sends for a ticked box that names no value
    return browser.post(address, {**fields, **values})


class TestPages:
    @pytest.mark.parametrize("role", ["viewer", "billing", "admin"])
    def test_open(self, account: Account, role: str) -> None:
        center = make_branch(account, "top", "below")[1]
        page = sign_in(role)
        for address in (url("changelist"), url("change", center.pk)):
            assert page.get(address).status_code == 200

    def test_are_found_by_code_and_account(self, account: Account, browser: Client) -> None:
        center = make_cost_center(account, "ops")
        make_cost_center(make_account("globex", name="Globex"), "dev")
        for term in ("OPS", "acme"):
            listed = browser.get(url("changelist"), {"q": term}).context["cl"].result_list
            assert list(listed) == [center]

    def test_of_the_account_shows_the_tree(self, account: Account, browser: Client) -> None:
        make_branch(account, "zeta", "alpha")
        make_cost_center(account, "off", is_active=False, budget=12_345)
        page = browser.get(reverse("admin:accounts_account_change", args=[account.pk])).content.decode()
        places = [page.index(f">{name}</a>") for name in ("Off", "Zeta", "Alpha")]
        assert places == sorted(places)
        assert "123.45" in page
        assert "Inactive" in page


class TestForms:
    def test_add_through_the_service(self, account: Account, browser: Client) -> None:
        top = make_cost_center(account, "top")
        form = {
            "account": str(account.pk),
            "parent": str(top.pk),
            "name": "Ops",
            "code": "ops",
            "monthly_budget": "250.50",
            "currency": "",
            "description": "",
            "is_active": "on",
        }
        response = browser.post(url("add"), form)
        assert response.status_code == 302, response.context["adminform"].form.errors
        center = CostCenter.objects.get(code="ops")
        assert (center.parent, center.budget, center.currency) == (top, 25_050, "usd")
        event = Event.objects.get(type="cost_center.created", object_id=center.public_id)
        assert (event.actor_type, event.actor_id) == ("staff", "ada-billing")

    def test_change_nothing_when_nothing_was_typed(self, account: Account, browser: Client) -> None:
        center = make_cost_center(account, "ops", budget=1_234_500)
        assert submit(browser, center).status_code == 302
        assert not Event.objects.filter(type="cost_center.updated").exists()

    def test_move_and_deactivate(self, account: Account, browser: Client) -> None:
        top, center = make_cost_center(account, "top"), make_cost_center(account, "ops")
        response = submit(browser, center, parent=str(top.pk), monthly_budget="7")
        assert response.status_code == 302, response.context["adminform"].form.errors
        center.refresh_from_db()
        assert (center.parent, center.budget) == (top, 700)

    @pytest.mark.parametrize(
        ("values", "field"),
        [({"monthly_budget": "1.005"}, "monthly_budget"), ({"currency": "xxq"}, None), ({"code": "TOP"}, None)],
    )
    def test_show_a_refusal(self, account: Account, browser: Client, values: dict[str, str], field: str | None) -> None:
        make_cost_center(account, "top")
        response = submit(browser, make_cost_center(account, "ops"), **values)
        assert response.status_code == 200
        assert (field or "__all__") in response.context["adminform"].form.errors
        assert not Event.objects.filter(type="cost_center.updated").exists()

    def test_show_a_circle_beside_the_form(self, account: Account, browser: Client) -> None:
        top, below = make_branch(account, "top", "below")
        response = submit(browser, top, parent=str(below.pk))
        assert response.status_code == 200
        assert "cannot stand below itself" in response.content.decode()


class TestRemoving:
    def test_asks_for_a_reason_and_leads_to_the_account(self, account: Account, browser: Client) -> None:
        center = make_cost_center(account)
        address = url("remove", center.pk)
        assert browser.post(address, {"_confirmed": "1", "reason": ""}).status_code == 200
        response = browser.post(address, {"_confirmed": "1", "reason": "team dissolved"})
        assert response.headers["Location"] == reverse("admin:accounts_account_change", args=[account.pk])
        assert not CostCenter.objects.exists()
        assert Event.objects.get(type="cost_center.deleted").reason == "team dissolved"

    def test_refuses_a_center_in_use(self, account: Account, browser: Client) -> None:
        top, _ = make_branch(account, "top", "below")
        response = browser.post(url("remove", top.pk), {"_confirmed": "1", "reason": "clean up"})
        assert response.status_code == 409
        assert "in use by cost centers" in response.content.decode()
        assert CostCenter.objects.count() == 2


class TestRunningMonth:
    def test_shows_costs_and_how_much_of_the_budget_is_used(self, browser: Client) -> None:
        publish_prices({"meter": "calls", "model": "per_unit", "unit_amount": "1"})
        account = make_account("acme", name="Acme")
        top, ops = make_branch(account, "top", "ops")
        CostCenter.objects.filter(pk=top.pk).update(budget=400)
        world.subscribe(account, "pay", at=AT.replace(day=1, hour=0))
        for value, code in ((340, "ops"), (7, "")):
            event = NewUsageEvent(account, "calls", Decimal(value), cost_center=code)
            record_usage_events(events=[event], at=AT, actor=world.TESTER)
        page = browser.get(reverse("admin:accounts_account_change", args=[account.pk])).content.decode()
        # 3.40 of 4.00 is 85 percent; with what nobody used 3.47.
        for text in (">3.40<", ">4.00<", "85 %", "3.47 USD in all, 0.07 USD of it without a center"):
            assert text in page
        assert "85 %" in browser.get(url("change", top.pk)).content.decode()
        assert ">3.40<" in browser.get(url("change", ops.pk)).content.decode()

    def test_of_an_account_without_centers_asks_nothing_more(self, browser: Client, account: Account) -> None:
        page = browser.get(reverse("admin:accounts_account_change", args=[account.pk])).content.decode()
        assert "without a center" not in page
