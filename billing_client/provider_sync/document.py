"""
From a catalog document, in its full or its flat form, to what the provider is to have.

Everything required is checked here, before anything is sent. Source: contract chapters Catalog document and Provider
synchronisation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from billing_client.catalog_check import check_catalog
from billing_client.errors import Finding
from billing_client.provider_sync.currencies import OTHERS, TAKEN
from billing_client.provider_sync.price_terms import MODELS, TERM_KEYS, NotCarried, read_terms
from billing_client.provider_sync.reading import Entry
from billing_client.provider_sync.wanted import (
    CUSTOMER_PAYLOAD_KEY,
    VALUE_PAYLOAD_KEY,
    Skipped,
    WantedCatalog,
    WantedMeter,
    WantedPrice,
    WantedProduct,
)

LOOKUP_KEY_LENGTH: Final = 200
EVENT_NAME_LENGTH: Final = 100
DISPLAY_NAME_LENGTH: Final = 250
PAYLOAD_KEY_LENGTH: Final = 100
METADATA_KEYS: Final = 50
METADATA_KEY_LENGTH: Final = 40
METADATA_VALUE_LENGTH: Final = 500
LONGEST_INTERVAL: Final = {"day": 1095, "week": 156, "month": 36, "year": 3}
AGGREGATIONS: Final = ("sum", "count", "last", "max", "unique")
FORMULAS: Final = ("sum", "count", "last")
TIMINGS: Final = ("advance", "arrears")

_PLACE_KEYS: Final = frozenset(
    {"currency", "interval", "interval_count", "billing_timing", "lookup_key", "meter", "product_lookup_key"}
)


class DocumentRefused(ValueError):
    """Something required is missing or wrong; nothing was sent."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(f"{len(findings)} findings")
        self.findings = findings


def read_catalog(text: str) -> WantedCatalog:
    """
    Return what a document asks for.

    :raises NotJson: if the text is no JSON.
    :raises DocumentRefused: with every finding; with nothing but the secrets, if there are any.
    """
    if secrets := [finding for finding in check_catalog(text) if finding.code == "secret"]:
        raise DocumentRefused(secrets)
    document = json.loads(text, parse_float=Decimal)
    if not isinstance(document, dict):
        raise DocumentRefused([Finding("", "type_invalid", "a catalog is a JSON object")])
    reader = _Reader(document)
    wanted = reader.read()
    if reader.findings:
        raise DocumentRefused(list(dict.fromkeys(reader.findings)))
    return wanted


