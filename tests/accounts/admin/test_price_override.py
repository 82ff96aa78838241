"""Negotiated prices in the admin: agreed through the service, shown on the account, ended with a reason."""

from __future__ import annotations

import html
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Account, PriceOverride
from billing_site.kernel import clock
from billing_site.platform.models import Event
from tests.support import world

pytestmark = pytest.mark.django_db

ADD = "/admin/accounts/priceoverride/add/"


@pytest.fixture(autouse=True)
def _november() -> Iterator[None]:
    with clock.travel(world.NOVEMBER):
        yield


@pytest.fixture
def account() -> Account:
    """Subscribed to Pro, in a zone five hours behind UTC."""
    world.publish()
    account = world.open_account("acme", timezone="America/New_York")
    world.subscribe(account, "pro")
    return account


def sign_in(role: str = "finance_lead") -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def fill_in(account: Account, **values: str) -> dict[str, str]:
    """What the browser sends for the form."""
    return {
        "account": str(account.pk),
        "lookup_key": "pro:usd:month:input_tokens",
        "model": "per_unit",
        "unit_amount": "0.00004",
        "terms": "",
        "effective_from": "2023-12-01",
        "effective_until": "",
        "reason": "three-year contract",
        "_save": "Save",
        **values,
    }


def agree(account: Account, **values: str) -> PriceOverride:
    response = sign_in().post(ADD, fill_in(account, **values))
    assert response.status_code == 302, response.context["adminform"].form.errors
    return PriceOverride.objects.get()


def read(response: Any) -> str:
    return " ".join(html.unescape(response.content.decode()).split())


class TestAgreeing:
    def test_ends_in_the_service_and_leads_back_to_the_account(self, account: Account) -> None:
        response = sign_in().post(ADD, fill_in(account))
        address = reverse("admin:accounts_account_change", args=[account.pk])
        assert (response.status_code, response["Location"]) == (302, address)
        row = PriceOverride.objects.get()
        # midnight of the account's first of December
        assert row.effective_from.isoformat() == "2023-12-01T05:00:00+00:00"
        assert (row.created_by, row.reason) == ("staff:ada-finance_lead", "three-year contract")
        assert Event.objects.get(type="price_override.created").actor_id == "ada-finance_lead"

    def test_offers_the_prices_of_the_account_s_plans(self, account: Account) -> None:
        form = sign_in().get(f"{ADD}?account={account.pk}").context["adminform"].form
        assert [key for key, _ in form.fields["lookup_key"].choices] == [
            "pro:usd:month",
            "pro:usd:month:input_tokens",
            "pro:usd:month:output_tokens",
        ]
        assert f"{form.initial['effective_from']}" == "2023-11-01"

    def test_takes_tiers_as_json(self, account: Account) -> None:
        terms = '{"tiers": [{"up_to": 1000}, {"up_to": null, "unit_amount": "0.00004"}]}'
        row = agree(account, model="graduated", unit_amount="", terms=terms)
        assert row.options["tiers"][1] == {"up_to": None, "unit_amount": "0.00004"}

    def test_takes_a_fee_in_whole_minor_units(self, account: Account) -> None:
        row = agree(account, lookup_key="pro:usd:month", model="", unit_amount="900")
        assert (row.model, row.unit_amount) == ("flat", Decimal(900))

    @pytest.mark.parametrize(
        ("values", "field", "said"),
        [
            ({"unit_amount": "-1"}, "unit_amount", "cannot be negative"),
            ({"lookup_key": "pro:usd:decade"}, "lookup_key", "No plan has a price"),
            ({"effective_until": "2023-11-30"}, "effective_until", "after it begins"),
            ({"reason": "x"}, "reason", "at least 5 characters"),
            ({"terms": "{"}, "terms", "not JSON"),
            ({"terms": "[]"}, "terms", "JSON object"),
            ({"terms": '{"currency": "eur"}'}, "terms", "currency: This is what the price is for"),
            (
                {"model": "graduated", "unit_amount": "", "terms": '{"tiers": [{"up_to": 5}]}'},
                "terms",
                "tiers/0/up_to:",
            ),
        ],
    )
    def test_shows_every_finding_at_its_field(
        self, account: Account, values: dict[str, str], field: str, said: str
    ) -> None:
        page = sign_in().post(ADD, fill_in(account, **values))
        assert page.status_code == 200
        errors = page.context["adminform"].form.errors
        assert list(errors) == [field]
        assert said in " ".join(errors[field])
        assert not PriceOverride.objects.exists()

    def test_shows_findings_of_several_fields_at_once(self, account: Account) -> None:
        page = sign_in().post(ADD, fill_in(account, unit_amount="-1", terms='{"tiers": []}'))
        assert set(page.context["adminform"].form.errors) == {"unit_amount", "terms"}

    def test_refuses_two_for_the_same_time(self, account: Account) -> None:
        row = agree(account)
        page = Client()
        page.force_login(User.objects.get(username="ada-finance_lead"))
        response = page.post(ADD, fill_in(account))
        assert f"{row.public_id} holds from" in read(response)
        assert PriceOverride.objects.count() == 1

    @pytest.mark.parametrize("role", ["viewer", "billing"])
    def test_is_not_for_everybody(self, account: Account, role: str) -> None:
        browser = sign_in(role)
        assert browser.get(ADD).status_code == 403
        assert browser.post(ADD, fill_in(account)).status_code == 403
        page = browser.get(reverse("admin:accounts_account_change", args=[account.pk]))
        assert (page.status_code, ADD in page.content.decode()) == (200, False)


