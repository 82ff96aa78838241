"""A document as a person reads and edits it: keys in a sensible order, indented, small objects on one line."""

from __future__ import annotations

import json
from typing import Any, Final

_WIDTH: Final = 110

# The database keeps no order of keys. One order serves every kind of entry; what is not named here follows by name.
_ORDER: Final = """
    $schema version revision published_at published_by id name event_name display_name unit aggregation_type
    product_id category description features feature_texts
    trial_period_days proration proration_basis price_per_seat contact_sales popular limits
    when meter model currency up_to unit_amount flat_amount interval interval_count billing_timing
    package_size percent fixed_amount free_events free_amount event_minimum event_maximum
    free_quantity transform_quantity divide_by round bill_zero_usage tiers variants minimum_amount maximum_amount
    feature meter_event_name window limit enforcement overage_price upgrade_plan_id
    lookup_key product_lookup_key dimensions metadata products meters plans prices quotas
""".split()
_PLACES: Final = {key: place for place, key in enumerate(_ORDER)}


def order_document(value: Any) -> Any:
    """Return the same JSON value with the keys of its objects in reading order; free-form metadata stays as it is."""
    if isinstance(value, list):
        return [order_document(item) for item in value]
    if not isinstance(value, dict):
        return value
    keys = sorted(value, key=lambda key: (_PLACES.get(key, len(_PLACES)), key))
    return {key: value[key] if key in ("metadata", "limits", "when") else order_document(value[key]) for key in keys}


def format_document(value: Any) -> str:
    """Return JSON text with two spaces per level; what fits on one line stays on one. It reads back unchanged."""
    return _format(order_document(value), 0) + "\n"


def _format(value: Any, level: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (level and 2 * level + len(flat) <= _WIDTH):
        return flat
    inner, outer = "  " * (level + 1), "  " * level
    if isinstance(value, dict):
        lines = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {_format(item, level + 1)}" for key, item in value.items()
        ]
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    return "[\n" + ",\n".join(f"{inner}{_format(item, level + 1)}" for item in value) + f"\n{outer}]"
