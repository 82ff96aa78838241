"""Reading a valid document into `CatalogContent`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, Final

from billing_site.kernel.money import CURRENCIES
from catalog.documents.content import (
    CatalogContent,
    FlatPriceEntry,
    MeterEntry,
    PlanEntry,
    PriceEntry,
    ProductEntry,
    QuotaEntry,
)
from catalog.documents.findings import DocumentInvalid
from catalog.documents.price_models import FEE_MODEL, TERMS, USAGE_MODEL
from catalog.documents.validation import validate_document
from catalog.documents.vocabulary import METER_PROVIDER_KEYS, WINDOW_ALIASES, derive_price_lookup_key
from catalog.pricing.terms import PriceOptions

_Raw = Mapping[str, Any]
_OPTION_KEYS: Final = tuple(key for key in TERMS if key != "unit_amount")
_NO_OPTIONS: Final = PriceOptions()


def normalise_document(raw: object, *, currencies: Collection[str] = CURRENCIES) -> CatalogContent:
    """
    Return what a document says, with defaults, folded aliases and derived lookup keys filled in.

    Reading what `as_document()` wrote gives the same content again.
    :raises DocumentInvalid: with every finding, if it is not valid.
    """
    findings = validate_document(raw, currencies=currencies)
    if not findings.is_valid or not isinstance(raw, dict):
        raise DocumentInvalid(findings)
    return read_valid_document(raw)


def read_valid_document(raw: _Raw) -> CatalogContent:
    """Return what a document says that is known to be valid, such as one that was published."""
    return CatalogContent(
        products=tuple(_read_product(entry) for entry in _list(raw, "products")),
        meters=tuple(_read_meter(entry) for entry in _list(raw, "meters")),
        plans=tuple(_read_plan(entry) for entry in _list(raw, "plans")),
        prices=tuple(_read_flat_price(entry) for entry in _list(raw, "prices")),
    )


def _list(raw: _Raw, key: str) -> list[Any]:
    return raw.get(key) or []


def _fold(raw: _Raw, key: str, default: str) -> str:
    return str(raw.get(key) or default).strip().lower()


def _read_product(raw: _Raw) -> ProductEntry:
    identity = raw.get("id") or raw["lookup_key"]
    return ProductEntry(
        id=identity,
        name=raw["name"],
        lookup_key=raw.get("lookup_key") or identity,
        description=raw.get("description") or "",
        metadata=_plain(raw.get("metadata") or {}),
    )


def _read_meter(raw: _Raw) -> MeterEntry:
    name = raw.get("name") or raw["event_name"]
    given = {key: str(raw[key]) for key in METER_PROVIDER_KEYS if raw.get(key)}
    if "aggregation_formula" in given:
        given["aggregation_formula"] = given["aggregation_formula"].strip().lower()
    return MeterEntry(
        name=name,
        event_name=raw.get("event_name") or name,
        unit=raw.get("unit") or "unit",
        lookup_key=raw.get("lookup_key") or name,
        display_name=raw.get("display_name") or name,
        aggregation_type=_fold(raw, "aggregation_type", given.get("aggregation_formula", "sum")),
        dimensions=tuple(_list(raw, "dimensions")),
        provider_settings=given,
    )


def _read_plan(raw: _Raw) -> PlanEntry:
    limits: dict[str, int | None] = raw.get("limits") or {}
    return PlanEntry(
        id=raw["id"],
        product_id=raw["product_id"],
        name=raw["name"],
        description=raw.get("description") or "",
        category=raw.get("category") or "",
        features=tuple(_list(raw, "features")),
        feature_texts=tuple(_list(raw, "feature_texts")),
        prices=tuple(_read_price(raw["id"], entry) for entry in _list(raw, "prices")),
        quotas=tuple(_read_quota(entry) for entry in _list(raw, "quotas")),
        trial_period_days=raw.get("trial_period_days"),
        proration=_fold(raw, "proration", ""),
        proration_basis=_fold(raw, "proration_basis", ""),
        price_per_seat=bool(raw.get("price_per_seat")),
        limits={key: limit for key, limit in limits.items() if limit is not None},
        contact_sales=bool(raw.get("contact_sales")),
        popular=bool(raw.get("popular")),
    )


def _read_price(plan_id: str, raw: _Raw) -> PriceEntry:
    meter = raw.get("meter")
    currency, interval, count = _fold(raw, "currency", ""), _fold(raw, "interval", "month"), raw.get("interval_count")
    amount = raw.get("unit_amount")
    derived = derive_price_lookup_key(plan_id, currency, interval, count or 1, meter)
    return PriceEntry(
        currency=currency,
        unit_amount=None if amount is None else _decimal(amount),
        interval=interval,
        interval_count=count or 1,
        billing_timing="arrears" if meter else _fold(raw, "billing_timing", "advance"),
        model=_fold(raw, "model", USAGE_MODEL if meter else FEE_MODEL),
        meter=meter,
        lookup_key=raw.get("lookup_key") or derived,
        options=read_price_options(raw),
    )


def read_price_options(raw: _Raw) -> PriceOptions:
    """
    Return everything a valid price charges beside its amount.

    A variant converts quantities as its price does, unless it says otherwise.
    """
    if not any(raw.get(key) is not None for key in _OPTION_KEYS):
        return _NO_OPTIONS
    terms = _fold_terms(raw)
    if variants := _list(raw, "variants"):
        shared = {key: terms[key] for key in ("transform_quantity",) if key in terms}
        terms["variants"] = [{**shared, **_fold_terms(variant)} for variant in variants]
    return PriceOptions.from_dict(terms)


def _fold_terms(raw: _Raw) -> dict[str, Any]:
    terms = {key: value for key, value in raw.items() if value is not None}
    if transform := terms.get("transform_quantity"):
        terms["transform_quantity"] = {**transform, "round": _fold(transform, "round", "none")}
    if tiers := terms.get("tiers"):
        terms["tiers"] = [*tiers[:-1], {**tiers[-1], "up_to": None}]
    return terms


def _read_quota(raw: _Raw) -> QuotaEntry:
    overage = raw.get("overage_price")
    return QuotaEntry(
        feature=raw["feature"],
        meter_event_name=raw["meter_event_name"],
        window=WINDOW_ALIASES[_fold(raw, "window", "")],
        limit=raw["limit"],
        enforcement=_fold(raw, "enforcement", "hard"),
        overage_price=None if overage is None else _decimal(overage),
        upgrade_plan_id=raw.get("upgrade_plan_id") or "",
    )


def _read_flat_price(raw: _Raw) -> FlatPriceEntry:
    return FlatPriceEntry(
        lookup_key=raw["lookup_key"],
        product_lookup_key=raw["product_lookup_key"],
        currency=_fold(raw, "currency", ""),
        unit_amount=raw["unit_amount"],
        interval=_fold(raw, "interval", "") or None,
        interval_count=raw.get("interval_count") or 1,
        billing_timing=_fold(raw, "billing_timing", "advance"),
    )


def _decimal(value: str | int) -> Decimal:
    return Decimal(str(value).strip())


def _plain(value: Any) -> Any:
    """Return free-form metadata as it reads back from the database: `1.0` is `1`; there are no fractions."""
    match value:
        case float() | Decimal():
            return int(value)
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
    return value
