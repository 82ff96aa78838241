"""Prices of a document: fees and usage prices of plans, and the flat list of the provider form."""

from __future__ import annotations

from collections.abc import Collection

from catalog.documents.findings import quote
from catalog.documents.index import DocumentIndex, Named
from catalog.documents.reading import ObjectReader
from catalog.documents.vocabulary import (
    FEE_MODELS,
    FLAT_PRICE_KEYS,
    INTERVALS,
    MAX_AMOUNT,
    MAX_INTERVAL_COUNT,
    PRICE_KEYS,
    TIMINGS,
    USAGE_MODELS,
    derive_price_lookup_key,
)


def read_plan_price(
    reader: ObjectReader,
    index: DocumentIndex,
    plan_id: str | None,
    currencies: Collection[str],
    seen: set[tuple[str, ...]],
) -> None:
    """Check a fee, or with a `meter` a usage price; `seen` are the plan's prices so far."""
    reader.check_keys(PRICE_KEYS)
    is_usage = reader.has("meter")
    currency = _read_currency(reader, currencies)
    meter = reader.identifier("meter")
    _read_amount(reader, is_usage=is_usage)
    _read_model(reader, is_usage=is_usage)
    # Usage is charged by the month unless the price says otherwise; a fee must say.
    interval = reader.choice("interval", INTERVALS, required=not is_usage)
    if is_usage and not reader.has("interval"):
        interval = "month"
    count = reader.integer("interval_count", least=1, most=MAX_INTERVAL_COUNT)
    if not reader.has("interval_count"):
        count = 1
    timing = reader.choice("billing_timing", TIMINGS)
    if is_usage and timing == "advance":
        reader.report("billing_timing", "usage_in_advance", "Usage is always billed in arrears.")
    if meter is not None:
        index.meter_references.append(Named(meter, reader.at("meter")))
    lookup_key = reader.lookup_key()
    if currency is None or interval is None or count is None or (is_usage and meter is None):
        return
    place = (currency, interval, str(count), meter or "")
    if place in seen:
        what = f"for “{meter}” " if meter else ""
        reader.report("interval", "duplicate_price", f"The plan has another price {what}in {currency} per {interval}.")
        return  # its derived lookup key would only repeat this finding
    seen.add(place)
    if lookup_key is not None:
        index.add_lookup_key(lookup_key, reader.at("lookup_key"))
    elif plan_id is not None and not reader.has("lookup_key"):
        index.add_lookup_key(derive_price_lookup_key(plan_id, currency, interval, count, meter), reader.pointer)


def read_flat_price(reader: ObjectReader, index: DocumentIndex, currencies: Collection[str]) -> None:
    """Check a price of the flat provider form: it names its product and costs something."""
    reader.check_keys(FLAT_PRICE_KEYS)
    lookup_key = reader.lookup_key(required=True)
    product = reader.lookup_key("product_lookup_key", required=True)
    _read_currency(reader, currencies)
    reader.integer("unit_amount", least=1, most=MAX_AMOUNT, required=True)
    reader.choice("interval", INTERVALS)
    reader.integer("interval_count", least=1, most=MAX_INTERVAL_COUNT)
    reader.choice("billing_timing", TIMINGS)
    if product is not None:
        index.product_lookup_references.append(Named(product, reader.at("product_lookup_key")))
    if lookup_key is not None:
        index.add_lookup_key(lookup_key, reader.at("lookup_key"))


def _read_currency(reader: ObjectReader, currencies: Collection[str]) -> str | None:
    text = reader.text("currency", required=True)
    if text is None:
        return None
    currency = text.strip().lower()
    if currency not in currencies:
        reader.report("currency", "currency_unsupported", f"{quote(text)} is not a currency on offer.")
        return None
    return currency


def _read_amount(reader: ObjectReader, *, is_usage: bool) -> None:
    if is_usage:
        reader.unit_price("unit_amount", required=True)
        return
    amount = reader.value.get("unit_amount")
    if isinstance(amount, int) and not isinstance(amount, bool) and amount < 0:
        reader.report("unit_amount", "negative", "A price cannot be negative.")
        return
    reader.integer("unit_amount", least=0, most=MAX_AMOUNT, required=True)


def _read_model(reader: ObjectReader, *, is_usage: bool) -> None:
    models = USAGE_MODELS if is_usage else FEE_MODELS
    value = reader.value.get("model")
    if value is None:
        return
    if not isinstance(value, str) or value.strip().lower() not in models:
        kind = "a usage price" if is_usage else "a fee (a price without “meter”)"
        reader.report("model", "model_unsupported", f"The model of {kind} is one of: {', '.join(models)}.")
