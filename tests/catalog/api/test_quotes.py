"""Price quotes over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.catalog.services.test_quotes import WORKED
from tests.support.api import BillingClient
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

URL = "/api/internal/billing/price-quote"
Clients = Callable[..., BillingClient]
PACKAGE: dict[str, Any] = {
    "currency": "usd",
    "price": {"model": "package", "unit_amount": 500, "package_size": 100, "free_quantity": 100},
    "quantity": "201",
}


@pytest.fixture
def client(api_client: Clients) -> BillingClient:
    return api_client(subject="shop", scopes=["billing:catalog:read"])


def post(client: BillingClient, body: object) -> Any:
    return client.post(URL, body, format="json")


class TestPriceQuote:
    @pytest.mark.parametrize(("price", "usage", "amount"), [row[1:] for row in WORKED], ids=[row[0] for row in WORKED])
    def test_worked_examples_come_out_as_published(
        self, client: BillingClient, price: dict[str, Any], usage: dict[str, Any], amount: int
    ) -> None:
        assert post(client, {"currency": "usd", "price": price, **usage}).json()["amount"] == amount

    def test_answers_the_breakdown(self, client: BillingClient) -> None:
        response = post(client, PACKAGE)
        assert response.status_code == 200
        # 201 - 100 free = 101: two started packages of 100 at 500
        assert response.json() == {
            "currency": "usd",
            "amount_decimal": "1000",
            "amount": 1000,
            "tiers": [
                {"tier": 1, "quantity": "100", "unit": "0", "flat": "0", "amount_decimal": "0", "kind": "free"},
                {"tier": 2, "quantity": "2", "unit": "500", "flat": "0", "amount_decimal": "1000", "kind": "package"},
            ],
        }

    def test_a_list_is_answered_by_a_list(self, client: BillingClient) -> None:
        answers = post(client, [PACKAGE, {**PACKAGE, "quantity": "100"}, {**PACKAGE, "quantity": 101}]).json()
        assert [answer["amount"] for answer in answers] == [1000, 0, 500]
        assert post(client, []).json() == []

    def test_a_number_of_json_is_an_exact_quantity(self, client: BillingClient) -> None:
        body = '{"currency": "usd", "price": {"unit_amount": "1"}, "quantity": 0.1}'
        answer = client.generic("POST", URL, body, content_type="application/json").json()
        assert answer["amount_decimal"] == "0.1"

    def test_every_finding_has_its_place(self, client: BillingClient) -> None:
        wrong = {
            "currency": "usd",
            "price": {"model": "volume", "tiers": [{"up_to": 5}], "percent": 3},
            "quantity": "x",
        }
        body = problem(post(client, [PACKAGE, wrong]), "validation_failed", 400)
        assert findings(body) == [
            ("/1/price/percent", "key_not_in_model"),
            ("/1/price/tiers/0/up_to", "tier_last_bounded"),
            ("/1/quantity", "not_a_decimal_text"),
        ]

    @pytest.mark.parametrize("body", ["5", '"x"', "null", "[null]"])
    def test_wants_objects(self, client: BillingClient, body: str) -> None:
        response = client.generic("POST", URL, body, content_type="application/json")
        assert findings(problem(response, "validation_failed", 400))[0][1] == "not_an_object"

    def test_speaks_camel_case_and_leaves_dimensions_alone(self, client: BillingClient) -> None:
        body = {
            "currency": "usd",
            "price": {"unitAmount": "1", "variants": [{"when": {"modelName": "a"}, "unitAmount": "5"}]},
            "events": [{"value": "2", "dimensions": {"modelName": "a"}}],
        }
        media_type = "application/vnd.billing.camel+json"
        response = client.generic(
            "POST", URL, json.dumps(body), content_type=media_type, headers={"Accept": media_type}
        )
        assert response.json()["amountDecimal"] == "10"
        assert response.json()["tiers"][0]["variant"] == "modelName=a"

    def test_needs_an_internal_token_that_may_read_the_catalog(self, api_client: Clients) -> None:
        problem(post(api_client(audience="public"), PACKAGE), "audience_rejected", 403)
        problem(post(api_client(scopes=["billing:read"]), PACKAGE), "scope_missing", 403)
        problem(post(BillingClient(), PACKAGE), "token_missing", 401)
