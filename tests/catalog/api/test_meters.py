"""Meters over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from catalog.models import Meter
from tests.factories.catalog import publish_catalog
from tests.support.api import BillingClient
from tests.support.problems import problem

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
