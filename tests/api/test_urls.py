"""Addresses of the whole site."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db


class TestSite:
    def test_root_leads_to_the_admin(self) -> None:
        assert Client().get("/").headers["Location"] == "/admin/"

    @pytest.mark.parametrize("method", ["get", "post", "delete"])
    @pytest.mark.parametrize("path", ["/api/nowhere", "/api/v1/billing/events/", "/api/v1/billing/"])
    def test_unknown_paths_of_the_api_are_problems(self, method: str, path: str) -> None:
        problem(getattr(Client(enforce_csrf_checks=True), method)(path), "not_found", 404)

    def test_events_are_served(self) -> None:
        assert make_client().get("/api/v1/billing/events").json()["items"] == []

    def test_schema_is_open_and_served_in_both_forms(self) -> None:
        yaml, json = Client().get("/api/schema"), Client().get("/api/schema", headers={"Accept": "application/json"})
        assert yaml.content.startswith(b"openapi: 3.1")
        assert json.json()["openapi"].startswith("3.1")

    def test_documentation_loads_nothing_from_elsewhere(self) -> None:
        page = Client().get("/api/docs")
        script = Client().get("/api/docs?script=")
        assert b"/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in page.content
        assert b"//" not in page.content.replace(b"<!DOCTYPE html>", b"")
        assert script.headers["Content-Type"].startswith("application/javascript")
        assert b"/api/schema" in script.content
