"""
A valid catalog document, read: frozen entries with every default, alias and derived lookup key filled in.

`as_document()` writes it back in one canonical form, so two documents that mean the same are the same text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from catalog.documents.vocabulary import SCHEMA_VERSION, derive_price_lookup_key
from catalog.pricing.terms import PriceOptions, to_text

_Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProductEntry:
    id: str
    name: str
    lookup_key: str
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> _Plain:
        shown = {"id": self.id, "name": self.name, "description": self.description, "lookup_key": self.lookup_key}
        return _compact({**shown, "metadata": dict(self.metadata)})


@dataclass(frozen=True, slots=True)
class MeterEntry:
    name: str
    event_name: str
    unit: str
    lookup_key: str
    display_name: str = ""
    aggregation_type: str = "sum"
    dimensions: tuple[str, ...] = ()
    provider_settings: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> _Plain:
        shown = {
            "name": self.name,
            "event_name": "" if self.event_name == self.name else self.event_name,
            "display_name": "" if self.display_name == self.name else self.display_name,
            "unit": self.unit,
            "aggregation_type": self.aggregation_type,
            "dimensions": list(self.dimensions),
            "lookup_key": self.lookup_key,
        }
        return _compact({**shown, **self.provider_settings})


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """
    A fee, or with `meter` a usage price.

    `unit_amount` is exact minor units, None for models without one; `options` is everything else the model needs.
    """

    currency: str
    unit_amount: Decimal | None
    interval: str
    lookup_key: str
    billing_timing: str
    model: str
    interval_count: int = 1
    meter: str | None = None
    options: PriceOptions = field(default_factory=PriceOptions)

    @property
    def place(self) -> str:
        """What makes it this price of its plan: `usd:month`, `usd:month:api`."""
        return derive_price_lookup_key("", self.currency, self.interval, self.interval_count, self.meter)[1:]

    def as_dict(self) -> _Plain:
        amount: str | int | None = None
        if self.unit_amount is not None:
            amount = to_text(self.unit_amount) if self.meter else int(self.unit_amount)
        return (
            _compact(
                {
                    "currency": self.currency,
                    "unit_amount": amount,
                    "interval": self.interval,
                    "interval_count": self.interval_count if self.interval_count != 1 else None,
                    "billing_timing": self.billing_timing,
                    "meter": self.meter,
                    "model": self.model if self.meter or self.model != "flat" else None,
                    "lookup_key": self.lookup_key,
                }
            )
            | self.options.as_dict()
        )


@dataclass(frozen=True, slots=True)
class QuotaEntry:
    feature: str
    meter_event_name: str
    window: str
    limit: int
    enforcement: str = "hard"
    overage_price: Decimal | None = None
    upgrade_plan_id: str = ""

    @property
    def place(self) -> str:
        """What makes it this quota of its plan."""
        return f"{self.feature} {self.meter_event_name} {self.window}"

    def as_dict(self) -> _Plain:
        price = None if self.overage_price is None else to_text(self.overage_price)
        return _compact({**{item.name: getattr(self, item.name) for item in fields(self)}, "overage_price": price})


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """A plan. `proration` and `proration_basis` are empty where the seller's hold."""

    id: str
    product_id: str
    name: str
    description: str = ""
    category: str = ""
    features: tuple[str, ...] = ()
    feature_texts: tuple[str, ...] = ()
    prices: tuple[PriceEntry, ...] = ()
    quotas: tuple[QuotaEntry, ...] = ()
    trial_period_days: int | None = None
    proration: str = ""
    proration_basis: str = ""
    price_per_seat: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    contact_sales: bool = False
    popular: bool = False

    def as_dict(self) -> _Plain:
        return _compact(
            {
                "id": self.id,
                "product_id": self.product_id,
                "name": self.name,
                "description": self.description,
                "category": self.category,
                "features": list(self.features),
                "feature_texts": list(self.feature_texts),
                "trial_period_days": self.trial_period_days,
                "proration": self.proration,
                "proration_basis": self.proration_basis,
                "price_per_seat": self.price_per_seat,
                "contact_sales": self.contact_sales,
                "popular": self.popular,
                "limits": dict(self.limits),
                "prices": [price.as_dict() for price in self.prices],
                "quotas": [quota.as_dict() for quota in self.quotas],
            }
        )

    def compute_content_hash(self) -> str:
        """Return the hash of what a plan version keeps. The order of prices and quotas does not matter."""
        content = self.as_dict()
        content["prices"] = sorted(map(canonical_json, content.get("prices", [])))
        content["quotas"] = sorted(map(canonical_json, content.get("quotas", [])))
        del content["product_id"]  # where the plan stands; the version does not keep it
        return _hash(content)


@dataclass(frozen=True, slots=True)
class FlatPriceEntry:
    """A price of the flat provider form. It belongs to no plan: it is kept for the provider only."""

    lookup_key: str
    product_lookup_key: str
    currency: str
    unit_amount: int
    interval: str | None = None
    interval_count: int = 1
    billing_timing: str = "advance"

    def as_dict(self) -> _Plain:
        shown = {item.name: getattr(self, item.name) for item in fields(self)}
        return _compact({**shown, "interval_count": self.interval_count if self.interval_count != 1 else None})


@dataclass(frozen=True, slots=True)
class CatalogContent:
    """Everything a catalog document says."""

    products: tuple[ProductEntry, ...] = ()
    meters: tuple[MeterEntry, ...] = ()
    plans: tuple[PlanEntry, ...] = ()
    prices: tuple[FlatPriceEntry, ...] = ()

    def as_document(self) -> _Plain:
        """Return the canonical document, as revisions store it."""
        document: _Plain = {
            "version": SCHEMA_VERSION,
            "products": [product.as_dict() for product in self.products],
            "meters": [meter.as_dict() for meter in self.meters],
            "plans": [plan.as_dict() for plan in self.plans],
        }
        if self.prices:
            document["prices"] = [price.as_dict() for price in self.prices]
        return document

    def as_editable_document(self) -> _Plain:
        """Return the document as a person would write it: without the lookup keys that would be derived anyway."""
        document = self.as_document()
        for product in document["products"]:
            _drop_if(product, "lookup_key", product["id"])
        for meter in document["meters"]:
            _drop_if(meter, "lookup_key", meter["name"])
        for plan, entry in zip(document["plans"], self.plans, strict=True):
            for price, terms in zip(plan.get("prices", []), entry.prices, strict=True):
                _drop_if(price, "lookup_key", f"{plan['id']}:{terms.place}")
        return document

    def as_json(self) -> str:
        """Return the canonical text: sorted keys, no spaces, decimals as text."""
        return canonical_json(self.as_document())

    def compute_hash(self) -> str:
        """Return the hash of the canonical text."""
        return _hash(self.as_document())


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _hash(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _compact(shown: Mapping[str, Any]) -> _Plain:
    """Leave out what says nothing: empty texts, lists and objects, false, null. A zero says something."""
    return {key: value for key, value in shown.items() if value or (isinstance(value, int) and value is not False)}


def _drop_if(entry: _Plain, key: str, value: str) -> None:
    if entry.get(key) == value:
        del entry[key]