class TestShowing:
    def test_the_account_lists_what_was_agreed_and_offers_more(self, account: Account) -> None:
        agree(account)
        page = sign_in("admin").get(reverse("admin:accounts_account_change", args=[account.pk]))
        text = read(page)
        for expected in ("pro:usd:month:input_tokens", "0.0000004 USD per unit", "To come", "three-year contract"):
            assert expected in text
        assert f"{ADD}?account={account.pk}" in page.content.decode()

    @pytest.mark.parametrize("role", ["viewer", "billing", "finance_lead"])
    def test_pages_open_and_never_edit(self, account: Account, role: str) -> None:
        row = agree(account) if role != "finance_lead" else agree(account, effective_until="2024-01-01")
        browser = sign_in(role) if role != "finance_lead" else Client()
        if role == "finance_lead":
            browser.force_login(User.objects.get(username="ada-finance_lead"))
        address = reverse("admin:accounts_priceoverride_change", args=[row.pk])
        text = read(browser.get(address))
        for expected in ("price_override.created", "default: Pro", '"unit_amount": "0.00004"'):
            assert expected in text
        assert browser.post(address, {"reason": "another"}).status_code == 403
        assert browser.post(reverse("admin:accounts_priceoverride_delete", args=[row.pk])).status_code == 403
        listed = browser.get(reverse("admin:accounts_priceoverride_changelist"), {"q": row.public_id})
        assert list(listed.context["cl"].result_list) == [row]


class TestEnding:
    def end(self, row: PriceOverride, **values: str) -> Any:
        browser = Client()
        browser.force_login(User.objects.get(username="ada-finance_lead"))
        address = reverse("admin:accounts_priceoverride_end", args=[row.pk])
        return browser.post(address, {"_confirmed": "1", "effective_until": "", "reason": "contract over", **values})

    def test_asks_for_a_reason_and_says_until_when(self, account: Account) -> None:
        row = agree(account)
        assert "This field is required" in read(self.end(row, reason=""))
        assert self.end(row, effective_until="2024-03-01").status_code == 302
        row.refresh_from_db()
        assert row.effective_until is not None
        assert (row.effective_until.isoformat(), row.end_reason) == ("2024-03-01T05:00:00+00:00", "contract over")
        assert row.ended_by == "staff:ada-finance_lead"

    def test_of_one_to_come_withdraws_it(self, account: Account) -> None:
        row = agree(account)
        assert self.end(row).status_code == 302
        row.refresh_from_db()
        assert row.effective_until == row.effective_from
        page = sign_in("viewer").get(reverse("admin:accounts_priceoverride_change", args=[row.pk]))
        assert "Withdrawn" in read(page)

    def test_happens_once(self, account: Account) -> None:
        row = agree(account)
        self.end(row)
        response = self.end(row)
        assert response.status_code == 302
        assert Event.objects.filter(type="price_override.ended").count() == 1
