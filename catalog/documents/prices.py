"""Prices of a document: fees and usage prices of plans, and the flat list of the provider form."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from catalog.documents.findings import quote
from catalog.documents.index import DocumentIndex, Named
from catalog.documents.price_models import FEE_MODEL, FEE_MODELS, USAGE_MODEL, USAGE_MODELS
from catalog.documents.price_terms import check_terms
from catalog.documents.reading import ObjectReader
from catalog.documents.vocabulary import (
    FLAT_PRICE_KEYS,
    INTERVALS,
    MAX_AMOUNT,
    MAX_INTERVAL_COUNT,
    PRICE_KEYS,
    TIMINGS,
    derive_price_lookup_key,
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a price of a plan stands: a second one at the same place would be ambiguous."""

    currency: str
    interval: str
    count: int
    meter: str | None

    @property
    def cycle(self) -> tuple[str, str, int]:
        return (self.currency, self.interval, self.count)


@dataclass(slots=True)
class PlanPrices:
    """The prices of one plan so far."""

    plan_id: str | None
    places: set[_Place] = field(default_factory=set)
    usage: list[tuple[_Place, ObjectReader]] = field(default_factory=list)
    is_free: bool = True
    is_clear: bool = True

    def add(self, place: _Place, reader: ObjectReader) -> None:
        """Remember a price that could be read."""
        self.places.add(place)
        if place.meter is None:
            self.is_free = self.is_free and reader.value.get("unit_amount") == 0
        else:
            self.usage.append((place, reader))


def read_plan_price(
    reader: ObjectReader, index: DocumentIndex, prices: PlanPrices, currencies: Collection[str]
) -> None:
    """Check a fee, or with a `meter` a usage price; `prices` are the plan's so far."""
    reader.check_keys(PRICE_KEYS)
    is_usage = reader.has("meter")
    currency = read_currency(reader, currencies)
    meter = reader.identifier("meter")
    model = read_model(reader, is_usage=is_usage)
    if model is not None:
        check_terms(reader, model, is_usage=is_usage, meter=index.meter_facts.get(meter or ""))
    interval, count = read_cycle(reader, is_usage=is_usage)
    if meter is not None:
        index.meter_references.append(Named(meter, reader.at("meter")))
    lookup_key = reader.lookup_key()
    if currency is None or interval is None or count is None or (is_usage and meter is None):
        prices.is_clear = False
        return
    place = _Place(currency, interval, count, meter)
    if place in prices.places:
        what = f"for “{meter}” " if meter else ""
        reader.report("interval", "duplicate_price", f"The plan has another price {what}in {currency} per {interval}.")
        return  # its derived lookup key would only repeat this finding
    prices.add(place, reader)
    if lookup_key is not None:
        index.add_lookup_key(lookup_key, reader.at("lookup_key"))
    elif prices.plan_id is not None and not reader.has("lookup_key"):
        derived = derive_price_lookup_key(prices.plan_id, currency, interval, count, meter)
        index.add_lookup_key(derived, reader.pointer)


def check_currencies(prices: PlanPrices) -> None:
    """
    Report usage prices that no subscription with a fee could ever have.

    A plan sold without fees, or for nothing, may price usage as it likes. One with fees is subscribed to by one of
    them: in a currency it has no fee in, usage would be sold without the fee, and by an interval it has no fee for,
    never at all.
    """
    cycles = {place.cycle for place in prices.places if place.meter is None}
    if not cycles or prices.is_free or not prices.is_clear:
        return
    offered = {currency for currency, _, _ in cycles}
    for place, reader in prices.usage:
        if place.currency not in offered:
            text = f"The plan has fees in {', '.join(sorted(offered))}, and none in {place.currency}."
            reader.report("currency", "currency_mixed", text)
        elif place.cycle not in cycles:
            every = sorted(_describe_cycle(cycle) for cycle in cycles if cycle[0] == place.currency)
            text = f"The plan has no fee per {_describe_cycle(place.cycle)} in {place.currency}: {', '.join(every)}."
            reader.report("interval", "interval_mixed", text)


def _describe_cycle(cycle: tuple[str, str, int]) -> str:
    _, interval, count = cycle
    return interval if count == 1 else f"{count} {interval}s"


def read_flat_price(reader: ObjectReader, index: DocumentIndex, currencies: Collection[str]) -> None:
    """Check a price of the flat provider form: it names its product and costs something."""
    reader.check_keys(FLAT_PRICE_KEYS)
    lookup_key = reader.lookup_key(required=True)
    product = reader.lookup_key("product_lookup_key", required=True)
    read_currency(reader, currencies)
    reader.integer("unit_amount", least=1, most=MAX_AMOUNT, required=True)
    reader.choice("interval", INTERVALS)
    reader.integer("interval_count", least=1, most=MAX_INTERVAL_COUNT)
    reader.choice("billing_timing", TIMINGS)
    if product is not None:
        index.product_lookup_references.append(Named(product, reader.at("product_lookup_key")))
    if lookup_key is not None:
        index.add_lookup_key(lookup_key, reader.at("lookup_key"))


def read_currency(reader: ObjectReader, currencies: Collection[str], *, required: bool = True) -> str | None:
    """Read a currency code in any case and return it in lower case."""
    text = reader.text("currency", required=required)
    if text is None:
        return None
    currency = text.strip().lower()
    if currency not in currencies:
        reader.report("currency", "currency_unsupported", f"{quote(text)} is not a currency on offer.")
        return None
    return currency


def read_model(reader: ObjectReader, *, is_usage: bool) -> str | None:
    """Read the model of a price; without one a fee is flat and usage is priced by the unit."""
    value = reader.value.get("model")
    if value is None:
        return USAGE_MODEL if is_usage else FEE_MODEL
    models = USAGE_MODELS if is_usage else FEE_MODELS
    model = value.strip().lower() if isinstance(value, str) else ""
    if model in models:
        return model
    kind = "a usage price" if is_usage else "a fee (a price without “meter”)"
    reader.report("model", "model_unsupported", f"The model of {kind} is one of: {', '.join(models)}.")
    return None


def read_cycle(reader: ObjectReader, *, is_usage: bool, required: bool = True) -> tuple[str | None, int | None]:
    """Read interval, its count and the billing timing; usage is by the month unless it says otherwise."""
    interval = reader.choice("interval", INTERVALS, required=required and not is_usage)
    if is_usage and not reader.has("interval"):
        interval = "month"
    count = reader.integer("interval_count", least=1, most=MAX_INTERVAL_COUNT)
    if not reader.has("interval_count"):
        count = 1
    if reader.choice("billing_timing", TIMINGS) == "advance" and is_usage:
        reader.report("billing_timing", "usage_in_advance", "Usage is always billed in arrears.")
    return interval, count
