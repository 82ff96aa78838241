"""Catalogs, published the way the product publishes them."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from billing_site.kernel.actors import Actor
from catalog.models import CatalogRevision, Coupon, Meter, Plan, PlanVersion, PricingRule, TaxRate
from catalog.services.coupons import create_coupon
from catalog.services.meters import create_meter
from catalog.services.pricing_rules import create_pricing_rule
from catalog.services.publishing import publish_document
from catalog.services.tax_rates import create_tax_rate

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


def make_coupon(code: str = "LAUNCH2026", **values: Any) -> Coupon:
    """Define a coupon, 20 % for the next invoice unless told otherwise."""
    terms = {"discount_type": "percentage", "discount_value": Decimal(20), "org_id": "default", **values}
    return create_coupon(code=code, **{"at": AT, "actor": PUBLISHER, **terms})


def make_tax_rate(country: str = "DE", rate: str = "0.19", **values: Any) -> TaxRate:
    """Add a tax rate, on top and adding up unless told otherwise."""
    terms = {"name": f"Tax {country} {rate}", "org_id": "default", "at": AT, "actor": PUBLISHER, **values}
    return create_tax_rate(country=country, rate=Decimal(rate), **terms)


def make_meter(event_name: str = "gpu_seconds", **values: Any) -> Meter:
    """Define a meter beside the catalog document."""
    terms = {"name": event_name.replace("_", " ").capitalize(), "unit": "seconds", "org_id": "default", **values}
    return create_meter(event_name=event_name, **{"at": AT, "actor": PUBLISHER, **terms})


def make_rule(meter: str, unit_price: str | None = "0.5", **values: Any) -> PricingRule:
    """Price a meter (event name or id) for every plan in usd, per unit unless told otherwise."""
    price = None if unit_price is None else Decimal(unit_price)
    terms = {"org_id": "default", "at": AT, "actor": PUBLISHER, **values}
    return create_pricing_rule(meter=meter, unit_price=price, **terms)