class _Reader:
    """Reads one document; `findings` grows on the way."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.findings: list[Finding] = []
        self._document = Entry(document, "", self.findings)
        self._products: dict[str, str] = {}
        """Lookup keys of products by id."""
        self._product_keys: set[str] = set()
        self._meters: dict[str, WantedMeter | Skipped] = {}
        """Meters by name and by event name."""
        self._seen: dict[str, set[str]] = {"product": set(), "meter": set(), "event name": set(), "price": set()}

    def read(self) -> WantedCatalog:
        if self._document["products"] is None:
            self._document.report("products", "required", "this array is missing")
        products = [self._read_product(entry) for entry in self._document.entries("products")]
        meters = [self._read_meter(entry) for entry in self._document.entries("meters")]
        prices = [price for plan in self._document.entries("plans") for price in self._read_plan(plan)]
        prices += [self._read_flat_price(entry) for entry in self._document.entries("prices")]
        return WantedCatalog(
            tuple(product for product in products if product is not None),
            tuple(meter for meter in meters if meter is not None),
            tuple(price for price in prices if price is not None),
        )

    # ---- products and meters ----------------------------------------------------------------------------------------
    def _read_product(self, entry: Entry) -> WantedProduct | None:
        named_by = "id" if entry.has("id") and not entry.has("lookup_key") else "lookup_key"
        key = entry.text(named_by, required=True, longest=METADATA_VALUE_LENGTH)
        name = entry.text("name", required=True)
        description = entry.text("description")
        metadata = self._read_metadata(entry)
        if key is None:
            return None
        self._refuse_second(entry, named_by, "product", key)
        self._product_keys.add(key)
        if isinstance(entry["id"], str):
            self._products[entry["id"]] = key
        self._products.setdefault(key, key)
        if name is None:
            return None
        if entry["description"] == "":
            description = ""
        return WantedProduct(key, name, description, {**metadata, "lookup_key": key})

    def _read_metadata(self, entry: Entry) -> dict[str, str]:
        """Return free-form metadata as the provider keeps it: short texts."""
        metadata = entry.entry("metadata")
        values = entry["metadata"] if metadata is not None else {}
        if metadata is None:
            return {}
        if len(values) >= METADATA_KEYS:
            entry.report("metadata", "too_many", f"the provider keeps {METADATA_KEYS} keys, one of them the lookup key")
        shown = {}
        for key, value in values.items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            if len(key) > METADATA_KEY_LENGTH:
                metadata.report(key, "too_long", f"a key has at most {METADATA_KEY_LENGTH} characters there")
            elif len(text) > METADATA_VALUE_LENGTH:
                metadata.report(key, "too_long", f"a value has at most {METADATA_VALUE_LENGTH} characters there")
            elif text:
                shown[key] = text
        return shown

    def _read_meter(self, entry: Entry) -> WantedMeter | Skipped | None:
        named_by = "event_name" if entry.has("event_name") or not entry.has("name") else "name"
        event_name = entry.text(named_by, required=True, longest=EVENT_NAME_LENGTH)
        name = entry.text("name") or event_name
        key = entry.text("lookup_key") or name
        display_name = entry.text("display_name", longest=DISPLAY_NAME_LENGTH) or name
        aggregation = entry.choice("aggregation_type", AGGREGATIONS) or "sum"
        formula = entry.choice("aggregation_formula", FORMULAS) or aggregation
        mapping = entry.choice("customer_mapping_type", ("by_id",)) or "by_id"
        customer = entry.text("customer_mapping_event_payload_key", longest=PAYLOAD_KEY_LENGTH)
        value = entry.text("value_settings_event_payload_key", longest=PAYLOAD_KEY_LENGTH)
        if event_name is None or key is None or display_name is None:
            return None
        self._refuse_second(entry, "lookup_key" if entry.has("lookup_key") else named_by, "meter", key)
        self._refuse_second(entry, named_by, "event name", event_name)
        meter: WantedMeter | Skipped = WantedMeter(
            lookup_key=key,
            event_name=event_name,
            display_name=display_name,
            formula=formula,
            customer_mapping_type=mapping,
            customer_payload_key=customer or CUSTOMER_PAYLOAD_KEY,
            value_payload_key=value or VALUE_PAYLOAD_KEY,
        )
        if formula not in FORMULAS:
            meter = Skipped("meter", key, f"Stripe has no {formula} aggregation; aggregation_formula chooses another")
        self._meters[event_name] = meter
        self._meters.setdefault(name or event_name, meter)
        return meter

    # ---- prices -----------------------------------------------------------------------------------------------------
    def _read_plan(self, plan: Entry) -> list[WantedPrice | Skipped | None]:
        prices = plan.entries("prices")
        plan_id = plan.text("id", required=True)
        product_id = plan.text("product_id", required=True)
        product = None if product_id is None else self._products.get(product_id)
        if product_id is not None and product is None:
            plan.report("product_id", "product_unknown", f"the document has no product “{product_id}”")
        people = {"nickname": plan.text("name") or plan_id or "", "plan_id": plan_id or ""}
        return [self._read_price(entry, product or "", people) for entry in prices]

    def _read_flat_price(self, entry: Entry) -> WantedPrice | Skipped | None:
        entry.text("lookup_key", required=True)
        product = entry.text("product_lookup_key", required=True)
        if product is not None and product not in self._product_keys:
            text = f"the document has no product with the lookup key “{product}”"
            entry.report("product_lookup_key", "product_unknown", text)
        return self._read_price(entry, product or "", None)

    def _read_price(self, entry: Entry, product: str, people: Mapping[str, str] | None) -> WantedPrice | Skipped | None:
        """Read a price of a plan, or with no `people` one of the flat form."""
        is_usage = entry.has("meter")
        entry.refuse_unknown(_PLACE_KEYS | TERM_KEYS)
        currency = self._read_currency(entry)
        interval = entry.choice("interval", tuple(LONGEST_INTERVAL), required=people is not None and not is_usage)
        if is_usage and not entry.has("interval"):
            interval = "month"
        count = entry.integer("interval_count", least=1) or 1
        timing = entry.choice("billing_timing", TIMINGS)
        meter = self._find_meter(entry) if is_usage else None
        key = self._read_lookup_key(entry, people, currency, interval, count)
        model = entry.choice("model", MODELS) or ("per_unit" if is_usage else "flat")
        if currency is None or key is None:
            return None
        if currency in OTHERS:
            return Skipped("price", key, f"Stripe does not take {currency}")
        try:
            terms = read_terms(entry, model=model, currency=currency, is_usage=is_usage)
        except NotCarried as error:
            return Skipped("price", key, str(error))
        if terms is None or (is_usage and meter is None):
            return None
        if terms.is_free:
            return Skipped("price", key, "the amount is zero")
        if timing == "arrears" and not is_usage:
            return Skipped("price", key, "Stripe bills fees in advance")
        if interval is not None and count > LONGEST_INTERVAL[interval]:
            return Skipped("price", key, "Stripe has intervals of at most three years")
        if isinstance(meter, Skipped):
            return Skipped("price", key, f"its meter {meter.lookup_key} is skipped")
        return WantedPrice(
            lookup_key=key,
            product=product,
            currency=currency,
            terms=terms,
            interval=interval,
            interval_count=count,
            meter=None if meter is None else meter.event_name,
            nickname=people["nickname"] if people else "",
            metadata={"plan_id": people["plan_id"]} if people else {},
        )

    def _read_lookup_key(
        self, entry: Entry, people: Mapping[str, str] | None, currency: str | None, interval: str | None, count: int
    ) -> str | None:
        """Return the lookup key, derived from the place of the price where the document gives none."""
        given = entry.text("lookup_key", longest=LOOKUP_KEY_LENGTH)
        if entry.has("lookup_key"):
            key = given
        elif people and people["plan_id"] and currency and interval:
            counted = interval if count == 1 else f"{count}{interval}"
            parts = [people["plan_id"], currency, counted, *([entry["meter"]] if entry.has("meter") else [])]
            key = ":".join(map(str, parts))
        else:
            return None
        if key is not None:
            self._refuse_second(entry, "lookup_key" if given else "", "price", key)
            if len(key) > LOOKUP_KEY_LENGTH:
                text = f"its derived lookup key has more than {LOOKUP_KEY_LENGTH} characters; give one"
                entry.report("", "too_long", text)
        return key

    def _read_currency(self, entry: Entry) -> str | None:
        text = entry.text("currency", required=True)
        if text is None:
            return None
        currency = text.strip().lower()
        if currency not in TAKEN and currency not in OTHERS:
            entry.report("currency", "currency_unsupported", f"“{text}” is no currency")
            return None
        return currency

    def _find_meter(self, entry: Entry) -> WantedMeter | Skipped | None:
        name = entry.text("meter")
        if name is not None and name not in self._meters:
            entry.report("meter", "meter_unknown", f"the document has no meter “{name}”")
        return self._meters.get(name or "")

    def _refuse_second(self, entry: Entry, key: str, kind: str, value: str) -> None:
        if value in self._seen[kind]:
            words = "event name" if kind == "event name" else f"lookup key of a {kind}"
            entry.report(key, "duplicate", f"“{value}” is the {words} already")
        self._seen[kind].add(value)
