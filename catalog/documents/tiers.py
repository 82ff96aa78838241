"""The tiers of a price: their bounds ascend, and only the last has none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal

from catalog.documents.price_models import TIER_TERMS
from catalog.documents.reading import ObjectReader
from catalog.documents.vocabulary import MAX_PERCENT, MAX_TIERS
from catalog.pricing.breakdown import to_text


def check_tiers(reader: ObjectReader, model: str, keys: Collection[str]) -> None:
    """Check the tiers of a price or variant; `keys` is what a tier of its model holds beside the bound."""
    if reader.value.get("tiers") == []:
        reader.report("tiers", "tiers_empty", "A tiered price needs at least one tier.")
        return
    tiers = reader.objects("tiers", most=MAX_TIERS, required=True)
    for tier in tiers:
        tier.check_keys(TIER_TERMS)
        for key in TIER_TERMS:
            if key == "up_to" or not tier.has(key):
                continue
            if key not in keys:
                tier.report(key, "key_not_in_model", f"“{key}” does not belong to a tier of model “{model}”.")
            elif key == "percent":
                check_percent(tier)
            else:
                tier.decimal(key)
    _check_bounds(tiers)


def _check_bounds(tiers: Sequence[ObjectReader]) -> None:
    """Bounds are inclusive and cumulative. Source: policies, rule 14; contract chapter Pricing."""
    highest: Decimal | None = None
    seen: set[Decimal] = set()
    for place, tier in enumerate(tiers, 1):
        is_last = place == len(tiers)
        if not tier.has("up_to") or (is_last and is_unbounded(tier.value.get("up_to"))):
            if not is_last:
                text = "Only the last tier has no bound; what comes after this one is never reached."
                tier.report("up_to", "tier_unbounded", text)
            continue
        bound = tier.decimal("up_to", above_zero=True)
        if is_last:
            text = "The last tier has no bound: write null, or leave “up_to” out."
            tier.report("up_to", "tier_last_bounded", text)
        if bound is None:
            continue
        if bound in seen:
            text = f"Another tier ends at {to_text(bound)} already."
            tier.report("up_to", "tier_bound_repeated", text)
        elif highest is not None and bound < highest:
            text = f"Bounds are cumulative and ascend: {to_text(bound)} comes after {to_text(highest)}."
            tier.report("up_to", "tier_bound_unordered", text)
        else:
            highest = bound
        seen.add(bound)


def is_unbounded(bound: object) -> bool:
    """Tell whether the bound of a last tier means none: null, and 0 as price lists often have it."""
    return bound is None or (isinstance(bound, int | str) and not isinstance(bound, bool) and str(bound).strip() == "0")


def check_percent(reader: ObjectReader, *, required: bool = False) -> Decimal | None:
    """Read a percentage, at most 100: more than the money itself is a price per unit of it."""
    percent = reader.decimal("percent", required=required)
    if percent is not None and percent > MAX_PERCENT:
        text = f"At most {MAX_PERCENT}; a multiple of the money is model “per_unit” with “unit_amount”."
        reader.report("percent", "too_large", text)
        return None
    return percent
