"""
The JSON Schema (draft 2020-12) of a catalog document, made from the same vocabulary that documents are read with.

It accepts every valid document and refuses mistakes of structure, so that an editor can help while one is written.
What entries say about each other (references, bounds of tiers, upgrades in a circle) only publishing and its dry run
check. Source: contract chapter Catalog document.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from billing_site.kernel.money import CURRENCIES
from catalog.documents import vocabulary as words
from catalog.documents.schema_parts import (
    BOOLEAN,
    DECIMAL,
    Schema,
    count,
    list_of,
    make_object,
    match_words,
    one_of,
    optional,
    pattern,
    text,
)
from catalog.documents.schema_prices import build_price_schemas

SCHEMA_ID: Final = f"urn:countinghouse:catalog-document:{words.SCHEMA_VERSION}"
_DESCRIPTION: Final = (
    "Products, meters and plans with their prices, features and quotas. Amounts are minor units; decimals are texts. "
    "Choices may be written in any case."
)


@cache
def build_schema() -> Schema:
    """Return the schema. It is shared: copy it before changing anything."""
    required = [{"required": ["plans", "meters"]}, {"required": ["prices"]}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Catalog document",
        "description": _DESCRIPTION,
        **make_object(_TOP, known=words.TOP_KEYS, required=["products"]),
        "anyOf": required,
        "$defs": {
            "identifier": pattern(words.IDENTIFIER, "An id or name."),
            "lookupKey": pattern(words.LOOKUP_KEY, "How the payment provider finds it; derived when left out."),
            "currency": {
                "description": "ISO 4217 code.",
                "anyOf": [{"enum": sorted(CURRENCIES)}, {"type": "string", "pattern": r"^\s*[A-Za-z]{3}\s*$"}],
            },
            "decimal": DECIMAL,
            "product": _PRODUCT,
            "meter": _METER,
            "plan": _PLAN,
            "quota": _QUOTA,
            "flatPrice": _FLAT_PRICE,
            **build_price_schemas(),
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _some(name: str) -> Schema:
    return optional(_ref(name))


def _texts(meaning: str) -> Schema:
    return optional(list_of(text(500, at_least=1), words.MAX_PLAN_FEATURES, meaning))


_LOOKUP_KEY: Final = _some("lookupKey")
_TOP: Final[Mapping[str, Schema]] = {
    words.SCHEMA_KEY: optional(text(1_000, "Where this schema is; passed over.")),
    "version": optional({"const": words.SCHEMA_VERSION}),
    "revision": {"description": "Set by the server; passed over."},
    "published_at": {"description": "Set by the server; passed over."},
    "published_by": {"description": "Set by the server; passed over."},
    "products": list_of(_ref("product"), words.MAX_ENTRIES["products"], "What plans are sold for."),
    "meters": optional(list_of(_ref("meter"), words.MAX_ENTRIES["meters"], "What is counted.")),
    "plans": optional(list_of(_ref("plan"), words.MAX_ENTRIES["plans"], "What is sold.")),
    "prices": optional(
        list_of(_ref("flatPrice"), words.MAX_ENTRIES["prices"], "The flat provider form: prices without plans.")
    ),
}
_PRODUCT: Final = {
    **make_object(
        {
            "id": _some("identifier"),
            "name": text(255, at_least=1),
            "description": optional(text(5_000)),
            "lookup_key": _LOOKUP_KEY,
            "metadata": optional({"type": "object", "description": "Free; fractions as texts."}),
        },
        known=words.PRODUCT_KEYS,
        required=["name"],
    ),
    "anyOf": [{"required": ["id"]}, {"required": ["lookup_key"]}],
}
_METER: Final = {
    **make_object(
        {
            "name": _some("identifier"),
            "unit": optional(text(50, "What one is called: requests, GB-hours.")),
            "display_name": optional(text(255)),
            "event_name": _some("identifier"),
            "aggregation_type": optional(one_of(words.AGGREGATIONS, "How events become a quantity; sum if absent.")),
            "dimensions": optional(
                list_of(_ref("identifier"), 100, "Values of events that prices may depend on.", unique=True)
            ),
            "lookup_key": _LOOKUP_KEY,
            "aggregation_formula": optional(one_of(words.FORMULAS, "The provider's.")),
            **{key: optional(text(100)) for key in words.METER_PROVIDER_KEYS[1:]},
        },
        known=words.METER_KEYS,
        required=[],
    ),
    "anyOf": [{"required": ["name", "unit"]}, {"required": ["event_name"]}],
}
_PLAN: Final = make_object(
    {
        "id": _ref("identifier"),
        "product_id": _ref("identifier"),
        "name": text(255, at_least=1),
        "description": optional(text(5_000)),
        "category": optional(text(100)),
        "features": optional(
            list_of(_ref("identifier"), words.MAX_PLAN_FEATURES, "Scopes that the plan grants.", unique=True)
        ),
        "feature_texts": _texts("What a plan list shows."),
        "prices": optional(list_of(_ref("price"), words.MAX_PLAN_PRICES, "Fees, and with a meter usage prices.")),
        "quotas": optional(list_of(_ref("quota"), words.MAX_PLAN_QUOTAS, "No quota means unlimited.")),
        "trial_period_days": optional(count(0, words.MAX_TRIAL_DAYS)),
        "proration": optional(one_of(words.PRORATIONS, "How a part of a period is charged; the seller's if absent.")),
        "proration_basis": optional(
            one_of(
                words.PRORATION_BASES, "What a whole period counts: real days or 30 a month; the seller's if absent."
            )
        ),
        "price_per_seat": optional(BOOLEAN),
        "limits": optional(
            {
                "type": "object",
                "description": "Named limits; -1 is unlimited.",
                "additionalProperties": optional(count(-1, words.MAX_LIMIT)),
            }
        ),
        "contact_sales": optional(BOOLEAN),
        "popular": optional(BOOLEAN),
    },
    known=words.PLAN_KEYS,
    required=["id", "product_id", "name"],
)
_QUOTA: Final = make_object(
    {
        "feature": _ref("identifier"),
        "meter_event_name": _ref("identifier"),
        "window": {
            "description": "The span in which the limit holds.",
            "anyOf": [{"enum": list(words.WINDOWS)}, match_words(words.WINDOW_ALIASES)],
        },
        "limit": count(1, words.MAX_LIMIT),
        "enforcement": optional(one_of(words.ENFORCEMENTS, "hard refuses, soft warns and may charge.")),
        "overage_price": _some("decimal"),
        "upgrade_plan_id": _some("identifier"),
    },
    known=words.QUOTA_KEYS,
    required=["feature", "meter_event_name", "window", "limit"],
)
_FLAT_PRICE: Final = make_object(
    {
        "lookup_key": _ref("lookupKey"),
        "product_lookup_key": _ref("lookupKey"),
        "currency": _ref("currency"),
        "unit_amount": count(1, words.MAX_AMOUNT),
        "interval": optional(one_of(words.INTERVALS)),
        "interval_count": optional(count(1, words.MAX_INTERVAL_COUNT)),
        "billing_timing": optional(one_of(words.TIMINGS)),
    },
    known=words.FLAT_PRICE_KEYS,
    required=["lookup_key", "product_lookup_key", "currency", "unit_amount"],
)
