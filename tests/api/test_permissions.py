"""What a caller may do: one scope per action and audience."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = [pytest.mark.urls("tests.api.probe"), pytest.mark.django_db]


class TestScopes:
    def test_other_audience_is_refused_whatever_its_scopes(self) -> None:
        client = make_client("public", scopes=["billing:money", "billing:read"])
        problem(client.post("/api/widgets", {"name": "a"}), "audience_rejected", 403)

    def test_missing_scope_is_named(self) -> None:
        client = make_client(scopes=["billing:read", "billing:invoice:write"])
        body = problem(client.post("/api/widgets", {"name": "a"}), "scope_missing", 403)
        assert body["required_scope"] == "billing:money"

    def test_no_scope_implies_another(self) -> None:
        client = make_client(scopes=["billing:money"])
        assert problem(client.get("/api/widgets"), "scope_missing", 403)["required_scope"] == "billing:read"

    def test_undeclared_action_is_refused_to_everyone(self) -> None:
        assert problem(make_client().get("/api/undeclared"), "scope_missing", 403)["required_scope"] is None

    @pytest.mark.parametrize("audience", ["public", "internal"])
    def test_declared_scope_lets_in(self, audience: Any) -> None:
        assert make_client(audience, scopes=["billing:read"]).get("/api/widgets").status_code == 200

    def test_head_needs_what_get_needs(self) -> None:
        assert make_client(scopes=["billing:read"]).head("/api/widgets").status_code == 200
        assert make_client(scopes=["usage:read"]).head("/api/widgets").status_code == 403

    def test_unknown_method_is_answered_before_scopes(self) -> None:
        response = make_client(scopes=[]).delete("/api/widgets")
        problem(response, "method_not_allowed", 405)
        assert response.headers["Allow"] == "GET, POST, HEAD"

    def test_options_is_no_way_around(self) -> None:
        problem(make_client().options("/api/widgets"), "method_not_allowed", 405)
