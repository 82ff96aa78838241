"""Plans over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.data import read_sample
from tests.factories.catalog import find_entry, make_document, publish_catalog
from tests.support.api import BillingClient
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/billing/plans"
Clients = Callable[..., BillingClient]


def ids(client: BillingClient, query: str = "") -> list[str]:
    response = client.get(f"{URL}{query}")
    assert response.status_code == 200, response.content
    return [plan["id"] for plan in response.json()["items"]]


class TestList:
    def test_shows_a_plan_in_full(self, api_client: Clients) -> None:
        publish_catalog()
        body = api_client(audience="public").get(URL).json()
        assert (body["next_cursor"], body["has_more"]) == (None, False)
        pro = next(plan for plan in body["items"] if plan["id"] == "pro")
        assert pro == {
            "id": "pro",
            "slug": "pro",
            "product_id": "platform",
            "name": "Pro",
            "description": "",
            "category": "platform",
            "price": 2900,
            "price_annual": 2417,  # 29000 / 12 = 2416.67
            "currency": "usd",
            "interval": "month",
            "interval_count": 1,
            "trial_period_days": None,
            "price_per_seat": False,
            "contact_sales": False,
            "popular": True,
            "active": True,
            "version": 1,
            "features": [],
            "feature_scopes": ["service:api", "support:priority"],
            "limits": {},
            "prices": [
                {
                    "currency": currency,
                    "unit_amount": amount,
                    "unit_amount_decimal": str(amount),
                    "options": {},
                    "model": "flat",
                    "meter": None,
                    "unit": None,
                    "interval": interval,
                    "interval_count": 1,
                    "billing_timing": "advance",
                    "lookup_key": f"pro:{currency}:{interval}",
                }
                for currency, amount, interval in (
                    ("usd", 2900, "month"),
                    ("usd", 29000, "year"),
                    ("eur", 2700, "month"),
                )
            ],
            "quotas": [],
        }

    def test_shows_usage_prices_and_quotas_exactly(self, api_client: Clients) -> None:
        publish_catalog()
        items = {plan["id"]: plan for plan in api_client().get(URL).json()["items"]}
        usage = items["ai-payg"]["prices"][0]
        assert (usage["unit_amount"], usage["unit_amount_decimal"]) == (None, "0.00005")
        assert (usage["meter"], usage["unit"], usage["model"]) == ("llm_input_tokens", "tokens", "per_unit")
        assert items["ai-payg"]["price"] is None
        assert items["free"]["price"] == 0
        assert items["free"]["quotas"] == [
            {
                "feature": "service:api",
                "meter_event_name": "api",
                "window": "billing_period",
                "limit": 10000,
                "enforcement": "hard",
                "overage_price": None,
                "upgrade_plan_id": "pro",
            }
        ]

    def test_filters(self, api_client: Clients) -> None:
        publish_catalog()
        client = api_client()
        assert ids(client) == ["ai-payg", "pro", "free"]
        assert ids(client, "?category=personal") == ["ai-payg"]
        assert ids(client, "?product=platform") == ["pro", "free"]
        assert ids(client, "?currency=EUR") == ["pro"]
        (pro,) = client.get(f"{URL}?currency=eur").json()["items"]
        assert (pro["currency"], pro["price"], pro["price_annual"]) == ("eur", 2700, None)
        problem(client.get(f"{URL}?currency=xyz"), "currency_unsupported", 400)

    def test_pages(self, api_client: Clients) -> None:
        publish_catalog()
        client = api_client()
        first = client.get(f"{URL}?limit=2").json()
        second = client.get(f"{URL}?limit=2&cursor={first['next_cursor']}").json()
        assert [plan["id"] for page in (first, second) for plan in page["items"]] == ["ai-payg", "pro", "free"]
        assert (first["has_more"], second["has_more"]) == (True, False)

    def test_inactive_plans_are_for_internal_callers(self, api_client: Clients) -> None:
        publish_catalog()
        document = make_document()
        document["plans"] = document["plans"][1:]
        publish_catalog(document)
        assert ids(api_client(), "?include_inactive=true") == ["ai-payg", "pro", "free"]
        assert ids(api_client()) == ["ai-payg", "pro"]
        assert ids(api_client(audience="public"), "?include_inactive=true") == ["ai-payg", "pro"]

    def test_a_price_by_agreement_is_not_published(self, api_client: Clients) -> None:
        document = make_document()
        find_entry(document, "plans", "pro")["contact_sales"] = True
        publish_catalog(document)
        public = api_client(audience="public").get(f"{URL}/pro").json()
        assert (public["contact_sales"], public["price"], public["prices"]) == (True, None, [])
        assert api_client().get(f"{URL}/pro").json()["price"] == 2900

    def test_may_be_kept_for_an_hour_and_asked_again_cheaply(self, api_client: Clients) -> None:
        publish_catalog()
        client = api_client()
        response = client.get(URL)
        assert response["Cache-Control"] == "public, max-age=3600"
        assert {"Accept", "Authorization"} <= {part.strip() for part in response["Vary"].split(",")}
        with CaptureQueriesContext(connection) as queries:
            again = client.get(URL, headers={"If-None-Match": response["ETag"]})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", response["ETag"])
        assert len(queries) == 1
        document = make_document()
        document["plans"].pop()
        publish_catalog(document)
        assert client.get(URL, headers={"If-None-Match": response["ETag"]}).status_code == 200

    def test_takes_a_constant_number_of_queries(self, api_client: Clients) -> None:
        publish_catalog(read_sample())
        for audience, most in (("internal", 5), ("public", 6)):
            with CaptureQueriesContext(connection) as queries:
                assert len(ids(api_client(audience=audience))) == 6
            assert len(queries) <= most

    def test_is_empty_before_the_first_publication(self, api_client: Clients) -> None:
        assert ids(api_client()) == []

    def test_shows_the_catalog_of_the_organization(self, api_client: Clients) -> None:
        publish_catalog()
        document = make_document()
        document["plans"] = [find_entry(document, "plans", "ai-payg")]
        publish_catalog(document, org_id="acme")
        assert ids(api_client(org="acme")) == ["ai-payg"]
        assert ids(api_client(org="other")) == ["ai-payg", "pro", "free"]

    def test_needs_a_token_with_the_scope(self, api_client: Clients) -> None:
        problem(BillingClient().get(URL), "token_missing", 401)
        problem(api_client(scopes=["usage:read"]).get(URL), "scope_missing", 403)


class TestGet:
    def test_shows_one(self, api_client: Clients) -> None:
        publish_catalog()
        assert api_client(audience="public").get(f"{URL}/pro").json()["name"] == "Pro"

    @pytest.mark.parametrize("plan_id", ["Pro", "nothing", "pro%20", "%00"])
    def test_ids_are_exact(self, api_client: Clients, plan_id: str) -> None:
        publish_catalog()
        response = api_client().get(f"{URL}/{plan_id}")
        assert response.status_code == 404
        assert response.json()["code"] in {"plan_not_found", "not_found"}
