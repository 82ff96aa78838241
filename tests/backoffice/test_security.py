"""The Content-Security-Policy of each part of the site."""

from __future__ import annotations

import base64
import hashlib

from django.test import Client
from django.urls import reverse


def directives(header: str) -> dict[str, list[str]]:
    parts = [part.split() for part in header.split(";")]
    return {part[0]: part[1:] for part in parts if part}


class TestContentSecurityPolicy:
    def test_data_may_load_and_frame_nothing(self, client: Client) -> None:
        policy = directives(client.get("/data")["Content-Security-Policy"])
        assert policy == {
            "default-src": ["'none'"],
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
            "frame-ancestors": ["'none'"],
        }

    def test_an_unknown_path_is_as_closed(self, client: Client) -> None:
        assert directives(client.get("/nothing-here")["Content-Security-Policy"])["default-src"] == ["'none'"]

    def test_the_admin_evaluates_but_takes_no_inline_script(self, client: Client, db: None) -> None:
        policy = directives(client.get(reverse("admin:login"))["Content-Security-Policy"])
        assert policy["script-src"] == ["'self'", "'unsafe-eval'"]
        assert policy["frame-ancestors"] == ["'none'"]
        assert policy["object-src"] == ["'none'"]

    def test_the_documentation_page_names_its_own_script_only(self, client: Client) -> None:
        policy = directives(client.get("/docs")["Content-Security-Policy"])
        digest = base64.b64encode(hashlib.sha256(b"start()").digest()).decode()
        assert policy["script-src"] == ["'self'", f"'sha256-{digest}'"]
