"""Meters over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from catalog.models import Meter
from tests.factories.catalog import make_meter, publish_catalog
from tests.support.api import BillingClient
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/billing/meters"
Clients = Callable[..., BillingClient]


class TestMeters:
    def test_are_listed(self, api_client: Clients) -> None:
        publish_catalog()
        body = api_client().get(URL).json()
        assert [meter["event_name"] for meter in body["items"]] == ["llm_output_tokens", "llm_input_tokens", "api"]
        meter = Meter.objects.get(event_name="api")
        assert body["items"][-1] == {
            "id": meter.public_id,
            "name": "API requests",
            "event_name": "api",
            "aggregation_type": "sum",
            "unit": "requests",
            "currency": None,
            "dimensions": [],
            "created_at": meter.created_at.isoformat().replace("+00:00", "Z"),
        }
        only = api_client().get(f"{URL}?eventName=api").json()["items"]
        assert [meter["event_name"] for meter in only] == ["api"]

    def test_are_shown_by_id_or_event_name(self, api_client: Clients) -> None:
        publish_catalog()
        by_name = api_client().get(f"{URL}/api").json()
        assert api_client().get(f"{URL}/{by_name['id']}").json() == by_name
        problem(api_client().get(f"{URL}/nothing"), "meter_not_found", 404)

    def test_are_for_internal_callers(self, api_client: Clients) -> None:
        problem(api_client(audience="public").get(URL), "audience_rejected", 403)
        problem(api_client(scopes=["billing:read"]).get(f"{URL}/api"), "scope_missing", 403)


class TestCreate:
    def test_shows_the_whole_meter(self, api_client: Clients) -> None:
        body = {
            "name": "GPU time",
            "event_name": "gpu_seconds",
            "aggregation_type": "max",
            "unit": "seconds",
            "currency": "EUR",
            "dimensions": ["model"],
        }
        response = api_client().post(URL, body)
        assert response.status_code == 201, response.content
        meter = Meter.objects.get()
        assert response.json() == {
            **body,
            "id": meter.public_id,
            "currency": "eur",
            "created_at": meter.created_at.isoformat().replace("+00:00", "Z"),
        }
        assert api_client().get(f"{URL}/gpu_seconds").json() == response.json()

    def test_needs_only_its_names(self, api_client: Clients) -> None:
        shown = api_client().post(URL, {"name": "Calls", "eventName": "calls"})
        assert findings(problem(shown, "validation_failed", 400)) == [
            ("/event_name", "required"),
            ("/eventName", "unknown"),
        ]
        shown = api_client().post(URL, {"name": "Calls", "event_name": "calls"}).json()
        assert (shown["aggregation_type"], shown["unit"], shown["currency"]) == ("sum", "unit", "usd")

    def test_happens_once_for_a_key(self, api_client: Clients) -> None:
        body = {"name": "Calls", "event_name": "calls"}
        answers = [api_client().post(URL, body, headers={"Idempotency-Key": "m1"}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()

    def test_refuses_what_is_wrong(self, api_client: Clients) -> None:
        make_meter()
        client = api_client()
        problem(client.post(URL, {"name": "x", "event_name": "gpu_seconds"}), "meter_exists", 409)
        body = problem(
            client.post(URL, {"name": "x", "event_name": "y", "aggregation_type": "mean"}), "validation_failed", 400
        )
        assert findings(body) == [("/aggregation_type", "invalid_choice")]
        body = problem(client.post(URL, {"name": " ", "event_name": "a b"}), "validation_failed", 400)
        assert findings(body)[0] == ("/name", "blank")

    def test_belongs_to_the_organization_of_the_token(self, api_client: Clients) -> None:
        publish_catalog()
        api_client(org="acme").post(URL, {"name": "Calls", "event_name": "calls"})
        assert Meter.objects.get(event_name="calls").org_id == "acme"
        assert "calls" in {meter["event_name"] for meter in api_client(org="acme").get(URL).json()["items"]}
        assert "calls" not in {meter["event_name"] for meter in api_client().get(URL).json()["items"]}

    def test_needs_its_scope(self, api_client: Clients) -> None:
        problem(api_client(scopes=["billing:catalog:read"]).post(URL, {}), "scope_missing", 403)
