"""The words of a catalog document: keys, choices, aliases, and the lookup keys derived when none are given."""

from __future__ import annotations

import re
from typing import Final

from catalog.documents.price_models import TERMS

SCHEMA_VERSION: Final = 1
IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")
LOOKUP_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,249}")
UNIT_PRICE: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,12})?")

INTERVALS: Final = ("day", "week", "month", "year")
AGGREGATIONS: Final = ("sum", "count", "last", "max", "unique")
FORMULAS: Final = ("sum", "count", "last")
TIMINGS: Final = ("advance", "arrears")
PRORATIONS: Final = ("day", "second", "none")
PRORATION_BASES: Final = ("actual", "fixed_30")
ENFORCEMENTS: Final = ("hard", "soft")
WINDOWS: Final = ("minute", "hour", "day", "week", "month", "billing_period", "total")
WINDOW_ALIASES: Final[dict[str, str]] = {
    **{window: window for window in WINDOWS},
    **dict.fromkeys(("minutes", "minutely", "per_minute"), "minute"),
    **dict.fromkeys(("hours", "hourly"), "hour"),
    **dict.fromkeys(("days", "daily"), "day"),
    **dict.fromkeys(("weeks", "weekly"), "week"),
    **dict.fromkeys(("months", "monthly"), "month"),
    **dict.fromkeys(("lifetime", "all", "all_time"), "total"),
    **dict.fromkeys(("period", "current_period"), "billing_period"),
}

# Set by the server in its answers, and passed over when such an answer comes back as a document.
SERVER_KEYS: Final = frozenset({"revision", "published_at", "published_by"})
# Names the published schema, so that an editor checks while typing; it says nothing about the catalog.
SCHEMA_KEY: Final = "$schema"
TOP_KEYS: Final = frozenset({"version", "products", "meters", "plans", "prices", SCHEMA_KEY}) | SERVER_KEYS
PRODUCT_KEYS: Final = frozenset({"id", "name", "description", "lookup_key", "metadata"})
METER_PROVIDER_KEYS: Final = (
    "aggregation_formula",
    "customer_mapping_type",
    "customer_mapping_event_payload_key",
    "value_settings_event_payload_key",
)
METER_KEYS: Final = frozenset(
    {"name", "unit", "display_name", "event_name", "aggregation_type", "dimensions", "lookup_key", *METER_PROVIDER_KEYS}
)
PLAN_KEYS: Final = frozenset(
    {
        "id",
        "product_id",
        "name",
        "description",
        "category",
        "features",
        "feature_texts",
        "prices",
        "quotas",
        "trial_period_days",
        "proration",
        "proration_basis",
        "price_per_seat",
        "limits",
        "contact_sales",
        "popular",
    }
)
PRICE_PLACE_KEYS: Final = (
    "currency",
    "interval",
    "interval_count",
    "billing_timing",
    "lookup_key",
    "model",
    "meter",
)
PRICE_KEYS: Final = frozenset({*PRICE_PLACE_KEYS, *TERMS})
QUOTA_KEYS: Final = frozenset(
    {"feature", "meter_event_name", "window", "limit", "enforcement", "overage_price", "upgrade_plan_id"}
)
FLAT_PRICE_KEYS: Final = frozenset(
    {"lookup_key", "product_lookup_key", "currency", "unit_amount", "interval", "interval_count", "billing_timing"}
)

MAX_ENTRIES: Final[dict[str, int]] = {"products": 1_000, "meters": 2_000, "plans": 2_000, "prices": 10_000}
MAX_PLAN_PRICES: Final = 500
MAX_PLAN_QUOTAS: Final = 500
MAX_PLAN_FEATURES: Final = 500
MAX_TIERS: Final = 200
MAX_VARIANTS: Final = 200
MAX_WHEN: Final = 10
MAX_FREE_EVENTS: Final = 10**9
MAX_PERCENT: Final = 100
MAX_AMOUNT: Final = 10**15
MAX_LIMIT: Final = 10**20
MAX_INTERVAL_COUNT: Final = 365
MAX_TRIAL_DAYS: Final = 3_650


def derive_price_lookup_key(
    plan_id: str, currency: str, interval: str, interval_count: int = 1, meter: str | None = None
) -> str:
    """Return `{plan}:{currency}:{interval}`, with the count before the interval unless 1, and `:{meter}` for usage."""
    counted = interval if interval_count == 1 else f"{interval_count}{interval}"
    return f"{plan_id}:{currency}:{counted}" + (f":{meter}" if meter else "")
