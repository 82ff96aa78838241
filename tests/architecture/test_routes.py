"""Every API route declares its scopes and publishes its problems and its schema, and refuses strangers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from rest_framework.permissions import AllowAny

from billing_site.api.views import BillingView, BillingViewSet
from billing_site.platform.services.tokens import SCOPES
from tests.support.api import BillingClient
from tests.support.problems import problem

METHODS = ("get", "post", "put", "patch", "delete")
# Doors that refuse whatever comes: there is no other answer.
REFUSING = frozenset({("post", "/api/v1/billing/card/tokenize")})
# drf-spectacular's own views: they describe the API and are not part of it.
ABOUT = frozenset({"/api/schema", "/api/docs"})
Document = dict[str, Any]


@dataclass(frozen=True)
class Route:
    """One method of one path, with the view class and the action that serve it."""

    method: str
    path: str
    view: type[Any]
    action: str

    @property
    def key(self) -> tuple[str, str]:
        return self.method, re.sub(r"{[^}]*}", "{}", self.path)

    @property
    def is_open(self) -> bool:
        return AllowAny in self.view.permission_classes

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


def walk(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> Iterator[tuple[str, Callable[..., Any]]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern).lstrip("^").rstrip("$")
        if isinstance(pattern, URLResolver):
            if not path.startswith("/admin"):
                yield from walk(pattern.url_patterns, path)
        elif pattern.callback is not None:
            yield re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path), pattern.callback


def list_routes() -> list[Route]:
    routes = []
    for path, callback in walk(get_resolver().url_patterns):
        if not path.startswith("/api/") or path in ABOUT:
            continue
        view = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
        assert view is not None, f"{path} is served by a function; use BillingAPIView"
        actions: dict[str, str] | None = getattr(callback, "actions", None)
        for method in METHODS:
            if actions is not None:
                if method in actions:
                    routes.append(Route(method, path, view, actions[method]))
            elif hasattr(view, method):
                routes.append(Route(method, path, view, method))
    return routes


@pytest.fixture(scope="module")
def routes() -> list[Route]:
    found = list_routes()
    assert len(found) > 10, "the routes of the apps were not found"
    return found


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    """What drf-spectacular could not describe."""
    return []


@pytest.fixture(scope="module")
def document(complaints: list[str]) -> Document:
    GENERATOR_STATS.reset()
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    generated: Document = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    complaints.extend([*GENERATOR_STATS._error_cache, *GENERATOR_STATS._warn_cache])
    return generated


@pytest.fixture(scope="module")
def operations(document: Document) -> dict[tuple[str, str], Document]:
    return {
        (method, re.sub(r"{[^}]*}", "{}", path)): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


class TestViews:
    def test_stand_on_our_base(self, routes: list[Route]) -> None:
        assert [str(route) for route in routes if not issubclass(route.view, BillingView)] == []

    def test_declare_scopes_or_are_open(self, routes: list[Route]) -> None:
        undeclared = [
            f"{route} ({route.view.__name__}.{route.action})"
            for route in routes
            if not route.is_open and not route.view.scopes.get(route.action)
        ]
        assert undeclared == []

    def test_declare_only_scopes_that_exist_for_the_audience(self, routes: list[Route]) -> None:
        wrong = [
            f"{route}: {audience} {scope}"
            for route in routes
            for audience, scope in route.view.scopes.get(route.action, {}).items()
            if audience not in SCOPES.get(scope, ())
        ]
        assert wrong == []

    def test_declare_nothing_for_actions_they_lack(self, routes: list[Route]) -> None:
        served: dict[type[Any], set[str]] = {}
        for route in routes:
            served.setdefault(route.view, set()).add(route.action)
        wrong = [
            f"{view.__name__}.{kind}[{action}]"
            for view, actions in served.items()
            for kind in ("scopes", "problems", "operation_ids")
            for action in set(getattr(view, kind, {})) - actions
        ]
        assert sorted(wrong) == []

    def test_of_a_noun_are_one_viewset(self, routes: list[Route]) -> None:
        assert any(issubclass(route.view, BillingViewSet) for route in routes)

    def test_have_no_trailing_slash(self, routes: list[Route]) -> None:
        assert [str(route) for route in routes if route.path.endswith("/")] == []


class TestSchema:
    def test_describes_everything_without_guessing(self, document: Document, complaints: list[str]) -> None:
        assert document["openapi"].startswith("3.1")
        assert complaints == []

    def test_describes_every_route(self, routes: list[Route], operations: dict[tuple[str, str], Document]) -> None:
        assert [str(route) for route in routes if route.key not in operations] == []

    def test_names_every_operation_once(self, operations: dict[tuple[str, str], Document]) -> None:
        counted = Counter(operation["operationId"] for operation in operations.values())
        assert [name for name, times in counted.items() if times > 1] == []

    def test_states_the_declared_scopes(self, routes: list[Route], operations: dict[tuple[str, str], Document]) -> None:
        wrong = []
        for route in routes:
            published = operations[route.key]["security"]
            declared = [{audience: [scope]} for audience, scope in route.view.scopes.get(route.action, {}).items()]
            if published != (declared or [{}]):
                wrong.append(f"{route}: {published}")
        assert wrong == []

    def test_describes_every_answer(self, operations: dict[tuple[str, str], Document]) -> None:
        wrong = []
        for key, operation in operations.items():
            good = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
            if not good and key not in REFUSING:
                wrong.append(f"{key}: no successful answer")
            for status, answer in good.items():
                contents = answer.get("content", {})
                if status != "204" and not any(content.get("schema") for content in contents.values()):
                    wrong.append(f"{key}: {status} without a schema")
        assert wrong == []

    def test_describes_every_problem(self, routes: list[Route], operations: dict[tuple[str, str], Document]) -> None:
        wrong = []
        for route in routes:
            answers = operations[route.key]["responses"]
            expected = {"500", "503"} if route.is_open else {"400", "401", "403", "500", "503"}
            wrong += [f"{route}: no {status}" for status in sorted(expected - answers.keys())]
            wrong += [
                f"{route}: {status} is no problem document"
                for status, answer in answers.items()
                if status >= "400" and "application/problem+json" not in answer.get("content", {})
            ]
        assert wrong == []


@pytest.mark.django_db
class TestStrangers:
    """Each route is really called; none of these requests may reach a use case."""

    def call(self, client: BillingClient, route: Route) -> Any:
        path = re.sub(r"{[^}]*}", "x", route.path)
        return client.generic(route.method.upper(), path, "{}", content_type="application/json")

    def test_without_a_token_are_refused(self, routes: list[Route]) -> None:
        for route in routes:
            if not route.is_open:
                problem(self.call(BillingClient(), route), "token_missing", 401)

    def test_without_the_scope_are_refused(self, routes: list[Route], api_client: Callable[..., BillingClient]) -> None:
        for route in routes:
            for audience, scope in route.view.scopes.get(route.action, {}).items():
                others = [name for name, audiences in SCOPES.items() if audience in audiences and name != scope]
                client = api_client(audience=audience, scopes=others)
                body = problem(self.call(client, route), "scope_missing", 403)
                assert body["required_scope"] == scope, str(route)

    def test_of_the_other_audience_are_refused(
        self, routes: list[Route], api_client: Callable[..., BillingClient]
    ) -> None:
        for route in routes:
            if route.view.scopes.get(route.action, {}).keys() == {"internal"}:
                problem(self.call(api_client(audience="public"), route), "audience_rejected", 403)
