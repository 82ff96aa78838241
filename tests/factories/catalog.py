"""Catalogs, published the way the product publishes them."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Final

from billing_site.kernel.actors import Actor
from catalog.models import CatalogRevision, Plan, PlanVersion
from catalog.services.publishing import publish_document

AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
PUBLISHER: Final = Actor("token", "catalog-tests")

_DOCUMENT: Final[dict[str, Any]] = {
    "version": 1,
    "products": [{"id": "platform", "name": "Platform"}, {"id": "ai", "name": "AI"}],
    "meters": [
        {"name": "api", "display_name": "API requests", "unit": "requests"},
        {"name": "llm_input_tokens", "unit": "tokens"},
        {"name": "llm_output_tokens", "unit": "tokens"},
    ],
    "plans": [
        {
            "id": "free",
            "product_id": "platform",
            "name": "Free",
            "category": "platform",
            "features": ["service:api"],
            "feature_texts": ["10,000 requests a month"],
            "prices": [{"currency": "usd", "unit_amount": 0, "interval": "month"}],
            "quotas": [
                {
                    "feature": "service:api",
                    "meter_event_name": "api",
                    "window": "billing_period",
                    "limit": 10000,
                    "upgrade_plan_id": "pro",
                }
            ],
        },
        {
            "id": "pro",
            "product_id": "platform",
            "name": "Pro",
            "category": "platform",
            "features": ["service:api", "support:priority"],
            "popular": True,
            "prices": [
                {"currency": "usd", "unit_amount": 2900, "interval": "month"},
                {"currency": "usd", "unit_amount": 29000, "interval": "year"},
                {"currency": "eur", "unit_amount": 2700, "interval": "month"},
            ],
        },
        {
            "id": "ai-payg",
            "product_id": "ai",
            "name": "AI pay as you go",
            "category": "personal",
            "features": ["llm:proxy"],
            "prices": [
                {
                    "currency": "usd",
                    "model": "per_unit",
                    "meter": "llm_input_tokens",
                    "unit_amount": "0.00005",
                    "interval": "month",
                },
                {
                    "currency": "usd",
                    "model": "per_unit",
                    "meter": "llm_output_tokens",
                    "unit_amount": "0.00015",
                    "interval": "month",
                },
            ],
        },
    ],
}


def make_document() -> dict[str, Any]:
    """Return a valid document to change at will: `free` and `pro` of `platform`, `ai-payg` charged by the token."""
    return deepcopy(_DOCUMENT)


def find_entry(document: dict[str, Any], section: str, key: str) -> dict[str, Any]:
    """Return a product or plan by id, or a meter by name, to change it in place."""
    entry: dict[str, Any] = next(entry for entry in document[section] if key in (entry.get("id"), entry.get("name")))
    return entry


def publish_catalog(
    document: dict[str, Any] | None = None, *, org_id: str = "default", at: datetime = AT, reason: str = ""
) -> CatalogRevision:
    """Publish a document (by default that of `make_document`) and return the active revision."""
    chosen = make_document() if document is None else document
    return publish_document(org_id=org_id, document=chosen, at=at, actor=PUBLISHER, reason=reason).revision


def get_version(key: str, *, org_id: str = "default") -> PlanVersion:
    """Return the version of a plan that is on sale."""
    version = Plan.objects.select_related("current_version").get(org_id=org_id, key=key).current_version
    assert version is not None
    return version
