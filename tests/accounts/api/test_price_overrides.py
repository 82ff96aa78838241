"""Negotiated prices over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import pytest

from accounts.models import Account, PriceOverride
from billing_site.platform.models import Event
from tests.support import world
from tests.support.api import BillingClient
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

Clients = Callable[..., BillingClient]
TERMS: dict[str, Any] = {
    "lookup_key": "pro:usd:month:input_tokens",
    "price": {"model": "per_unit", "unit_amount": "0.00004"},
    "effective_from": "2023-12-01",
    "reason": "three-year contract",
}


@pytest.fixture(autouse=True)
def _november(clock_at: Callable[[datetime], AbstractContextManager[None]]) -> Iterator[None]:
    with clock_at(world.NOVEMBER):
        yield


@pytest.fixture
def account() -> Account:
    world.publish()
    return world.open_account("acme/shop")


@pytest.fixture
def client(api_client: Clients) -> BillingClient:
    return api_client(subject="crm")


def address(account: Account | str = "acme/shop", rest: str = "") -> str:
    reference = account if isinstance(account, str) else account.public_id
    return f"/api/internal/billing/accounts/{reference}/price-overrides{rest}"


def agree(client: BillingClient, **changes: Any) -> Any:
    return client.post(address(), {**TERMS, **changes}, format="json")


class TestAgreeing:
    def test_answers_what_was_agreed(self, client: BillingClient, account: Account) -> None:
        response = agree(client)
        row = PriceOverride.objects.get()
        assert response.status_code == 201
        body = response.json()
        assert (body["id"], body["account_id"], body["lookup_key"]) == (
            row.public_id,
            account.public_id,
            "pro:usd:month:input_tokens",
        )
        assert body["price"] == {"model": "per_unit", "unit_amount": "0.00004"}
        assert (body["effective_from"], body["effective_until"]) == ("2023-12-01T00:00:00Z", None)
        assert (body["reason"], body["created_by"]) == ("three-year contract", "token:crm")

    def test_holds_from_now_on_unless_told_otherwise(self, client: BillingClient, account: Account) -> None:
        terms = {name: value for name, value in TERMS.items() if name != "effective_from"}
        assert client.post(address(), terms).json()["effective_from"] == "2023-11-01T00:00:00Z"

    def test_takes_a_price_with_tiers(self, client: BillingClient, account: Account) -> None:
        tiers = [{"up_to": 1000}, {"up_to": None, "unit_amount": "0.00004"}]
        price = agree(client, price={"model": "graduated", "tiers": tiers}).json()["price"]
        assert price == {
            "model": "graduated",
            "tiers": [{"up_to": "1000"}, {"up_to": None, "unit_amount": "0.00004"}],
        }

    def test_points_at_every_finding_in_the_body(self, client: BillingClient, account: Account) -> None:
        answer = agree(client, price={"model": "per_unit", "currency": "eur", "interval": "month"})
        found = findings(problem(answer, "validation_failed", 400))
        assert found == [("/price/currency", "fixed"), ("/price/interval", "fixed")]
        answer = agree(client, price={"model": "graduated", "tiers": [{"up_to": None, "unit_amount": "-1"}]})
        assert findings(problem(answer, "validation_failed", 400)) == [("/price/tiers/0/unit_amount", "negative")]
        assert not PriceOverride.objects.exists()

    def test_refuses_a_misspelled_field_and_an_unknown_price(self, client: BillingClient, account: Account) -> None:
        found = findings(problem(agree(client, until="2024-01-01"), "validation_failed", 400))
        assert found == [("/until", "unknown")]
        found = findings(problem(agree(client, lookup_key="pro:usd:decade"), "validation_failed", 400))
        assert found == [("/lookup_key", "not_found")]

    def test_refuses_two_for_the_same_time(self, client: BillingClient, account: Account) -> None:
        first = agree(client).json()["id"]
        body = problem(agree(client, effective_from="2024-02-01"), "price_override_overlaps", 409)
        assert body["price_override_id"] == first

    def test_refuses_a_closed_account(self, client: BillingClient, account: Account) -> None:
        Account.objects.filter(pk=account.pk).update(status="closed")
        problem(agree(client), "invalid_state", 409)

    def test_happens_once_per_key(self, client: BillingClient, account: Account) -> None:
        headers = {"Idempotency-Key": "contract-7"}
        first = client.post(address(), TERMS, headers=headers)
        again = client.post(address(), TERMS, headers=headers)
        assert (again.json(), again["Idempotent-Replayed"]) == (first.json(), "true")
        assert PriceOverride.objects.count() == 1

    def test_is_billed(self, client: BillingClient, account: Account) -> None:
        agree(client, lookup_key="pro:usd:month", price={"unit_amount": 700}, effective_from="2023-10-01")
        world.subscribe(account, "pro")
        assert [invoice.total for invoice in world.list_invoices()] == [700]


class TestListing:
    def test_shows_all_newest_first_and_filters(self, client: BillingClient, account: Account) -> None:
        ended = agree(client, effective_from="2023-10-01", effective_until="2023-11-01").json()["id"]
        current = agree(client, effective_from="2023-11-01").json()["id"]
        fee = agree(client, lookup_key="pro:usd:month", price={"unit_amount": 700}).json()["id"]

        def list_ids(query: str = "") -> list[str]:
            return [item["id"] for item in client.get(f"{address()}{query}").json()["items"]]

        assert list_ids() == [fee, current, ended]
        assert list_ids("?lookup_key=pro:usd:month") == [fee]
        assert list_ids("?active=true") == [current]
        assert list_ids("?active=false") == [fee, ended]

    def test_keeps_accounts_apart(self, api_client: Clients, client: BillingClient, account: Account) -> None:
        agree(client)
        world.open_account("other")
        assert client.get(address("other")).json()["items"] == []
        problem(client.get(address("nobody")), "not_found", 404)
        problem(api_client(org="elsewhere").get(address(account)), "not_found", 404)


class TestEnding:
    def test_lets_periods_from_then_on_have_the_plan_s_price(self, client: BillingClient, account: Account) -> None:
        override_id = agree(client).json()["id"]
        path = address(account, f"/{override_id}/end")
        body = client.post(path, {"effective_until": "2024-03-01", "reason": "contract over"}).json()
        assert (body["effective_until"], body["end_reason"], body["ended_by"]) == (
            "2024-03-01T00:00:00Z",
            "contract over",
            "token:crm",
        )
        assert Event.objects.get(type="price_override.ended").reason == "contract over"
        answer = client.post(path, {"effective_until": "2024-04-01", "reason": "later"})
        problem(answer, "invalid_state", 409)

    def test_ends_now_unless_told_otherwise(self, client: BillingClient, account: Account) -> None:
        override_id = agree(client, effective_from="2023-10-01").json()["id"]
        body = client.post(address(rest=f"/{override_id}/end"), {"reason": "typo"}).json()
        assert body["effective_until"] == "2023-11-01T00:00:00Z"

    def test_needs_a_reason(self, client: BillingClient, account: Account) -> None:
        override_id = agree(client).json()["id"]
        answer = client.post(address(rest=f"/{override_id}/end"), {})
        assert findings(problem(answer, "validation_failed", 400)) == [("/reason", "required")]

    def test_of_another_account_is_refused(self, client: BillingClient, account: Account) -> None:
        override_id = agree(client).json()["id"]
        world.open_account("other")
        answer = client.post(address("other", f"/{override_id}/end"), {"reason": "typo"})
        assert problem(answer, "not_found", 404)["object_type"] == "price_override"
        assert PriceOverride.objects.get().effective_until is None


class TestScopes:
    def test_agreeing_needs_the_scope_of_publishing(self, api_client: Clients, account: Account) -> None:
        reader = api_client(scopes=["billing:catalog:read", "billing:account:write"])
        assert reader.get(address()).status_code == 200
        assert problem(agree(reader), "scope_missing", 403)["required_scope"] == "billing:catalog:write"
        problem(api_client(audience="public").get(address()), "audience_rejected", 403)
