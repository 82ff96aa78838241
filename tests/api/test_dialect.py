"""One API in two spellings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from billing_site.api.dialect import CAMEL_MEDIA_TYPE, pointer_to_camel, to_camel, to_snake
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = [pytest.mark.urls("tests.api.probe"), pytest.mark.django_db]

BODY = {
    "name": "a",
    "unitPrice": "0.5",
    "lineItems": [{"amount": 3}],
    "metadata": {"keep_this": {"andThis": 1, "and_this": 2}},
}


def post(body: Any, content_type: str, accept: str | None = None) -> Any:
    headers = {"Accept": accept} if accept else {}
    return make_client().post("/api/widgets", json.dumps(body), content_type=content_type, headers=headers)


class TestNames:
    @pytest.mark.parametrize(
        ("snake", "camel"),
        [("period_start", "periodStart"), ("line1", "line1"), ("last4", "last4"), ("id", "id"), ("is_paid", "isPaid")],
    )
    def test_both_ways(self, snake: str, camel: str) -> None:
        assert (to_camel(snake), to_snake(camel), to_snake(snake)) == (camel, snake, snake)

    def test_pointers_stop_at_free_form_members(self) -> None:
        assert pointer_to_camel("/line_items/0/unit_price") == "/lineItems/0/unitPrice"
        assert pointer_to_camel("/line_items/0/metadata/some_key") == "/lineItems/0/metadata/some_key"


class TestDialect:
    def test_camel_in_and_out(self) -> None:
        response = post(BODY, CAMEL_MEDIA_TYPE, CAMEL_MEDIA_TYPE)
        assert response.status_code == 201
        assert response.headers["Content-Type"].split(";")[0] == CAMEL_MEDIA_TYPE
        assert json.loads(response.content) == BODY

    def test_camel_in_snake_out(self) -> None:
        response = post(BODY, CAMEL_MEDIA_TYPE)
        answer = json.loads(response.content)
        assert response.headers["Content-Type"] == "application/json"
        assert (answer["unit_price"], answer["line_items"], answer["metadata"]) == (
            "0.5",
            [{"amount": 3}],
            BODY["metadata"],
        )

    def test_plain_json_is_not_renamed(self) -> None:
        answer = json.loads(post(BODY, "application/json").content)
        assert "unit_price" not in answer  # an unknown member was ignored, not translated

    @pytest.mark.parametrize(
        "accept",
        [
            "*/*",
            "application/*",
            "application/json, application/problem+json",
            "application/problem+json",
            "text/html, */*;q=0.1",
        ],
    )
    def test_usual_accept_headers_get_json(self, accept: str) -> None:
        response = make_client().get("/api/widgets", headers={"Accept": accept})
        assert (response.status_code, response.headers["Content-Type"].split(";")[0]) == (200, "application/json")

    def test_problem_names_fields_as_they_were_sent(self) -> None:
        response = post({"name": "a", "lineItems": [{"amount": -1}]}, CAMEL_MEDIA_TYPE, CAMEL_MEDIA_TYPE)
        assert findings(problem(response, "validation_failed", 400)) == [("/lineItems/0/amount", "min_value")]

    def test_members_of_a_problem_follow_accept(self) -> None:
        response = make_client(scopes=[]).get("/api/widgets", headers={"Accept": CAMEL_MEDIA_TYPE})
        assert problem(response, "scope_missing", 403)["requiredScope"] == "billing:read"

    def test_answers_vary_by_accept(self) -> None:
        assert "Accept" in make_client().get("/api/widgets").headers["Vary"]

    def test_format_parameter_is_left_to_endpoints(self) -> None:
        assert make_client().get("/api/widgets?format=csv").status_code == 200
