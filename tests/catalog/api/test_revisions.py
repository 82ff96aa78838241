"""The catalog document over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing_site.platform.models import Event
from catalog.documents.schema import build_schema
from catalog.models import CatalogRevision, Plan
from tests.factories.catalog import find_entry, make_document
from tests.support.api import BillingClient
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

URL = "/api/internal/billing/catalog"
SECRET = "sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc"
Clients = Callable[..., BillingClient]


@pytest.fixture
def client(api_client: Clients) -> BillingClient:
    return api_client(subject="publisher")


def put(client: BillingClient, document: object, query: str = "", **headers: str) -> Any:
    return client.put(f"{URL}{query}", document, format="json", headers=headers)


def changed() -> dict[str, Any]:
    document = make_document()
    find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
    return document


class TestPut:
    def test_publishes(self, client: BillingClient) -> None:
        response = put(client, make_document())
        assert response.status_code == 200
        body = response.json()
        assert (body["version"], body["revision"], body["published_by"]) == (1, 1, "token:publisher")
        assert body["published_at"].endswith("Z")
        assert response["ETag"] == '"1"'
        assert set(Plan.objects.values_list("key", flat=True)) == {"free", "pro", "ai-payg"}
        assert Event.objects.get(type="catalog.published").actor_id == "publisher"

    def test_the_answer_can_be_sent_back(self, client: BillingClient) -> None:
        put(client, make_document())
        document = client.get(URL).json()
        response = put(client, document, **{"If-Match": '"1"'})
        assert (response.status_code, response.json()["revision"]) == (200, 1)
        assert CatalogRevision.objects.count() == 1

    @pytest.mark.parametrize("tag", ['"1"', "1", '"9", "1"', "*"])
    def test_takes_the_active_revision_in_if_match(self, client: BillingClient, tag: str) -> None:
        put(client, make_document())
        assert put(client, changed(), **{"If-Match": tag}).json()["revision"] == 2

    @pytest.mark.parametrize("tag", ['"2"', "0", '"x"', 'W/"1"'])
    @pytest.mark.parametrize("query", ["", "?dry_run=true"])
    def test_refuses_another_revision(self, client: BillingClient, tag: str, query: str) -> None:
        put(client, make_document())
        problem(put(client, changed(), query, **{"If-Match": tag}), "revision_conflict", 412)
        assert CatalogRevision.objects.count() == 1

    def test_a_dry_run_shows_the_difference_and_writes_nothing(self, client: BillingClient) -> None:
        put(client, make_document())
        response = put(client, changed(), "?dry_run=true")
        body = response.json()
        assert (response.status_code, body["dry_run"], body["revision"]) == (200, True, 1)
        (plan,) = body["difference"]["plans"]["changed"]
        assert plan["id"] == "pro"
        assert plan["changes"] == [
            {
                "pointer": "/plans/1/prices/0/unit_amount",
                "field": "price usd:month unit_amount",
                "old": 2900,
                "new": 3900,
            }
        ]
        assert find_entry(body, "plans", "pro")["prices"][0]["unit_amount"] == 3900
        assert CatalogRevision.objects.count() == 1

    def test_reports_every_finding(self, client: BillingClient) -> None:
        document = changed()
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = -1
        find_entry(document, "plans", "free")["product_id"] = "gone"
        body = problem(put(client, document), "catalog_invalid", 400)
        assert findings(body) == [
            ("/plans/1/prices/0/unit_amount", "negative"),
            ("/plans/0/product_id", "product_unknown"),
        ]
        assert not CatalogRevision.objects.exists()
        assert not Plan.objects.exists()
        assert not Event.objects.exists()

    def test_refuses_a_usage_price_that_went_through_floating_point(self, client: BillingClient) -> None:
        document = make_document()
        find_entry(document, "plans", "ai-payg")["prices"][0]["unit_amount"] = 0.00005
        body = problem(put(client, document), "catalog_invalid", 400)
        assert findings(body) == [("/plans/2/prices/0/unit_amount", "not_a_decimal_text")]

    @pytest.mark.parametrize("query", ["", "?dry_run=true"])
    def test_never_repeats_a_secret(self, client: BillingClient, query: str) -> None:
        document = make_document()
        document["products"][0]["metadata"] = {"note": SECRET, SECRET: "x"}
        response = put(client, document, query)
        body = problem(response, "catalog_contains_secret", 400)
        assert set(findings(body)) == {("/products/0/metadata/note", "secret"), ("/products/0/metadata/…", "secret")}
        assert SECRET not in response.content.decode()
        assert not CatalogRevision.objects.exists()

    @pytest.mark.parametrize("body", ["[]", '"text"', "5", "null"])
    def test_wants_an_object(self, client: BillingClient, body: str) -> None:
        response = client.generic("PUT", URL, body, content_type="application/json")
        assert findings(problem(response, "catalog_invalid", 400)) == [("", "not_an_object")]

    @pytest.mark.parametrize("body", ['{"products": [}', "", "{" * 100_000, '{"products": NaN}'])
    def test_wants_json(self, client: BillingClient, body: str) -> None:
        response = client.generic("PUT", URL, body, content_type="application/json")
        assert response.status_code == 400
        assert response.json()["code"] in {"malformed_body", "catalog_invalid"}
        assert not CatalogRevision.objects.exists()

    def test_writes_to_the_organization_of_the_token(self, client: BillingClient, api_client: Clients) -> None:
        put(client, make_document())
        acme = api_client(org="acme")
        problem(acme.get(URL), "catalog_empty", 404)
        assert put(acme, changed()).json()["revision"] == 1
        assert find_entry(client.get(URL).json(), "plans", "pro")["prices"][0]["unit_amount"] == 2900

    def test_speaks_camel_case(self, client: BillingClient) -> None:
        document = json.loads(
            json.dumps(make_document())
            .replace('"product_id"', '"productId"')
            .replace('"unit_amount"', '"unitAmount"')
            .replace('"meter_event_name"', '"meterEventName"')
            .replace('"upgrade_plan_id"', '"upgradePlanId"')
            .replace('"display_name"', '"displayName"')
            .replace('"feature_texts"', '"featureTexts"')
        )
        document["plans"][1]["prices"][0]["unitAmount"] = -5
        media_type = "application/vnd.billing.camel+json"
        response = client.generic("PUT", URL, json.dumps(document), content_type=media_type)
        assert findings(problem(response, "catalog_invalid")) == [("/plans/1/prices/0/unitAmount", "negative")]

    def test_needs_the_write_scope(self, api_client: Clients) -> None:
        reader = api_client(scopes=["billing:catalog:read"])
        assert problem(put(reader, make_document()), "scope_missing", 403)["required_scope"] == "billing:catalog:write"
        problem(put(api_client(audience="public"), make_document()), "audience_rejected", 403)
        problem(put(BillingClient(), make_document()), "token_missing", 401)
        assert not CatalogRevision.objects.exists()


class TestGet:
    def test_before_anything_was_published(self, client: BillingClient) -> None:
        problem(client.get(URL), "catalog_empty", 404)
        problem(client.get(f"{URL}?revision=1"), "catalog_empty", 404)

    def test_answers_the_active_document(self, client: BillingClient) -> None:
        put(client, make_document())
        put(client, changed())
        with CaptureQueriesContext(connection) as queries:
            response = client.get(URL)
        assert response["ETag"] == '"2"'
        assert response.json()["revision"] == 2
        assert len(queries) == 1
        price = find_entry(response.json(), "plans", "ai-payg")["prices"][0]
        assert price == {
            "currency": "usd",
            "unit_amount": "0.00005",
            "interval": "month",
            "billing_timing": "arrears",
            "meter": "llm_input_tokens",
            "model": "per_unit",
            "lookup_key": "ai-payg:usd:month:llm_input_tokens",
        }

    def test_answers_older_ones(self, client: BillingClient) -> None:
        put(client, make_document())
        put(client, changed())
        response = client.get(f"{URL}?revision=1")
        assert (response["ETag"], response.json()["revision"]) == ('"1"', 1)
        assert problem(client.get(f"{URL}?revision=3"), "not_found", 404)["object_type"] == "catalog_revision"
        assert findings(problem(client.get(f"{URL}?revision=x"), "validation_failed", 400))[0][0] == "revision"

    def test_is_not_sent_twice(self, client: BillingClient) -> None:
        put(client, make_document())
        response = client.get(URL, headers={"If-None-Match": '"1"'})
        assert (response.status_code, response.content, response["ETag"]) == (304, b"", '"1"')
        put(client, changed())
        assert client.get(URL, headers={"If-None-Match": '"1"'}).status_code == 200


class TestSchema:
    def test_is_served_with_a_tag(self, client: BillingClient) -> None:
        response = client.get(f"{URL}/schema")
        assert response.json() == build_schema()
        again = client.get(f"{URL}/schema", headers={"If-None-Match": response["ETag"]})
        assert (again.status_code, again.content) == (304, b"")

    def test_a_document_may_name_it(self, client: BillingClient) -> None:
        document = {"$schema": "https://billing.example/catalog.schema.json", **make_document()}
        assert put(client, document).status_code == 200
        assert "$schema" not in client.get(URL).json()

    def test_needs_an_internal_token_that_may_read_the_catalog(self, api_client: Clients) -> None:
        problem(api_client(audience="public").get(f"{URL}/schema"), "audience_rejected", 403)
        problem(api_client(scopes=["billing:read"]).get(f"{URL}/schema"), "scope_missing", 403)


class TestRevisions:
    def test_are_listed_page_by_page_newest_first(self, client: BillingClient, api_client: Clients) -> None:
        for name in ("One", "Two", "Three"):
            document = make_document()
            document["products"][0]["name"] = name
            put(client, document)
        put(api_client(org="acme"), make_document())
        with CaptureQueriesContext(connection) as queries:
            first = client.get(f"{URL}/revisions?limit=2").json()
        assert [(row["revision"], row["active"]) for row in first["items"]] == [(3, True), (2, False)]
        assert first["items"][0]["published_by"] == "token:publisher"
        assert "document" not in first["items"][0]
        assert len(queries) == 1
        second = client.get(f"{URL}/revisions?limit=2&cursor={first['next_cursor']}").json()
        assert [row["revision"] for row in second["items"]] == [1]
        assert second["has_more"] is False

    def test_are_compared_in_either_direction(self, client: BillingClient) -> None:
        put(client, make_document())
        put(client, changed())
        body = client.get(f"{URL}/revisions/compare?from=1").json()
        assert (body["old"], body["new"]) == (1, 2)
        (plan,) = body["difference"]["plans"]["changed"]
        assert [(change["old"], change["new"]) for change in plan["changes"]] == [(2900, 3900)]
        (plan,) = client.get(f"{URL}/revisions/compare?from=2&to=1").json()["difference"]["plans"]["changed"]
        assert [(change["old"], change["new"]) for change in plan["changes"]] == [(3900, 2900)]

    def test_what_is_not_there_cannot_be_compared(self, client: BillingClient) -> None:
        problem(client.get(f"{URL}/revisions/compare?from=1"), "catalog_empty", 404)
        put(client, make_document())
        problem(client.get(f"{URL}/revisions/compare?from=1&to=2"), "not_found", 404)
        for query in ("", "?from=x", "?from=0"):
            body = problem(client.get(f"{URL}/revisions/compare{query}"), "validation_failed", 400)
            assert [pointer for pointer, _ in findings(body)] == ["from"]


class TestRepublish:
    def republish(
        self, client: BillingClient, number: int, reason: str = "the raise came too early", **headers: str
    ) -> Any:
        path = f"{URL}/revisions/{number}/republish"
        return client.post(path, {"reason": reason}, format="json", headers=headers)

    def test_makes_a_new_revision_of_the_old_document(self, client: BillingClient) -> None:
        put(client, make_document())
        put(client, changed())
        response = self.republish(client, 1, **{"If-Match": '"2"'})
        assert (response.status_code, response["ETag"], response.json()["revision"]) == (200, '"3"', 3)
        assert find_entry(client.get(URL).json(), "plans", "pro")["prices"][0]["unit_amount"] == 2900
        event = Event.objects.filter(type="catalog.published").latest("sequence")
        assert (event.data["republished"], event.reason) == (1, "the raise came too early")

    def test_of_the_active_revision_changes_nothing(self, client: BillingClient) -> None:
        put(client, make_document())
        assert self.republish(client, 1).json()["revision"] == 1
        assert CatalogRevision.objects.count() == 1

    def test_is_refused_over_a_revision_that_was_not_seen(self, client: BillingClient) -> None:
        put(client, make_document())
        put(client, changed())
        problem(self.republish(client, 1, **{"If-Match": '"1"'}), "revision_conflict", 412)
        assert CatalogRevision.objects.count() == 2

    def test_needs_a_reason(self, client: BillingClient) -> None:
        put(client, make_document())
        assert findings(problem(self.republish(client, 1, "  "), "validation_failed", 400))[0][0] == "/reason"

    def test_of_nothing_is_not_found(self, client: BillingClient) -> None:
        problem(self.republish(client, 1), "catalog_empty", 404)
        put(client, make_document())
        problem(self.republish(client, 7), "not_found", 404)
        for other in ("99999999999999999999", "first", "-1"):
            path = f"{URL}/revisions/{other}/republish"
            problem(client.post(path, {"reason": "back"}, format="json"), "not_found", 404)

    def test_needs_the_write_scope(self, client: BillingClient, api_client: Clients) -> None:
        put(client, make_document())
        reader = api_client(scopes=["billing:catalog:read"])
        problem(self.republish(reader, 1), "scope_missing", 403)
