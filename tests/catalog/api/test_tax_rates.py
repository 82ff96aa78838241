"""Tax rates over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from catalog.models import TaxRate
from tests.factories.catalog import make_tax_rate
from tests.support.api import BillingClient
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

URL = "/api/internal/billing/tax-rates"
Clients = Callable[..., BillingClient]


class TestCreate:
    def test_shows_the_whole_rate(self, api_client: Clients) -> None:
        body = {"name": "Sales tax", "rate": "0.0875", "country": "us", "state": "ca", "valid_from": "2026-01-01"}
        response = api_client().post(URL, body)
        assert response.status_code == 201, response.content
        assert response.json() == {
            "id": TaxRate.objects.get().public_id,
            "name": "Sales tax",
            "code": "",
            "rate": "0.0875",
            "country": "US",
            "state": "CA",
            "inclusive": False,
            "combinable": True,
            "is_default": False,
            "valid_from": "2026-01-01",
            "valid_to": None,
        }

    def test_happens_once_for_a_key(self, api_client: Clients) -> None:
        body = {"name": "VAT", "rate": 0.19, "country": "DE"}
        for _ in range(2):
            response = api_client().post(URL, body, headers={"Idempotency-Key": "vat"})
            assert (response.status_code, response.json()["rate"]) == (201, "0.19")
        assert TaxRate.objects.count() == 1

    @pytest.mark.parametrize(
        ("change", "found"),
        [
            ({"rate": "1.5", "country": "XX"}, [("/rate", "out_of_range"), ("/country", "invalid")]),
            ({"rate": None}, [("/rate", "null")]),
            ({"country": "Germany"}, [("/country", "max_length")]),
            ({"valid_from": "2026-02-30", "vat": 1}, [("/valid_from", "invalid"), ("/vat", "unknown")]),
            ({"valid_from": "2026-02-02", "valid_to": "2026-02-01"}, [("/valid_to", "before_start")]),
        ],
    )
    def test_points_to_what_is_wrong(
        self, api_client: Clients, change: dict[str, Any], found: list[tuple[str, str]]
    ) -> None:
        body = problem(
            api_client().post(URL, {"name": "VAT", "rate": "0.19", "country": "DE", **change}),
            "validation_failed",
            400,
        )
        assert findings(body) == found

    def test_needs_its_scope(self, api_client: Clients) -> None:
        problem(api_client(scopes=["billing:catalog:read"]).post(URL, {}), "scope_missing", 403)


class TestList:
    def test_filters_by_place(self, api_client: Clients) -> None:
        make_tax_rate(name="VAT")
        make_tax_rate("US", "0.0625", name="Texas", state="TX")
        client = api_client()
        for query, names in (("", ["Texas", "VAT"]), ("?country=de", ["VAT"]), ("?country=US&state=TX", ["Texas"])):
            assert [rate["name"] for rate in client.get(f"{URL}{query}").json()["items"]] == names


class TestDelete:
    def test_ends_the_rate_today_and_only_once(self, api_client: Clients, clock_at: Any) -> None:
        rate = make_tax_rate()
        client = api_client()
        with clock_at(datetime(2026, 4, 1, 12, tzinfo=UTC)):
            response = client.delete(f"{URL}/{rate.public_id}")
            assert (response.status_code, response.json()) == (200, {"id": rate.public_id, "deleted": True})
            problem(client.delete(f"{URL}/{rate.public_id}"), "not_found", 404)
        rate.refresh_from_db()
        assert rate.ended_on == date(2026, 4, 1)
        assert client.get(URL).json()["items"] == []

    def test_is_the_owners(self, api_client: Clients) -> None:
        rate = make_tax_rate()
        problem(api_client(org="acme").delete(f"{URL}/{rate.public_id}"), "not_found", 404)
        problem(api_client().delete(f"{URL}/nothing"), "not_found", 404)
