"""What a request names: accounts under all their words, instants, query strings."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from billing_site.api.fields import TimestampField
from billing_site.api.params import query_serializer
from billing_site.kernel.errors import ValidationFailed
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = [pytest.mark.urls("tests.api.probe"), pytest.mark.django_db]


class TestAccountReference:
    @pytest.mark.parametrize(
        "name",
        ["account", "account_id", "user", "user_id", "customer_id", "tenant_id", "accountId", "tenantId", "customerId"],
    )
    def test_every_word_in_both_spellings(self, name: str) -> None:
        assert make_client().get("/api/reference", {name: "  Acme/Alice "}).json()["account"] == "acme/alice"

    def test_nothing_named(self) -> None:
        assert make_client().get("/api/reference", {"account": "  "}).json()["account"] is None

    def test_same_account_twice(self) -> None:
        query = {"account": "ACME", "tenant_id": "acme"}
        assert make_client().get("/api/reference", query).json()["account"] == "acme"

    def test_different_accounts(self) -> None:
        response = make_client().get("/api/reference", {"account": "a", "userId": "b"})
        body = problem(response, "validation_failed", 400)
        assert findings(body) == [("account", "account_ambiguous")]
        assert "userId" in body["detail"]

    def test_query_and_body_are_read_together(self) -> None:
        client = make_client()
        assert client.post("/api/reference", {"accountId": "b"}).json()["account"] == "b"
        problem(client.post("/api/reference?account=a", {"account_id": "b"}), "validation_failed", 400)

    def test_words_that_mean_something_else_here(self) -> None:
        response = make_client().post("/api/reference?account=a", {"customer_id": "cus_123"})
        assert response.json()["account"] == "a"

    @pytest.mark.parametrize("value", [5, ["a"], {"a": 1}, "x" * 256])
    def test_is_a_text(self, value: Any) -> None:
        problem(make_client().post("/api/reference", {"account": value}), "validation_failed", 400)


class TestInstants:
    def test_plain_date(self) -> None:
        assert make_client().get("/api/reference", {"at": "2026-03-01"}).json()["at"] == "2026-03-01T00:00:00Z"
        assert make_client().get("/api/reference?at=2026-03-01&end").json()["at"] == "2026-03-02T00:00:00Z"

    def test_unreadable_is_a_wrong_period(self) -> None:
        body = problem(make_client().get("/api/reference", {"at": "yesterday"}), "period_invalid", 400)
        assert findings(body) == [("at", "invalid")]


class QuerySerializer(serializers.Serializer[dict[str, Any]]):
    period_start = TimestampField(required=False)
    status = serializers.ListField(child=serializers.ChoiceField(["open", "paid"]), required=False)
    draft = serializers.BooleanField(required=False)
    limit = serializers.IntegerField(default=5, max_value=10)


def query(text: str) -> dict[str, Any]:
    return query_serializer(QuerySerializer, Request(APIRequestFactory().get(f"/x?{text}")))


class TestQuerySerializer:
    def test_both_spellings(self) -> None:
        assert query("periodStart=2026-03-01") == query("period_start=2026-03-01")

    def test_absent_stays_absent_and_defaults_apply(self) -> None:
        assert query("status=&draft=") == {"limit": 5}

    def test_lists_by_comma_or_repetition(self) -> None:
        assert query("status=open,paid")["status"] == query("status=open&status=paid")["status"] == ["open", "paid"]

    def test_findings_name_the_parameters(self) -> None:
        with pytest.raises(ValidationFailed) as caught:
            query("limit=11&status=void")
        assert [(found.pointer, found.code) for found in caught.value.errors] == [
            ("status/0", "invalid_choice"),
            ("limit", "max_value"),
        ]

    def test_two_values_for_one_parameter(self) -> None:
        with pytest.raises(ValidationFailed):
            query("period_start=2026-03-01&periodStart=2026-03-02")
        assert query("limit=3&limit=3")["limit"] == 3
