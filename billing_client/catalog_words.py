"""The words of a catalog document, as the service knows them: the keys of each object and the terms of each model."""

from __future__ import annotations

from typing import Final

DOCUMENT_KEYS: Final = frozenset(
    "$schema version products meters plans prices revision published_at published_by".split()
)
ENTRY_KEYS: Final[dict[str, frozenset[str]]] = {
    "products": frozenset("id name description lookup_key metadata".split()),
    "meters": frozenset(
        """
        name unit display_name event_name aggregation_type dimensions lookup_key aggregation_formula
        customer_mapping_type customer_mapping_event_payload_key value_settings_event_payload_key
        """.split()
    ),
    "plans": frozenset(
        """
        id product_id name description category features feature_texts prices quotas trial_period_days proration
        proration_basis price_per_seat limits contact_sales popular
        """.split()
    ),
    "quotas": frozenset("feature meter_event_name window limit enforcement overage_price upgrade_plan_id".split()),
    "prices": frozenset(
        "lookup_key product_lookup_key currency unit_amount interval interval_count billing_timing".split()
    ),
}
PRICE_PLACE_KEYS: Final = frozenset("currency interval interval_count billing_timing lookup_key model meter".split())
TERM_KEYS: Final = frozenset(
    """
    unit_amount tiers package_size percent fixed_amount free_events free_amount event_minimum event_maximum
    free_quantity transform_quantity bill_zero_usage minimum_amount maximum_amount variants
    """.split()
)
# Terms of usage prices only, and of the price as a whole.
USAGE_TERMS: Final = frozenset("minimum_amount maximum_amount variants".split())
_UNITS: Final = "free_quantity transform_quantity"
_STEPS: Final = f"tiers {_UNITS} bill_zero_usage"
# What a price of each model says beside where it stands; the first so many words are required.
_MODELS: Final[dict[str, tuple[str, str]]] = {
    "flat": ("unit_amount", ""),
    "per_unit": ("unit_amount", _UNITS),
    "graduated": ("tiers", _STEPS),
    "volume": ("tiers", _STEPS),
    "package": ("unit_amount package_size", _UNITS),
    "percentage": ("percent", "fixed_amount free_events free_amount event_minimum event_maximum"),
    "graduated_percentage": ("tiers", _STEPS),
    "stairstep": ("tiers", _STEPS),
    "dynamic": ("", ""),
}
REQUIRED_TERMS: Final = {model: tuple(required.split()) for model, (required, _) in _MODELS.items()}
TERMS: Final = {model: frozenset(f"{required} {more}".split()) for model, (required, more) in _MODELS.items()}
FEE_MODELS: Final = frozenset("flat per_unit graduated volume package stairstep".split())
VARIANT_MODELS: Final = frozenset(_MODELS) - {"flat", "dynamic"}
TIER_KEYS: Final = {
    "graduated": frozenset("up_to unit_amount flat_amount".split()),
    "volume": frozenset("up_to unit_amount flat_amount".split()),
    "graduated_percentage": frozenset("up_to percent flat_amount".split()),
    "stairstep": frozenset("up_to flat_amount".split()),
}
# Keys that hold a decimal: a text, or a whole number.
DECIMALS: Final = frozenset(
    """
    unit_amount flat_amount package_size percent fixed_amount free_amount event_minimum event_maximum free_quantity
    minimum_amount maximum_amount
    """.split()
)


def list_terms(model: str, *, is_usage: bool) -> frozenset[str]:
    """Return the terms that belong to a price of a model."""
    if not is_usage:
        return TERMS[model]
    return TERMS[model] | (USAGE_TERMS if model in VARIANT_MODELS else USAGE_TERMS - {"variants"})
