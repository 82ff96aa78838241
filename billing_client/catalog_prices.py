"""The checks of a plan's prices that need no server: what each model says, decimals, tiers and variants."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from billing_client.catalog_words import (
    DECIMALS,
    FEE_MODELS,
    PRICE_PLACE_KEYS,
    REQUIRED_TERMS,
    TERM_KEYS,
    TERMS,
    TIER_KEYS,
    USAGE_TERMS,
    list_terms,
)
from billing_client.errors import Finding

Meters = Mapping[str, frozenset[str] | None]
"""The dimensions that each meter declares; None where they could not be read."""

_DECIMAL: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,12})?")
_POSITIVE: Final = frozenset({"package_size", "divide_by", "up_to"})
_MAX_PERCENT: Final = 100


def check_price(price: Mapping[str, Any], pointer: str, *, meters: Meters) -> Iterator[Finding]:
    """Yield what is wrong with a fee, or with a `meter` a usage price."""
    is_usage = price.get("meter") is not None
    yield from check_keys(price, pointer, PRICE_PLACE_KEYS | TERM_KEYS)
    given = price.get("model")
    model = ("per_unit" if is_usage else "flat") if given is None else given
    models = sorted(TERMS if is_usage else FEE_MODELS)
    folded = model.strip().lower() if isinstance(model, str) else ""
    if folded not in models:
        yield Finding(f"{pointer}/model", "model_unsupported", f"the model is one of: {', '.join(models)}")
        return
    yield from _check_terms(price, pointer, folded, is_usage=is_usage)
    meter = price.get("meter")
    dimensions = meters.get(meter) if isinstance(meter, str) else None
    if is_usage and "variants" in list_terms(folded, is_usage=True):
        yield from _check_variants(price, pointer, folded, dimensions)


def check_keys(entry: Mapping[str, Any], pointer: str, known: frozenset[str]) -> Iterator[Finding]:
    """Yield every key that is not known."""
    for key in entry:
        if key not in known:
            yield Finding(_join(pointer, key), "unknown_key", "this key is not known here")


def check_decimal(value: Any, pointer: str, key: str = "") -> Iterator[Finding]:
    """Yield what keeps a value from being a decimal that nothing was lost of."""
    if isinstance(value, Decimal):
        text = "this number passes through binary floating point; write it in quotes"
        yield Finding(pointer, "not_a_decimal_text", text)
        return
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text.startswith("-") and _DECIMAL.fullmatch(text[1:]):
        yield Finding(pointer, "negative", "this cannot be negative")
    elif not _DECIMAL.fullmatch(text):
        yield Finding(pointer, "not_a_decimal_text", 'this must be a decimal in quotes, such as "0.00005"')
    elif key in _POSITIVE and not Decimal(text):
        yield Finding(pointer, "not_positive", "this must be above zero")
    elif key == "percent" and Decimal(text) > _MAX_PERCENT:
        yield Finding(pointer, "too_large", "a percentage is at most 100")


def _check_terms(entry: Mapping[str, Any], pointer: str, model: str, *, is_usage: bool) -> Iterator[Finding]:
    allowed = list_terms(model, is_usage=is_usage)
    for key in REQUIRED_TERMS[model]:
        if entry.get(key) is None:
            yield Finding(f"{pointer}/{key}", "required", "this is missing")
    for key, value in entry.items():
        if value is None or key not in TERM_KEYS:
            continue
        place = f"{pointer}/{key}"
        if key not in allowed:
            kind = "a fee" if not is_usage and key in USAGE_TERMS else f"model “{model}”"
            yield Finding(place, "key_not_in_model", f"this does not belong to {kind}")
        elif key == "unit_amount" and not is_usage:
            if not isinstance(value, int) or isinstance(value, bool):
                yield Finding(place, "not_an_integer", "a fee is a whole number of minor units")
            elif value < 0:
                yield Finding(place, "negative", "a price cannot be negative")
        elif key in DECIMALS:
            yield from check_decimal(value, place, key)
        elif key == "tiers":
            yield from _check_tiers(value, place, model)
        elif key == "transform_quantity":
            yield from _check_transform(value, place)


def _check_tiers(tiers: Any, pointer: str, model: str) -> Iterator[Finding]:
    if not isinstance(tiers, list):
        yield Finding(pointer, "not_a_list", "this must be a list")
        return
    if not tiers:
        yield Finding(pointer, "tiers_empty", "a tiered price needs at least one tier")
    for index, tier in enumerate(tiers):
        place = f"{pointer}/{index}"
        if not isinstance(tier, dict):
            yield Finding(place, "not_an_object", "this must be an object")
            continue
        for key, value in tier.items():
            if value is None or key == "up_to":
                continue
            if key not in TIER_KEYS[model]:
                known = any(key in keys for keys in TIER_KEYS.values())
                code = "key_not_in_model" if known else "unknown_key"
                yield Finding(_join(place, key), code, f"a tier of model “{model}” has no such key")
            else:
                yield from check_decimal(value, f"{place}/{key}", key)
    yield from _check_bounds(tiers, pointer)


def _check_bounds(tiers: list[Any], pointer: str) -> Iterator[Finding]:
    """Bounds are inclusive and cumulative; the last tier has none."""
    highest: Decimal | None = None
    for index, tier in enumerate(tiers):
        if not isinstance(tier, dict):
            continue
        place, bound, is_last = f"{pointer}/{index}/up_to", tier.get("up_to"), index == len(tiers) - 1
        if is_last and (bound is None or str(bound).strip() == "0"):
            continue
        if bound is None:
            yield Finding(place, "tier_unbounded", "only the last tier has no bound")
            continue
        if is_last:
            yield Finding(place, "tier_last_bounded", "the last tier has no bound: write null")
        if wrong := list(check_decimal(bound, place, "up_to")):
            yield from wrong
            continue
        value = Decimal(str(bound).strip())
        if highest is not None and value <= highest:
            code = "tier_bound_repeated" if value == highest else "tier_bound_unordered"
            yield Finding(place, code, "bounds are cumulative and ascend")
        else:
            highest = value


def _check_transform(transform: Any, pointer: str) -> Iterator[Finding]:
    if not isinstance(transform, dict):
        yield Finding(pointer, "not_an_object", "this must be an object")
        return
    yield from check_keys(transform, pointer, frozenset({"divide_by", "round"}))
    if transform.get("divide_by") is None:
        yield Finding(f"{pointer}/divide_by", "required", "this is missing")
    else:
        yield from check_decimal(transform["divide_by"], f"{pointer}/divide_by", "divide_by")


def _check_variants(
    price: Mapping[str, Any], pointer: str, model: str, dimensions: frozenset[str] | None
) -> Iterator[Finding]:
    variants = price.get("variants")
    if variants is None:
        return
    if not isinstance(variants, list):
        yield Finding(f"{pointer}/variants", "not_a_list", "this must be a list")
        return
    seen: set[frozenset[tuple[str, str]]] = set()
    for index, variant in enumerate(variants):
        place = f"{pointer}/variants/{index}"
        if not isinstance(variant, dict):
            yield Finding(place, "not_an_object", "this must be an object")
            continue
        yield from check_keys(variant, place, (TERM_KEYS - USAGE_TERMS) | {"when"})
        terms = {key: value for key, value in variant.items() if key not in USAGE_TERMS}
        yield from _check_terms(terms, place, model, is_usage=True)
        when = variant.get("when")
        if when is None:
            yield Finding(f"{place}/when", "required", "this is missing")
        elif not isinstance(when, dict):
            yield Finding(f"{place}/when", "not_an_object", "this must be an object")
        elif not when:
            yield Finding(f"{place}/when", "when_empty", "name at least one dimension and its value")
        else:
            yield from _check_when(when, f"{place}/when", dimensions, seen)


def _check_when(
    when: dict[str, Any], pointer: str, dimensions: frozenset[str] | None, seen: set[frozenset[tuple[str, str]]]
) -> Iterator[Finding]:
    found = []
    for key, value in when.items():
        if dimensions is not None and key not in dimensions:
            declared = ", ".join(sorted(dimensions)) or "none"
            text = f"the meter declares no such dimension; it has: {declared}"
            yield Finding(_join(pointer, key), "dimension_unknown", text)
        elif not isinstance(value, str):
            yield Finding(_join(pointer, key), "not_a_text", "this must be a text")
        elif not value.strip():
            yield Finding(_join(pointer, key), "blank", "this must not be blank")
        else:
            found.append((key, value))
    if len(found) == len(when):
        if frozenset(found) in seen:
            yield Finding(pointer, "duplicate_when", "another variant is for the same usage")
        seen.add(frozenset(found))


def _join(parent: str, key: str) -> str:
    return f"{parent}/{key.replace('~', '~0').replace('/', '~1')}"
