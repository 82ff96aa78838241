"""Every refusal is one problem document."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.test import Client
from rest_framework.exceptions import ErrorDetail, ValidationError

from billing_site.api.findings import read_detail
from billing_site.api.problems import render_problem, to_domain_error
from billing_site.kernel.errors import DomainError, FieldError, InvalidState
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = [pytest.mark.urls("tests.api.probe"), pytest.mark.django_db]


class TestShape:
    def test_has_every_member_of_the_contract(self) -> None:
        response = make_client().get("/api/failing/domain")
        body = problem(response, "invalid_state", 409)
        assert body == {
            "type": "/problems/invalid_state",
            "title": "Not possible in this state",
            "status": 409,
            "code": "invalid_state",
            "detail": "It is void.",
            "instance": response.headers["Request-Id"],
            "retryable": False,
            "current_status": "void",
        }

    def test_members_never_replace_the_standard_ones(self) -> None:
        class Greedy(DomainError):
            code, title, status = "greedy", "Greedy", 409

        body = render_problem(Greedy("said", code="other", status=200, extra=1), request_id="r")
        assert (body["code"], body["status"], body["extra"]) == ("greedy", 409, 1)

    def test_is_json_even_where_the_view_answers_otherwise(self) -> None:
        assert make_client().get("/api/failing/html").content == b"<p>ready</p>"
        problem(make_client().get("/api/failing/crash"), "internal_error", 500)


class TestMapping:
    @pytest.mark.parametrize(
        ("how", "code", "status", "retryable"),
        [
            ("operational", "storage_unavailable", 503, True),
            ("interface", "storage_unavailable", 503, True),
            ("throttled", "rate_limited", 429, True),
            ("denied", "scope_missing", 403, False),
            ("data", "internal_error", 500, True),
            ("crash", "internal_error", 500, True),
            ("check", "internal_error", 500, True),
            ("integrity", "widget_taken", 409, False),
        ],
    )
    def test_of_exceptions(self, how: str, code: str, status: int, retryable: bool) -> None:
        body = problem(make_client().get(f"/api/failing/{how}"), code, status)
        assert body["retryable"] is retryable

    @pytest.mark.parametrize("how", ["operational", "crash", "check"])
    def test_details_of_failures_stay_inside(self, how: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.ERROR)
        response = make_client().get(f"/api/failing/{how}")
        assert not [
            word for word in ("secret", "hunter2", "event_chains", "10.0.0.1") if word in response.content.decode()
        ]
        assert [record for record in caplog.records if record.exc_info and record.name == "billing_site.api.problems"]

    def test_waiting_time_is_a_header(self) -> None:
        assert make_client().get("/api/failing/throttled").headers["Retry-After"] == "7"
        assert int(make_client().get("/api/failing/operational").headers["Retry-After"]) > 0

    def test_model_validation(self) -> None:
        body = problem(make_client().get("/api/failing/model"), "validation_failed", 400)
        assert findings(body) == [("/name", "too_short")]

    def test_every_detail_of_a_nested_error_gets_its_pointer(self) -> None:
        detail = {
            "a/b~c": [ErrorDetail("wrong", code="bad")],
            "items": [{}, {"amount": [ErrorDetail("x", code="min_value"), ErrorDetail("y", code="invalid")]}],
            "tags": {1: [ErrorDetail("z", code="blank")]},
            "non_field_errors": [ErrorDetail("all", code="together")],
        }
        assert [(found.pointer, found.code) for found in read_detail(detail)] == [
            ("/a~1b~0c", "bad"),
            ("/items/1/amount", "min_value"),
            ("/items/1/amount", "invalid"),
            ("/tags/1", "blank"),
            ("", "together"),
        ]

    def test_findings_of_one_named_kind_give_the_problem_its_code(self) -> None:
        one = to_domain_error(ValidationError({"amount": [ErrorDetail("no", code="amount_not_positive")]}))
        both = to_domain_error(
            ValidationError({"amount": [ErrorDetail("no", code="amount_not_positive")], "name": ["missing"]})
        )
        assert one is not None
        assert both is not None
        assert (one.code, one.errors) == ("amount_not_positive", (FieldError("/amount", "amount_not_positive", "no"),))
        assert both.code == "validation_failed"

    def test_unforeseen_errors_are_not_guessed_at(self) -> None:
        assert to_domain_error(KeyError("x")) is None
        error = InvalidState("x", current_status="y")
        assert to_domain_error(error) is error


class TestBodies:
    def post(self, body: str | bytes, content_type: str = "application/json", **headers: str) -> Any:
        return make_client().post("/api/widgets", body, content_type=content_type, headers=headers)

    @pytest.mark.parametrize(
        "body",
        [
            "{",
            "{'name': 1}",
            '{"name": NaN}',
            '{"name": Infinity}',
            b"\xff\xfe",
            "[" * 100_000,
            '{"name": "\\u0000"}',
            '{"name": "\\ud800"}',
            '{"amount": ' + "9" * 5000 + "}",
            '{"amount": 1.' + "9" * 500 + "}",
            '{"amount": 1e99999999999999999999}',
        ],
        ids=lambda body: repr(body[:20]),
    )
    def test_unreadable_json(self, body: str | bytes) -> None:
        problem(self.post(body), "malformed_body", 400)

    def test_escaped_backslash_before_u0000_is_text(self) -> None:
        response = self.post('{"name": "\\\\u0000"}')
        assert (response.status_code, response.json()["name"]) == (201, "\\u0000")

    def test_unknown_media_type(self) -> None:
        problem(self.post("name=a", "application/x-www-form-urlencoded"), "unsupported_media_type", 415)
        problem(self.post("<a/>", "text/xml"), "unsupported_media_type", 415)

    def test_unacceptable_representation(self) -> None:
        problem(make_client().get("/api/widgets", headers={"Accept": "text/csv"}), "not_acceptable", 406)

    @pytest.mark.parametrize("body", ["[]", '"text"', "7", "null"])
    def test_body_that_is_no_object(self, body: str) -> None:
        problem(self.post(body), "validation_failed", 400)

    def test_empty_body_counts_as_empty_object(self) -> None:
        assert findings(problem(self.post(""), "validation_failed", 400)) == [("/name", "required")]

    def test_too_large_body_is_refused_unread(self) -> None:
        response = self.post(b'{"name": "' + b"x" * 10_000_000 + b'"}')
        assert findings(problem(response, "validation_failed", 400)) == [("", "body_too_large")]

    def test_large_length_is_refused_whatever_was_sent(self) -> None:
        client = make_client()
        response = client.post("/api/widgets", {"name": "a"}, CONTENT_LENGTH=str(10_000_000))
        assert findings(problem(response, "validation_failed", 400)) == [("", "body_too_large")]

    def test_anonymous_large_body_is_no_body_at_all(self) -> None:
        response = Client().post("/api/widgets", b"x" * 10_000_000, content_type="application/json")
        problem(response, "token_missing", 401)


class TestOutsideViews:
    def test_unknown_api_path(self) -> None:
        response = Client().get("/api/nowhere")
        body = problem(response, "not_found", 404)
        assert body["instance"] == response.headers["Request-Id"]

    def test_other_unknown_paths_stay_pages(self) -> None:
        response = Client().get("/nowhere")
        assert (response.status_code, response.headers["Content-Type"].split(";")[0]) == (404, "text/html")

    def test_refused_host(self) -> None:
        problem(Client().get("/api/widgets", headers={"Host": "evil.example"}), "validation_failed", 400)

    @pytest.mark.parametrize("path", ["/api/widgets/a%00b", "/api/widgets?cursor=%00", "/api/reference?account=a%00"])
    def test_null_characters_in_addresses(self, path: str) -> None:
        response = make_client().get(path)
        assert response.status_code in (400, 404)
        assert json.loads(response.content)["code"] in ("not_found", "validation_failed")
