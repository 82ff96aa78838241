"""A lean door answers byte for byte as REST framework would, and takes the short way where it should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client
from rest_framework.throttling import ScopedRateThrottle

from billing_site.api.lean import lean_view
from billing_site.api.views import BillingAPIView, BillingView
from tests.api.lean_probe import EchoView, echo
from tests.support.tokens import make_token

pytestmark = [pytest.mark.urls("tests.api.lean_probe"), pytest.mark.django_db]

CAMEL = "application/vnd.billing.camel+json"
JSON = "application/json"
BODY = b'{"line_items":[{"unit_price":0.10,"text":"\xc3\xa9"}],"meta_data":{"a":null}}'
CARD = b'{"note":"4242 4242 4242 4242"}'


@dataclass(frozen=True)
class Case:
    """A request, and whether it is plain enough for the short way."""

    name: str
    short: bool
    method: str = "POST"
    body: bytes = BODY
    sent: str | None = JSON
    headers: dict[str, str] = field(default_factory=dict)
    path: str = ""
    token: dict[str, Any] | None = field(default_factory=dict)


def fail(how: str) -> bytes:
    return json.dumps({"fail": how}).encode()


CASES = [
    Case("plain", True),
    Case("with a charset", True, sent="application/json; charset=UTF-8"),
    Case("of another charset", False, sent="application/json; charset=latin-1"),
    Case("camelCase in", True, sent=CAMEL, body=b'{"lineItems":[{"unitPrice":1}]}'),
    Case("camelCase out", True, headers={"Accept": CAMEL}),
    Case("both ways camelCase", True, sent=CAMEL, headers={"Accept": CAMEL}),
    Case("a browser's Accept", False, headers={"Accept": "text/html, */*;q=0.1"}),
    Case("only problems accepted", False, headers={"Accept": "application/problem+json"}),
    Case("nothing acceptable", False, headers={"Accept": "text/html"}),
    Case("indented", False, headers={"Accept": "application/json; indent=4"}),
    Case("no token", False, token=None),
    Case("broken token", False, headers={"Authorization": "Bearer x.y.z"}),
    Case("two tokens", False, headers={"Authorization": "Bearer a b"}),
    Case("another scheme", False, headers={"Authorization": "Basic YTpi"}),
    Case("expired token", False, token={"lifetime": -60}),
    Case("another secret", False, token={"secret": "another-secret-with-more-than-32-bytes-in-it"}),
    Case("wrong audience", False, token={"audience": "public"}),
    Case("missing scope", False, token={"scopes": ["billing:read"]}),
    Case("scope is no text", False, token={"scope": 7}),
    Case("token with an organization", True, token={"org": "acme"}),
    Case("scheme in small letters", True, headers={"Authorization": "lower"}),
    Case("no JSON", True, body=b'{"a":'),
    Case("NaN", True, body=b'{"a":NaN}'),
    Case("U+0000", True, body=b'{"a":"\\u0000"}'),
    Case("half a surrogate pair", True, body=b'{"a":"\\ud800"}'),
    Case("not UTF-8", True, body=b'{"a":"\xff"}'),
    Case("byte order mark", True, body=b'\xef\xbb\xbf{"a":1}'),
    Case("empty object", True, body=b"{}"),
    Case("list", True, body=b"[1]"),
    Case("no body", False, body=b""),
    Case("no media type", False, sent=None),
    Case("unknown media type", False, sent="application/xml"),
    Case("form", False, sent="application/x-www-form-urlencoded", body=b"a=1"),
    Case("too large", False, body=b'"' + b"x" * 2000 + b'"'),
    Case("card number", False, body=CARD),
    Case("security code", False, body=b'{"cvc":"123"}'),
    Case("refused by the domain", True, body=fail("domain")),
    Case("refused fields", True, body=fail("fields")),
    Case("refused fields of camelCase", True, body=fail("fields"), sent=CAMEL),
    Case("refused in camelCase", True, body=fail("domain"), headers={"Accept": CAMEL}),
    Case("database gone", True, body=fail("database")),
    Case("crash", True, body=fail("crash")),
    Case("keyed", False, headers={"Idempotency-Key": "k"}),
    Case("keyed where the view has its own way", True, path="/x", headers={"Idempotency-Key": "k"}),
    Case("unknown method", False, method="PATCH"),
    Case("options", False, method="OPTIONS"),
    Case("read", True, method="GET", body=b""),
    Case("read with a query", True, method="GET", body=b"", path="?a=1"),
    Case("U+0000 in the query", False, method="GET", body=b"", path="?a=%00"),
    Case("head", False, method="HEAD", body=b""),
    Case("action", True, path="/acme/alice"),
    Case("action refused", True, path="/acme/alice", body=fail("domain")),
    Case("U+0000 in the path", False, path="/a%00b"),
    Case("action that is not lean", False, path="/x", method="GET", body=b""),
    Case("no such method of the actions", False, path="/x", method="DELETE"),
]


def send(case: Case, door: str) -> Any:
    headers = dict(case.headers)
    if case.token is not None and headers.get("Authorization") in (None, "lower"):
        scheme = "bearer" if headers.get("Authorization") else "Bearer"
        headers["Authorization"] = f"{scheme} {make_token(**case.token)}"
    extra: dict[str, Any] = {"headers": headers}
    if case.sent is not None:
        extra["content_type"] = case.sent
    return Client(raise_request_exception=False).generic(case.method, f"/api/{door}{case.path}", case.body, **extra)


def show(answer: Any) -> tuple[int, bytes, dict[str, str]]:
    """Everything of an answer but the id of the request, which is another for each."""
    headers = dict(answer.headers)
    request_id = headers.pop("Request-Id")
    return answer.status_code, answer.content.replace(request_id.encode(), b"(its id)"), headers


@pytest.fixture
def long_ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The requests that REST framework dispatched."""
    seen: list[str] = []
    dispatch = BillingView.dispatch

    def count(self: BillingView, request: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(request.path)
        return dispatch(self, request, *args, **kwargs)

    monkeypatch.setattr(BillingView, "dispatch", count)
    yield seen


class TestLeanView:
    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_answers_as_the_long_way_does(self, case: Case, long_ways: list[str]) -> None:
        short = send(case, "short")
        assert (long_ways == []) is case.short
        assert show(short) == show(send(case, "long"))

    def test_the_cases_cover_every_kind_of_answer(self) -> None:
        statuses = {send(case, "short").status_code for case in CASES}
        assert statuses >= {200, 201, 400, 401, 403, 404, 405, 406, 409, 415, 500, 503}

    def test_keeps_what_describes_the_view(self) -> None:
        callback: Any = EchoView.as_view()
        door: Any = lean_view(callback, post=echo)
        assert (door.cls, door.view_class, door.csrf_exempt) == (EchoView, EchoView, True)

    def test_hides_what_failed_and_logs_it(self, caplog: pytest.LogCaptureFixture) -> None:
        answer = send(Case("crash", True, body=fail("crash")), "short")
        assert b"secret" not in answer.content
        assert [record for record in caplog.records if record.exc_info and record.name == "billing_site.api.problems"]

    def test_refuses_a_view_that_decides_for_itself_who_may_call(self) -> None:
        class OpenView(BillingAPIView):
            permission_classes = []
            scopes = EchoView.scopes

        class CountingView(BillingAPIView):
            throttle_classes = [ScopedRateThrottle]
            scopes = EchoView.scopes

        for view in (OpenView, CountingView):
            with pytest.raises(TypeError, match=view.__name__):
                lean_view(view.as_view(), get=echo)
