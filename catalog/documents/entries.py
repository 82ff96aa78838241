"""Products, meters and plans of a document, each checked for itself and remembered for the checks between them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal

from catalog.documents.findings import join_pointer
from catalog.documents.index import DocumentIndex, MeterFacts, Named
from catalog.documents.prices import PlanPrices, check_currencies, read_plan_price
from catalog.documents.reading import ObjectReader
from catalog.documents.vocabulary import (
    AGGREGATIONS,
    ENFORCEMENTS,
    FORMULAS,
    MAX_LIMIT,
    MAX_PLAN_FEATURES,
    MAX_PLAN_PRICES,
    MAX_PLAN_QUOTAS,
    MAX_TRIAL_DAYS,
    METER_KEYS,
    METER_PROVIDER_KEYS,
    PLAN_KEYS,
    PRODUCT_KEYS,
    PRORATION_BASES,
    PRORATIONS,
    QUOTA_KEYS,
    WINDOW_ALIASES,
)


@dataclass(slots=True)
class _PlanSoFar:
    """What a plan's quotas are checked against."""

    id: str | None
    features: set[str]
    windows: set[tuple[str, str, str]] = field(default_factory=set)


def read_product(reader: ObjectReader, index: DocumentIndex) -> None:
    """Check a product. In the flat form it has only a lookup key, which then is its id as well."""
    reader.check_keys(PRODUCT_KEYS)
    lookup_key = reader.lookup_key()
    flat = not reader.has("id") and reader.has("lookup_key")
    identity = reader.identifier("lookup_key" if flat else "id", required=True)
    reader.text("name", required=True)
    reader.text("description", max_length=5_000)
    _check_metadata(reader)
    if identity is not None:
        index.add(index.products, Named(identity, reader.at("lookup_key" if flat else "id")), "product")
    if key := lookup_key or identity:
        index.add_lookup_key(key, reader.at("lookup_key" if reader.has("lookup_key") else "id"))
        index.product_lookup_keys.add(key)


def _check_metadata(reader: ObjectReader) -> None:
    """Any JSON will do, but no fractions: they would not come back as they were written."""
    pending: list[tuple[object, str]] = [(reader.mapping("metadata"), reader.at("metadata"))]
    while pending:
        value, pointer = pending.pop()
        if isinstance(value, dict):
            pending.extend((item, join_pointer(pointer, key)) for key, item in reversed(value.items()))
        elif isinstance(value, list):
            pending.extend((item, join_pointer(pointer, place)) for place, item in reversed(list(enumerate(value))))
        elif isinstance(value, float | Decimal) and value != int(value):
            reader.findings.add(pointer, "fraction", "Write a fraction as text, so that it is kept exactly.")


def read_meter(reader: ObjectReader, index: DocumentIndex) -> None:
    """Check a meter. Its event name is its `name` unless given; in the flat form only the event name is."""
    reader.check_keys(METER_KEYS)
    flat = not reader.has("name") and reader.has("event_name")
    name = reader.identifier("name", required=not flat)
    event_name = reader.identifier("event_name") if reader.has("event_name") else name
    reader.text("unit", required=not flat, max_length=50)
    reader.text("display_name")
    aggregation = reader.choice("aggregation_type", AGGREGATIONS)
    formula = reader.choice("aggregation_formula", FORMULAS)
    for setting in METER_PROVIDER_KEYS[1:]:
        reader.text(setting, max_length=100)
    dimensions = reader.identifiers("dimensions", most=100)
    lookup_key = reader.lookup_key()
    repeated = name in index.meter_names
    if name is not None:
        index.add(index.meter_names, Named(name, reader.at("name")), "meter")
    if event_name is not None and not (repeated and event_name == name):
        pointer = reader.at("event_name" if reader.has("event_name") else "name")
        index.add(index.meters, Named(event_name, pointer), "meter")
        facts = MeterFacts(aggregation or formula or "sum", frozenset(name for _, name in dimensions))
        index.meter_facts.setdefault(event_name, facts)
    if key := lookup_key or name or event_name:
        named_by = "lookup_key" if reader.has("lookup_key") else "name" if name else "event_name"
        index.add_lookup_key(key, reader.at(named_by))


def read_plan(reader: ObjectReader, index: DocumentIndex, currencies: Collection[str]) -> None:
    """Check a plan with its prices and quotas."""
    reader.check_keys(PLAN_KEYS)
    plan_id = reader.identifier("id", required=True)
    product_id = reader.identifier("product_id", required=True)
    reader.text("name", required=True)
    reader.text("description", max_length=5_000)
    reader.text("category", max_length=100)
    reader.texts("feature_texts", most=MAX_PLAN_FEATURES)
    reader.integer("trial_period_days", least=0, most=MAX_TRIAL_DAYS)
    reader.choice("proration", PRORATIONS)
    reader.choice("proration_basis", PRORATION_BASES)
    for key in ("price_per_seat", "contact_sales", "popular"):
        reader.boolean(key)
    _check_limits(reader)
    features = reader.identifiers("features", most=MAX_PLAN_FEATURES)
    if plan_id is not None:
        index.add(index.plans, Named(plan_id, reader.at("id")), "plan")
    if product_id is not None:
        index.product_references.append(Named(product_id, reader.at("product_id")))
    prices = PlanPrices(plan_id)
    for price in reader.objects("prices", most=MAX_PLAN_PRICES):
        read_plan_price(price, index, prices, currencies)
    check_currencies(prices)
    plan = _PlanSoFar(plan_id, {feature for _, feature in features})
    for quota in reader.objects("quotas", most=MAX_PLAN_QUOTAS):
        _read_quota(quota, index, plan)


def _check_limits(reader: ObjectReader) -> None:
    limits = reader.mapping("limits")
    if limits is None:
        return
    numbers = ObjectReader(limits, reader.at("limits"), reader.findings)
    for key in limits:
        numbers.integer(key, least=-1, most=MAX_LIMIT)


def _read_quota(reader: ObjectReader, index: DocumentIndex, plan: _PlanSoFar) -> None:
    reader.check_keys(QUOTA_KEYS)
    feature = reader.identifier("feature", required=True)
    meter = reader.identifier("meter_event_name", required=True)
    window = reader.choice("window", WINDOW_ALIASES, required=True)
    reader.integer("limit", least=1, most=MAX_LIMIT, required=True)
    reader.choice("enforcement", ENFORCEMENTS)
    reader.decimal("overage_price")
    upgrade = reader.identifier("upgrade_plan_id")
    if feature is not None and feature not in plan.features:
        reader.report("feature", "feature_not_in_plan", f"The plan's features do not name “{feature}”.")
    if meter is not None:
        index.meter_references.append(Named(meter, reader.at("meter_event_name")))
    if upgrade is not None:
        index.upgrades.append((plan.id, Named(upgrade, reader.at("upgrade_plan_id"))))
    if feature is not None and meter is not None and window is not None:
        if (feature, meter, window) in plan.windows:
            text = f"The plan has another quota for “{feature}” and “{meter}” per {window}."
            reader.report("window", "duplicate_quota", text)
        plan.windows.add((feature, meter, window))
