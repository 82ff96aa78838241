"""Items that wait for the next invoice, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Subscription
from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.models import Invoice, PendingCharge
from tests.support import world
from tests.support.api import BillingClient
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

Clients = Callable[..., BillingClient]
ROUTER = {"description": "Router", "amount": 2500}


@pytest.fixture(autouse=True)
def _mid_november() -> Iterator[None]:
    with clock.travel(world.NOVEMBER + timedelta(days=9)):
        yield


@pytest.fixture
def account() -> Account:
    world.publish()
    return world.open_account("shop")


@pytest.fixture
def subscription(account: Account) -> Subscription:
    return world.subscribe(account, "pro")


@pytest.fixture
def client(api_client: Clients) -> BillingClient:
    return api_client(subject="crm")


def address(item: str = "", account: str = "shop") -> str:
    return f"/api/internal/billing/accounts/{account}/invoice-items{item and f'/{item}'}"


class TestCreating:
    def test_answers_what_waits_and_the_next_invoice_has_it(
        self, client: BillingClient, account: Account, subscription: Subscription
    ) -> None:
        response = client.post(address(), {**ROUTER, "subscription_id": subscription.public_id, "reason": "agreed"})
        assert response.status_code == 201
        body = response.json()
        expected = {
            "account_id": account.public_id,
            "subscription_id": subscription.public_id,
            "status": "waiting",
            "description": "Router",
            "type": "one_off",
            "quantity": "1",
            "unit_price": None,
            "amount": 2500,
            "currency": "usd",
            "invoice_id": None,
            "reason": "agreed",
            "dropped_at": None,
        }
        assert {name: body[name] for name in expected} == expected
        # the local day on which it was entered
        assert (body["period_start"], body["period_end"]) == ("2023-11-10T00:00:00Z", "2023-11-11T00:00:00Z")
        assert Event.objects.get(type="invoice_item.created").object_id == body["id"]
        world.run_cycle(as_of=world.DECEMBER)
        issued = Invoice.objects.latest("id")
        assert issued.total == 1000 + 2500
        (shown,) = client.get(address()).json()["items"]
        assert (shown["status"], shown["invoice_id"]) == ("invoiced", issued.public_id)

    def test_takes_a_quantity_with_a_price_and_a_credit(self, client: BillingClient, account: Account) -> None:
        hours = {"description": "Hours", "quantity": "2.5", "unit_price": "1333.3"}
        # 2.5 × 1333.3 = 3333.25 minor units, rounded once
        body = client.post(address(), hours).json()
        assert (body["amount"], body["quantity"], body["unit_price"]) == (3333, "2.5", "1333.3")
        assert client.post(address(), {"description": "Sorry", "amount": -300}).json()["amount"] == -300

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"amount": 5}, "/description"),
            ({"description": "x"}, "/amount"),
            ({"description": "x", "amount": 5, "unit_price": "1"}, "/amount"),
            ({"description": "x", "amount": "five"}, "/amount"),
            ({"description": "x", "amount": 5, "nonsense": 1}, "/nonsense"),
        ],
    )
    def test_refuses(self, client: BillingClient, account: Account, body: dict[str, Any], pointer: str) -> None:
        assert pointer in [each[0] for each in findings(client.post(address(), body).json())]
        assert not PendingCharge.objects.exists()

    def test_refuses_what_is_not_the_accounts(self, client: BillingClient, account: Account) -> None:
        other = world.subscribe(world.open_account("other"), "pro")
        problem(client.post(address(), {**ROUTER, "subscription_id": other.public_id}), "not_found", 404)
        problem(client.post(address(), {**ROUTER, "subscription_id": "sub_x"}), "not_found", 404)
        problem(client.post(address(account="nobody"), ROUTER), "not_found", 404)

    def test_refuses_another_currency_than_the_subscriptions(
        self, client: BillingClient, subscription: Subscription
    ) -> None:
        body = {**ROUTER, "currency": "eur", "subscription_id": subscription.public_id}
        problem(client.post(address(), body), "currency_mismatch", 422)
        problem(client.post(address(), {**ROUTER, "currency": "xxx"}), "currency_unsupported", 400)

    def test_a_repeat_with_its_key_leaves_one(self, client: BillingClient, account: Account) -> None:
        key = {"Idempotency-Key": "once"}
        first, again = (client.post(address(), ROUTER, headers=key) for _ in range(2))
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert PendingCharge.objects.count() == Event.objects.filter(type="invoice_item.created").count() == 1
        problem(client.post(address(), {**ROUTER, "amount": 1}, headers=key), "idempotency_key_reused", 422)

    def test_takes_the_scope(self, api_client: Clients, account: Account) -> None:
        reader = api_client(subject="reader", scopes=["billing:read"])
        problem(reader.post(address(), ROUTER), "scope_missing", 403)
        assert reader.get(address()).status_code == 200


class TestListing:
    def test_narrows(self, client: BillingClient, subscription: Subscription) -> None:
        client.post(address(), {**ROUTER, "subscription_id": subscription.public_id})
        dropped = client.post(address(), {**ROUTER, "description": "Cable"}).json()["id"]
        client.delete(address(dropped))

        def ask(**query: str) -> list[str]:
            return [each["description"] for each in client.get(address(), query).json()["items"]]

        assert ask() == ["Cable", "Router"]
        assert (ask(status="waiting"), ask(status="dropped"), ask(status="invoiced")) == (["Router"], ["Cable"], [])
        assert ask(subscription_id=subscription.public_id) == ["Router"]
        problem(client.get(address(), {"status": "gone"}), "validation_failed", 400)

    def test_asks_as_often_for_many_as_for_few(self, client: BillingClient, account: Account) -> None:
        counts = []
        for number in (1, 5):
            for _ in range(number):
                client.post(address(), ROUTER)
            with CaptureQueriesContext(connection) as queries:
                client.get(address())
            counts.append(len(queries))
        assert counts[0] == counts[1]


class TestDeleting:
    def test_takes_back_what_waits(self, client: BillingClient, subscription: Subscription) -> None:
        item = client.post(address(), ROUTER).json()["id"]
        response = client.delete(address(item))
        assert (response.status_code, response.json()["status"]) == (200, "dropped")
        assert response.json()["dropped_at"] is not None
        problem(client.delete(address(item)), "invalid_state", 409)
        world.run_cycle(as_of=world.DECEMBER)
        assert Invoice.objects.latest("id").total == 1000

    def test_refuses_what_an_invoice_has(self, client: BillingClient, subscription: Subscription) -> None:
        item = client.post(address(), ROUTER).json()["id"]
        world.run_cycle(as_of=world.DECEMBER)
        problem(client.delete(address(item)), "invalid_state", 409)

    def test_refuses_what_is_not_the_accounts(self, client: BillingClient, account: Account) -> None:
        item = client.post(address(), ROUTER).json()["id"]
        world.open_account("other")
        problem(client.delete(address(item, "other")), "not_found", 404)
        problem(client.delete(address("pch_nothing")), "not_found", 404)
