"""One price of a plan, from the fields of its form to the price they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from catalog.admin.amounts import describe_terms
from catalog.admin.editor_values import (
    ABSENT,
    DECIMAL,
    INTEGER,
    LOWER,
    TEXT,
    WHEN,
    Absent,
    FormReader,
    Kind,
    keep_others,
    put,
    read_value,
)
from catalog.documents.findings import Collector
from catalog.documents.price_models import FEE_MODEL, MODEL_RULES, TERMS, TIER_TERMS, USAGE_MODEL
from catalog.documents.reading import ObjectReader
from catalog.documents.single import read_single_price
from catalog.documents.vocabulary import PRICE_PLACE_KEYS
from catalog.services.documents import list_currencies

Entry = dict[str, Any]

MODEL_LABELS: Final[dict[str, str]] = {
    "flat": "Flat",
    "per_unit": "Per unit",
    "graduated": "Graduated tiers",
    "volume": "Volume tiers",
    "package": "Package",
    "percentage": "Percentage",
    "graduated_percentage": "Graduated percentage",
    "stairstep": "Stairstep",
    "dynamic": "Dynamic",
}
AMOUNT_LABELS: Final[dict[str, str]] = {
    "flat": "Amount for the interval",
    "per_unit": "Amount per unit",
    "package": "Amount per package",
}
TERM_LABELS: Final[dict[str, str]] = {
    "unit_amount": "Amount",
    "package_size": "Package size",
    "percent": "Percent",
    "fixed_amount": "Fixed per event",
    "free_events": "Free events",
    "free_amount": "Free amount",
    "event_minimum": "Least per event",
    "event_maximum": "Most per event",
    "free_quantity": "Free quantity",
    "minimum_amount": "Least per interval",
    "maximum_amount": "Most per interval",
}
# A quantity is not enough for these: they are asked by the event.
PER_EVENT_MODELS: Final = ("percentage", "dynamic")
VARIANT_TERMS: Final = ("unit_amount", "package_size", "percent", "fixed_amount")
_SHOWN: Final = frozenset({*PRICE_PLACE_KEYS, *TERMS})


def is_usage(price: Mapping[str, Any]) -> bool:
    """Tell whether a price is one for usage, not a fee."""
    return price.get("meter") is not None


def find_model(price: Mapping[str, Any]) -> str:
    """Return the model a price has, given or by default."""
    given = price.get("model")
    if isinstance(given, str) and given.strip():
        return given.strip().lower()
    return USAGE_MODEL if is_usage(price) else FEE_MODEL


def list_rules() -> dict[str, Any]:
    """Return what the script needs to show the fields of a model: terms of fees and of usage, and of tiers."""
    return {
        model: {
            "meaning": rule.meaning,
            "amount": AMOUNT_LABELS.get(model, TERM_LABELS["unit_amount"]),
            "fee": sorted(rule.list_keys(is_usage=False)) if rule.is_fee else None,
            "usage": sorted(rule.list_keys(is_usage=True)),
            "tiers": ["up_to", *rule.tier_keys],
        }
        for model, rule in MODEL_RULES.items()
    }


def describe_raw_price(price: Mapping[str, Any], unit: str | None = None) -> str:
    """Return a price of a draft in words, or nothing while it cannot be read."""
    currency = price.get("currency")
    if not isinstance(currency, str):
        return ""
    currency = currency.strip().lower()
    reader = ObjectReader(price, "", Collector())
    terms = read_single_price(reader, currency=currency, currencies=list_currencies())
    if terms is None:
        return ""
    return describe_terms(replace(terms, unit=unit) if unit and terms.is_metered else terms)


# ---- reading --------------------------------------------------------------------------------------------------------
def read_price(form: FormReader, base: Entry) -> Entry:
    """Return the price that the posted fields make of `base`, the price they were made from."""
    price = keep_others(base, _SHOWN)
    for key, kind in (("currency", LOWER), ("interval", TEXT), ("interval_count", INTEGER), ("meter", TEXT)):
        put(price, key, read_value(form, key, base, kind))
    model = form.text("model") or find_model(base)
    if "model" in base or model != (USAGE_MODEL if is_usage(price) else FEE_MODEL):
        price["model"] = base["model"] if model == find_model(base) and "model" in base else model
    for key in ("billing_timing", "lookup_key"):
        put(price, key, read_value(form, key, base, TEXT))
    allowed = list_terms(model, usage=is_usage(price))
    if model == find_model(base) and is_usage(price) == is_usage(base):
        # What does not belong to the model, but was written there, is for its author to remove.
        price |= {key: base[key] for key in TERMS if key in base and key not in allowed}
    for key in TERMS:
        if key in allowed:
            put(price, key, _read_term(form, key, base, model, usage=is_usage(price)))
    return price


def list_terms(model: str, *, usage: bool) -> frozenset[str]:
    """Return the terms a price of a model may have; all of them while the model is not known."""
    rule = MODEL_RULES.get(model)
    return frozenset(TERMS) if rule is None else rule.list_keys(is_usage=usage)


def _read_term(form: FormReader, key: str, base: Entry, model: str, *, usage: bool) -> Any:
    match TERMS[key].kind:
        case "boolean":
            return ABSENT if form.has(key) else False
        case "tiers":
            return _read_tiers(form, base, model)
        case "transform":
            return _read_transform(form, base)
        case "variants":
            return _read_variants(form, base)
        case "count":
            return read_value(form, key, base, INTEGER)
        case "amount" if key == "unit_amount" and not usage:
            return read_value(form, key, base, Kind(DECIMAL.show, INTEGER.read))
    return read_value(form, key, base, DECIMAL)


def _read_tiers(form: FormReader, base: Entry, model: str) -> Any:
    rows = form.rows("tiers")
    old = base.get("tiers")
    if not rows:
        return ABSENT if isinstance(old, list) and all(isinstance(tier, dict) for tier in old) else old or ABSENT
    rule = MODEL_RULES.get(model)
    keys = rule.tier_keys if rule else tuple(key for key in TIER_TERMS if key != "up_to")
    return [row.mark(_read_tier(row, row.origin(old), keys)) for row in rows]


def _read_tier(form: FormReader, base: Entry, keys: Sequence[str]) -> Entry:
    tier = keep_others(base, frozenset(TIER_TERMS))
    bound = read_value(form, "up_to", base, DECIMAL)
    if isinstance(bound, Absent):
        # A last tier may do without the key; one that is new, or had a bound, says null.
        if not base or "up_to" in base:
            tier["up_to"] = None
    else:
        tier["up_to"] = None if str(bound).lower() in ("∞", "inf") else bound
    for key in keys:
        put(tier, key, read_value(form, key, base, DECIMAL))
    return tier


def _read_transform(form: FormReader, base: Entry) -> Any:
    old = base.get("transform_quantity")
    shown = old if isinstance(old, dict) else {}
    divide_by = read_value(form, "divide_by", shown, DECIMAL)
    rounding = form.text("divide_round") or "none"
    if isinstance(divide_by, Absent):
        return ABSENT if isinstance(old, dict) else old or ABSENT
    if shown and divide_by == shown.get("divide_by") and rounding == str(shown.get("round") or "none"):
        return old
    made = {**shown, "divide_by": divide_by, "round": rounding}
    if rounding == "none":
        del made["round"]
    return made


def _read_variants(form: FormReader, base: Entry) -> Any:
    old = base.get("variants")
    rows = form.rows("variants")
    if not rows:
        return ABSENT if isinstance(old, list) and all(isinstance(item, dict) for item in old) else old or ABSENT
    variants = []
    for row in rows:
        origin = row.origin(old)
        variant = dict(origin)
        put(variant, "when", read_value(row, "when", origin, WHEN))
        for key in VARIANT_TERMS:
            if row.has(key):
                put(variant, key, read_value(row, key, origin, DECIMAL))
        variants.append(row.mark(variant))
    return variants
