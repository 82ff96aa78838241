"""Pricing rules over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from catalog.models import Meter, PricingRule
from tests.factories.catalog import make_rule, publish_catalog
from tests.support.api import BillingClient
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/billing/pricing-rules"
Clients = Callable[..., BillingClient]
TIERS = [{"up_to": 100, "price": "10"}, {"up_to": "500", "price": 5, "flat": 7}, {"price": "2"}]


@pytest.fixture(autouse=True)
def api() -> Meter:
    publish_catalog()
    return Meter.objects.get(event_name="api")


class TestCreate:
    def test_prices_each_unit(self, api_client: Clients, api: Meter, clock_at: Any) -> None:
        with clock_at(datetime(2026, 2, 3, tzinfo=UTC)):
            response = api_client().post(URL, {"meter_id": api.public_id, "unit_price": "0.01"})
        assert response.status_code == 201, response.content
        rule = PricingRule.objects.get()
        assert rule.valid_from == datetime(2026, 2, 3, tzinfo=UTC)
        assert response.json() == {
            "id": rule.public_id,
            "meter_id": api.public_id,
            "plan_id": "",
            "model": "per_unit",
            "currency": "usd",
            "unit_price": "0.01",
            "tiers": [],
            "created_at": rule.created_at.isoformat().replace("+00:00", "Z"),
            "updated_at": rule.updated_at.isoformat().replace("+00:00", "Z"),
        }

    def test_prices_in_tiers(self, api_client: Clients) -> None:
        body = {"meter_id": "api", "plan_id": "pro", "model": "tiered", "currency": "EUR", "tiers": TIERS}
        response = api_client().post(URL, body)
        assert response.status_code == 201, response.content
        shown = response.json()
        assert (shown["plan_id"], shown["currency"], shown["unit_price"]) == ("pro", "eur", None)
        assert shown["tiers"] == [
            {"up_to": "100", "price": "10", "flat": 0},
            {"up_to": "500", "price": "5", "flat": 7},
            {"up_to": None, "price": "2", "flat": 0},
        ]

    @pytest.mark.parametrize(
        ("change", "found"),
        [
            ({"model": "tiered"}, [("/tiers", "required")]),
            ({"model": "volume", "tiers": TIERS[:2]}, [("/tiers/1/up_to", "bounded_last")]),
            ({"model": "tiered", "tiers": TIERS[::-1]}, [("/tiers/0/up_to", "unbounded_not_last")]),
            ({"unit_price": "-1"}, [("/unit_price", "negative")]),
            ({"unit_price": None}, [("/unit_price", "required")]),
            ({"model": "tiered", "tiers": [{"up_to": 5}]}, [("/tiers/0/price", "required")]),
            ({"model": "tiered", "tiers": [{"prize": 5}]}, [("/tiers/0/prize", "unknown")]),
            ({"tiers": "all"}, [("/tiers", "not_a_list")]),
            ({"model": "magic", "currency": 7}, [("/model", "invalid_choice"), ("/currency", "currency_unsupported")]),
        ],
    )
    def test_points_to_what_is_wrong(
        self, api_client: Clients, change: dict[str, Any], found: list[tuple[str, str]]
    ) -> None:
        price = {} if "tiers" in change or change.get("model") == "tiered" else {"unit_price": "1"}
        body = problem(api_client().post(URL, {"meter_id": "api", **price, **change}), "validation_failed", 400)
        assert findings(body)[: len(found)] == found

    def test_refuses_what_it_does_not_know(self, api_client: Clients) -> None:
        client = api_client()
        for body, kind in (({"meter_id": "x"}, "meter"), ({"meter_id": "api", "plan_id": "x"}, "plan")):
            refusal = problem(client.post(URL, {"unit_price": "1", **body}), "not_found", 404)
            assert refusal["object_type"] == kind
        problem(client.post(URL, {"meter_id": "api", "unit_price": 1, "currency": "xyz"}), "currency_unsupported", 400)

    def test_refuses_a_second_rule(self, api_client: Clients) -> None:
        make_rule("api")
        problem(api_client().post(URL, {"meter_id": "api", "unit_price": "2"}), "rule_exists", 409)


class TestList:
    def test_shows_what_is_in_force(self, api_client: Clients, api: Meter) -> None:
        make_rule("api")
        make_rule("api", plan_key="pro")
        make_rule("llm_input_tokens", currency="eur")
        client = api_client(scopes=["billing:catalog:read"])
        assert len(client.get(URL).json()["items"]) == 3
        assert [rule["plan_id"] for rule in client.get(f"{URL}?planId=pro").json()["items"]] == ["pro"]
        assert len(client.get(f"{URL}?meter_id={api.public_id}").json()["items"]) == 2
        assert len(client.get(f"{URL}?currency=EUR").json()["items"]) == 1

    def test_takes_a_constant_number_of_queries(
        self, api_client: Clients, django_assert_max_num_queries: Callable[[int], Any]
    ) -> None:
        for meter in ("api", "llm_input_tokens", "llm_output_tokens"):
            make_rule(meter)
        with django_assert_max_num_queries(2):
            assert len(api_client().get(URL).json()["items"]) == 3


class TestDelete:
    def test_closes_the_rule_once(self, api_client: Clients) -> None:
        rule = make_rule("api")
        client = api_client()
        response = client.delete(f"{URL}/{rule.public_id}")
        assert (response.status_code, response.json()) == (200, {"id": rule.public_id, "deleted": True})
        rule.refresh_from_db()
        assert rule.closed_at is not None
        problem(client.delete(f"{URL}/{rule.public_id}"), "not_found", 404)
        assert client.get(URL).json()["items"] == []

    def test_is_the_owners(self, api_client: Clients) -> None:
        rule = make_rule("api")
        assert len(api_client(org="acme").get(URL).json()["items"]) == 1
        problem(api_client(org="acme").delete(f"{URL}/{rule.public_id}"), "not_found", 404)
