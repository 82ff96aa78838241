"""Coupons over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from billing_site.platform.models import Event
from catalog.models import Coupon
from tests.factories.catalog import make_coupon, publish_catalog
from tests.support.api import BillingClient
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/billing/coupons"
Clients = Callable[..., BillingClient]
LAUNCH = {
    "code": "launch2026",
    "discount_type": "percentage",
    "discount_value": "20",
    "duration_months": 3,
    "max_redemptions": 1000,
    "applicable_plan_ids": ["pro", "free"],
    "starts_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-12-31",
}


class TestCreate:
    def test_shows_the_whole_coupon(self, api_client: Clients, clock_at: Any) -> None:
        publish_catalog()
        at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        with clock_at(at):
            response = api_client(subject="marketing").post(URL, LAUNCH)
        assert response.status_code == 201, response.content
        coupon = Coupon.objects.get()
        assert response.json() == {
            "id": coupon.public_id,
            "code": "LAUNCH2026",
            "description": "",
            "discount_type": "percentage",
            "discount_value": "20",
            "currency": None,
            "max_redemptions": 1000,
            "redemption_count": 0,
            "starts_at": "2026-01-01T00:00:00Z",
            "expires_at": "2027-01-01T00:00:00Z",  # a plain date as an end means the whole day
            "applicable_plan_ids": ["pro", "free"],
            "duration_months": 3,
            "active": True,
            "created_at": coupon.created_at.isoformat().replace("+00:00", "Z"),
        }
        event = Event.objects.get(type="coupon.created")
        assert (event.actor_id, event.created_at) == ("marketing", at)

    def test_takes_numbers_and_the_other_spelling(self, api_client: Clients) -> None:
        camel = "application/vnd.billing.camel+json"
        body = '{"code": "ten-off", "discountType": "fixed_amount", "discountValue": 1000, "currency": "USD"}'
        response = api_client().post(URL, body, content_type=camel, headers={"Accept": camel})
        assert response.status_code == 201, response.content
        assert response.json()["discountValue"] == "1000"
        assert (response.json()["code"], response.json()["currency"]) == ("TEN-OFF", "usd")

    def test_happens_once_for_a_key(self, api_client: Clients) -> None:
        publish_catalog()
        client = api_client()
        first = client.post(URL, LAUNCH, headers={"Idempotency-Key": "k1"})
        again = client.post(URL, LAUNCH, headers={"Idempotency-Key": "k1"})
        assert (first.status_code, again.status_code, again["Idempotent-Replayed"]) == (201, 201, "true")
        assert again.json() == first.json()
        assert Coupon.objects.count() == 1

    def test_refuses_a_code_that_exists(self, api_client: Clients) -> None:
        make_coupon()
        problem(api_client().post(URL, {**LAUNCH, "applicable_plan_ids": []}), "coupon_code_taken", 409)

    def test_refuses_unknown_plans(self, api_client: Clients) -> None:
        publish_catalog()
        body = problem(api_client().post(URL, {**LAUNCH, "applicable_plan_ids": ["pro", "x"]}), "plan_not_found", 404)
        assert body["plan_ids"] == ["x"]

    @pytest.mark.parametrize(
        ("change", "found"),
        [
            ({"discount_value": 0}, [("/discount_value", "out_of_range")]),
            ({"discount_value": "100.5", "code": "x"}, [("/code", "invalid"), ("/discount_value", "out_of_range")]),
            ({"discount_value": "many"}, [("/discount_value", "invalid")]),
            ({"discount_type": "credit"}, [("/duration_months", "not_allowed"), ("/currency", "required")]),
            ({"max_redemptions": 0, "colour": "red"}, [("/max_redemptions", "min_value"), ("/colour", "unknown")]),
            ({"starts_at": "2027-02-01"}, [("/expires_at", "not_after_start")]),
        ],
    )
    def test_points_to_what_is_wrong(
        self, api_client: Clients, change: dict[str, Any], found: list[tuple[str, str]]
    ) -> None:
        publish_catalog()
        body = problem(api_client().post(URL, {**LAUNCH, **change}), "validation_failed", 400)
        assert findings(body) == found
        assert not Coupon.objects.exists()

    def test_needs_its_scope(self, api_client: Clients) -> None:
        problem(api_client(scopes=["billing:read", "billing:catalog:write"]).post(URL, LAUNCH), "scope_missing", 403)
        problem(api_client(audience="public").post(URL, LAUNCH), "audience_rejected", 403)


class TestRead:
    def test_lists_newest_first_in_pages(self, api_client: Clients) -> None:
        for code in ("FIRST", "SECOND", "THIRD"):
            make_coupon(code)
        make_coupon("FOREIGN", org_id="acme")
        client = api_client()
        page = client.get(f"{URL}?limit=2").json()
        assert [coupon["code"] for coupon in page["items"]] == ["THIRD", "SECOND"]
        rest = client.get(f"{URL}?limit=2&cursor={page['next_cursor']}").json()
        assert ([coupon["code"] for coupon in rest["items"]], rest["has_more"]) == (["FIRST"], False)

    def test_filters(self, api_client: Clients) -> None:
        make_coupon("FIRST")
        make_coupon("SECOND")
        client = api_client()
        client.post(f"{URL}/first/deactivate")
        for query, codes in (("active=true", ["SECOND"]), ("active=false", ["FIRST"]), ("code=first", ["FIRST"])):
            assert [coupon["code"] for coupon in client.get(f"{URL}?{query}").json()["items"]] == codes

    def test_shows_one_by_id_or_code(self, api_client: Clients) -> None:
        coupon = make_coupon()
        client = api_client()
        shown = client.get(f"{URL}/{coupon.public_id}").json()
        assert shown == client.get(f"{URL}/launch2026").json()
        assert shown["code"] == "LAUNCH2026"
        problem(client.get(f"{URL}/nothing"), "not_found", 404)
        problem(api_client(org="acme").get(f"{URL}/launch2026"), "not_found", 404)


class TestDeactivate:
    def test_stops_it_and_repeats_quietly(self, api_client: Clients) -> None:
        make_coupon()
        client = api_client()
        for _ in range(2):
            response = client.post(f"{URL}/LAUNCH2026/deactivate")
            assert (response.status_code, response.json()["active"]) == (200, False)
        assert Event.objects.filter(type="coupon.deactivated").count() == 1

    def test_is_not_for_those_it_is_only_shared_with(self, api_client: Clients) -> None:
        publish_catalog()
        make_coupon()
        client = api_client(org="acme")
        assert client.get(f"{URL}/launch2026").status_code == 200
        problem(client.post(f"{URL}/launch2026/deactivate"), "not_found", 404)
        assert Coupon.objects.get().is_active
