"""A payment provider for the command, and catalogs to bring to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.stripe_server.server import StripeServer

if TYPE_CHECKING:
    from tests.billing_client.conftest import Billing, Outcome

Document = dict[str, Any]
Sync = Callable[..., "Outcome"]


def make_catalog(**changes: Any) -> Document:
    """Return a document with a product, a meter, and a plan with a fee and a usage price."""
    document: Document = {
        "version": 1,
        "products": [{"id": "llm", "name": "Language models"}],
        "meters": [{"name": "llm_tokens", "unit": "tokens", "display_name": "Tokens"}],
        "plans": [
            {
                "id": "basic",
                "product_id": "llm",
                "name": "Basic",
                "prices": [
                    {"currency": "usd", "unit_amount": 1000, "interval": "month"},
                    {"currency": "usd", "unit_amount": "0.00005", "meter": "llm_tokens"},
                ],
            }
        ],
    }
    return {**document, **changes}


def make_flat(**changes: Any) -> Document:
    """Return the same in the flat form that provider tools use."""
    document: Document = {
        "products": [{"lookup_key": "llm", "name": "Language models"}],
        "prices": [
            {
                "lookup_key": "basic-month",
                "product_lookup_key": "llm",
                "currency": "usd",
                "unit_amount": 1000,
                "interval": "month",
            },
            {"lookup_key": "setup", "product_lookup_key": "llm", "currency": "usd", "unit_amount": 5000},
        ],
        "meters": [{"lookup_key": "tokens", "display_name": "Tokens", "event_name": "llm_tokens"}],
    }
    return {**document, **changes}


def with_price(**terms: Any) -> Document:
    """Return a document whose one price has these terms; a fee in dollars a month unless they say otherwise."""
    document = make_catalog()
    document["plans"][0]["prices"] = [{"currency": "usd", "interval": "month", **terms}]
    return document


def rows_of(outcome: Outcome) -> list[tuple[str, str, str]]:
    """Return kind, lookup key and result of everything a sync with `--format json` told."""
    return [(item["kind"], item["lookup_key"], item["result"]) for item in outcome.data["items"]]


def results_of(outcome: Outcome) -> dict[str, str]:
    """Return the results by kind and lookup key: `price basic:usd:month` -> `created`."""
    return {f"{kind} {key}": result for kind, key, result in rows_of(outcome)}


@pytest.fixture
def provider(stripe_server: StripeServer, monkeypatch: pytest.MonkeyPatch) -> StripeServer:
    """A provider in test mode that the command is set up for, and that is not waited for between attempts."""
    from billing_client.provider_sync import connection

    monkeypatch.setenv("BILLING_STRIPE_API_URL", stripe_server.url)
    monkeypatch.setenv("BILLING_STRIPE_SECRET_KEY", stripe_server.test_key)
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.0)
    return stripe_server


@pytest.fixture
def sync(provider: StripeServer, billing: Billing, tmp_path: Path) -> Sync:
    """Bring a document to the provider: `sync(document, "--dry-run")`."""

    def call(document: Document | str, *words: str) -> Outcome:
        file = tmp_path / "catalog.json"
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        provider.forget_requests()
        return billing("operator", "stripe", "catalog", "sync", "--file", str(file), "--format", "json", *words)

    return call
