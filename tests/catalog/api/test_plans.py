"""Plans over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import Product
from catalog.services.products import archive_product, restore_product
from tests.factories.accounts import make_account, make_member
from tests.factories.catalog import AT, PUBLISHER, find_entry, make_document, publish_catalog
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
            "proration": None,
            "proration_basis": None,
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
        public = api_client(audience="public")
        tag = public.get(URL)["ETag"]
        with CaptureQueriesContext(connection) as queries:
            assert public.get(URL, headers={"If-None-Match": tag}).status_code == 304
        assert len(queries) == 1
        document = make_document()
        document["plans"].pop()
        publish_catalog(document)
        assert client.get(URL, headers={"If-None-Match": response["ETag"]}).status_code == 200

    @pytest.mark.parametrize("audience", ["internal", "public"])
    def test_of_many_plans_take_two_queries_then_one(self, api_client: Clients, audience: str) -> None:
        document = make_document()
        model = find_entry(document, "plans", "free")
        document["plans"] += [{**model, "id": f"free-{number}", "quotas": model["quotas"]} for number in range(500)]
        publish_catalog(document)
        counts = []
        for limit in (50, 50, 200):
            with CaptureQueriesContext(connection) as queries:
                assert len(ids(api_client(audience=audience), f"?limit={limit}")) == limit
            counts.append(len(queries))
        assert counts == [2, 1, 2]  # the catalog and its plans; the second time the page is kept

    def test_is_empty_before_the_first_publication(self, api_client: Clients) -> None:
        assert ids(api_client()) == []

    def test_what_is_kept_is_shown_to_nobody_else(self, api_client: Clients) -> None:
        document = make_document()
        find_entry(document, "plans", "pro")["contact_sales"] = True
        publish_catalog(document)
        own = make_document()
        own["plans"] = own["plans"][:2]
        publish_catalog(own, org_id="acme")
        for _ in range(2):
            prices = [
                next(plan["price"] for plan in client.get(URL).json()["items"] if plan["id"] == "pro")
                for client in (api_client(), api_client(audience="public"), api_client(org="acme"))
            ]
            assert prices == [2900, None, 2900]
            assert ids(api_client(), "?category=personal") == ["ai-payg"]
            assert ids(api_client(org="acme"), "?category=personal") == []
            assert ids(api_client(), "?include_inactive=true") == ids(api_client())

    def test_changes_when_a_product_is_archived(self, api_client: Clients) -> None:
        publish_catalog()
        client = api_client()
        tag = client.get(URL)["ETag"]
        product = Product.objects.get(key="ai")
        archive_product(product_id=product.pk, at=AT, actor=PUBLISHER)
        response = client.get(URL, headers={"If-None-Match": tag})
        assert [plan["id"] for plan in response.json()["items"]] == ["pro", "free"]
        hidden = client.get(f"{URL}?include_inactive=true").json()["items"][0]
        assert (hidden["id"], hidden["active"]) == ("ai-payg", False)
        restore_product(product_id=product.pk, at=AT, actor=PUBLISHER)
        assert client.get(URL)["ETag"] == tag
        assert client.get(URL, headers={"If-None-Match": tag}).status_code == 304

    def test_spellings_have_tags_of_their_own(self, api_client: Clients) -> None:
        publish_catalog()
        camel = {"Accept": "application/vnd.billing.camel+json"}
        tag = api_client().get(URL)["ETag"]
        response = api_client().get(URL, headers={**camel, "If-None-Match": tag})
        assert (response.status_code, response.json()["items"][0]["productId"]) == (200, "ai")

    def test_shows_every_price_model(self, api_client: Clients) -> None:
        document = make_document()
        tiers = [{"up_to": 10, "unit_amount": "1000"}, {"up_to": None, "unit_amount": "800"}]
        prices = find_entry(document, "plans", "pro")["prices"]
        prices[0] = {"currency": "usd", "interval": "month", "model": "graduated", "tiers": tiers}
        publish_catalog(document)
        plan = api_client().get(f"{URL}/pro").json()
        price = plan["prices"][0]
        assert (price["model"], price["unit_amount"], price["unit_amount_decimal"]) == ("graduated", None, None)
        assert price["options"]["tiers"] == [
            {"up_to": "10", "unit_amount": "1000"},
            {"up_to": None, "unit_amount": "800"},
        ]
        assert plan["price"] == 1000  # of one seat

    def test_shows_the_catalog_of_the_organization(self, api_client: Clients) -> None:
        publish_catalog()
        document = make_document()
        document["plans"] = [find_entry(document, "plans", "ai-payg")]
        publish_catalog(document, org_id="acme")
        assert ids(api_client(org="acme")) == ["ai-payg"]
        assert ids(api_client(org="other")) == ["ai-payg", "pro", "free"]

    def test_shows_a_public_caller_the_catalog_of_their_accounts(self, api_client: Clients) -> None:
        publish_catalog()
        document = make_document()
        document["plans"] = [find_entry(document, "plans", "ai-payg")]
        publish_catalog(document, org_id="acme")
        everything = ["ai-payg", "pro", "free"]
        ann, bob = api_client(audience="public", subject="ann"), api_client(audience="public", subject="bob")
        make_member(make_account("acme/one"), "ann", "member")
        make_member(make_account("other/one"), "bob", "member")
        assert (ids(ann), ids(bob), ids(api_client(audience="public"))) == (["ai-payg"], everything, everything)
        make_member(make_account("acme/two"), "ann", "member")
        assert ids(ann) == ["ai-payg"]
        make_member(make_account("other/two"), "ann", "member")
        assert ids(ann) == everything  # two organizations: neither is meant

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


class TestDnsPlans:
    def test_are_the_plans_of_their_category(self, api_client: Clients) -> None:
        document = make_document()
        free = find_entry(document, "plans", "free")
        document["plans"] += [
            {**free, "id": f"dns-{name}", "category": "dns", "limits": {"zones": zones}, "quotas": []}
            for name, zones in (("free", 2), ("pro", 25), ("enterprise", -1))
        ]
        publish_catalog(document)
        client = api_client(audience="public")
        response = client.get("/api/v1/dns/plans?limit=2")
        assert response["Cache-Control"] == "public, max-age=3600"
        body = response.json()
        assert [(plan["id"], plan["limits"]["zones"]) for plan in body["items"]] == [
            ("dns-enterprise", -1),
            ("dns-pro", 25),
        ]
        rest = client.get(f"/api/v1/dns/plans?limit=2&cursor={body['next_cursor']}").json()
        assert [plan["id"] for plan in rest["items"]] == ["dns-free"]
        assert client.get("/api/v1/dns/plans", headers={"If-None-Match": response["ETag"]}).status_code == 304
        assert ids(client, "?category=dns") == ["dns-enterprise", "dns-pro", "dns-free"]
