"""The published document says what the views declare."""

from __future__ import annotations

from typing import Any

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from tests.api import probe


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    GENERATOR_STATS.reset()
    published = [pattern for pattern in probe.urlpatterns if _is_published(str(pattern.pattern))]
    generator = SchemaGenerator(patterns=published)  # type: ignore[no-untyped-call]
    with GENERATOR_STATS.silence():
        schema: dict[str, Any] = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    assert not GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache
    return schema


def _is_published(path: str) -> bool:
    return path.startswith(("readyz", "api/widgets", "api/v1"))


def operation(document: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]
    return found


class TestDocument:
    def test_is_valid_openapi_3_1(self, document: dict[str, Any]) -> None:
        assert document["openapi"].startswith("3.1")
        validate_schema(document)  # type: ignore[no-untyped-call]

    def test_names_both_kinds_of_token_and_their_scopes(self, document: dict[str, Any]) -> None:
        schemes = document["components"]["securitySchemes"]
        assert schemes.keys() == {"public", "internal"}
        assert "billing:money" in schemes["internal"]["description"]
        assert "billing:money" not in schemes["public"]["description"]

    def test_operation_ids_are_declared(self, document: dict[str, Any]) -> None:
        ids = {found["operationId"] for path in document["paths"].values() for found in path.values()}
        assert ids == {"readyz", "widget_list", "widget_create", "widget_get", "event_list", "event_get"}

    def test_tags_follow_the_noun(self, document: dict[str, Any]) -> None:
        assert operation(document, "/api/v1/billing/events", "get")["tags"] == ["events"]
        assert operation(document, "/readyz", "get")["tags"] == ["service"]


class TestSecurity:
    def test_each_audience_with_its_scope(self, document: dict[str, Any]) -> None:
        found = operation(document, "/api/v1/billing/events", "get")
        assert found["security"] == [{"public": ["billing:read"]}, {"internal": ["billing:read"]}]
        assert found["x-required-scopes"] == {"public": "billing:read", "internal": "billing:read"}

    def test_one_audience_only(self, document: dict[str, Any]) -> None:
        assert operation(document, "/api/widgets", "post")["security"] == [{"internal": ["billing:money"]}]

    def test_open(self, document: dict[str, Any]) -> None:
        assert operation(document, "/readyz", "get")["security"] == [{}]


class TestProblems:
    def codes(self, found: dict[str, Any], status: str) -> list[str]:
        content = found["responses"][status]["content"]
        assert content.keys() == {"application/problem+json"}
        schema = content["application/problem+json"]["schema"]
        assert schema["allOf"] == [{"$ref": "#/components/schemas/Problem"}]
        codes: list[str] = schema["properties"]["code"]["enum"]
        return codes

    def test_declared_and_common_codes_by_status(self, document: dict[str, Any]) -> None:
        found = operation(document, "/api/widgets", "post")
        assert self.codes(found, "400") == ["malformed_body", "validation_failed"]
        assert self.codes(found, "401") == ["token_invalid", "token_missing"]
        assert self.codes(found, "403") == ["audience_rejected", "scope_missing"]
        assert self.codes(found, "409") == ["idempotency_in_progress", "invalid_state", "widget_taken"]
        assert self.codes(found, "422") == ["idempotency_key_reused"]
        assert self.codes(found, "500") == ["internal_error"]
        assert self.codes(found, "503") == ["storage_unavailable"]

    def test_reads_without_body_or_key(self, document: dict[str, Any]) -> None:
        found = operation(document, "/api/widgets", "get")
        assert self.codes(found, "400") == ["validation_failed"]
        assert "409" not in found["responses"]

    def test_open_operations_have_no_token_problems(self, document: dict[str, Any]) -> None:
        found = operation(document, "/readyz", "get")
        assert "401" not in found["responses"]
        assert self.codes(found, "503") == ["not_ready", "storage_unavailable"]


class TestOperations:
    def test_key_parameter_on_unsafe_posts_only(self, document: dict[str, Any]) -> None:
        def names(method: str) -> set[str]:
            return {found["name"] for found in operation(document, "/api/widgets", method).get("parameters", [])}

        assert "Idempotency-Key" in names("post")
        assert names("get") == {"cursor", "limit"}

    def test_lists_are_pages(self, document: dict[str, Any]) -> None:
        content = operation(document, "/api/v1/billing/events", "get")["responses"]["200"]["content"]
        assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/BillingEventList"}
        page = document["components"]["schemas"]["BillingEventList"]
        assert page["properties"].keys() == {"items", "next_cursor", "has_more"}
        assert page["properties"]["items"]["items"] == {"$ref": "#/components/schemas/BillingEvent"}

    def test_both_dialects(self, document: dict[str, Any]) -> None:
        body = operation(document, "/api/widgets", "post")["requestBody"]["content"]
        assert body.keys() == {"application/json", "application/vnd.billing.camel+json"}

    def test_types_of_money_and_decimals(self, document: dict[str, Any]) -> None:
        taken = document["components"]["schemas"]["WidgetRequest"]["properties"]
        given = document["components"]["schemas"]["Widget"]["properties"]
        assert (taken["amount"]["type"], taken["amount"]["minimum"]) == ("integer", 1)
        assert {option["type"] for option in taken["unit_price"]["anyOf"]} == {"string", "number"}
        assert given["unit_price"]["type"] == "string"
        assert given["starts_at"] == {"type": "string", "format": "date-time"}
        assert given["metadata"] == {"type": "object", "additionalProperties": True}

    def test_limit_of_the_event_list(self, document: dict[str, Any]) -> None:
        parameters = operation(document, "/api/v1/billing/events", "get")["parameters"]
        limit = next(found for found in parameters if found["name"] == "limit")
        assert (limit["schema"]["maximum"], limit["schema"]["default"]) == (100, 50)
        assert {"type", "object_id", "account", "start", "end", "cursor"} <= {found["name"] for found in parameters}
