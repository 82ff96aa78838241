"""What a price charges: the terms of its model, each for itself and against each other."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from catalog.documents.findings import quote
from catalog.documents.index import MeterFacts
from catalog.documents.price_models import (
    MODEL_RULES,
    ROUNDINGS,
    TERMS,
    TRANSFORM_KEYS,
    USAGE_TERMS,
    VARIANT_KEYS,
    ModelRule,
    list_models_with,
)
from catalog.documents.reading import ObjectReader
from catalog.documents.tiers import check_percent, check_tiers
from catalog.documents.vocabulary import IDENTIFIER, MAX_AMOUNT, MAX_FREE_EVENTS, MAX_VARIANTS, MAX_WHEN
from catalog.pricing.breakdown import to_text

_VARIANT_METERS = ("sum", "count")
_Values = dict[str, Decimal]


def check_terms(reader: ObjectReader, model: str, *, is_usage: bool, meter: MeterFacts | None) -> None:
    """
    Check everything a price of a known model charges.

    `meter` is what the document says of the price's meter, None for a fee and where nothing is known of it.
    """
    rule = MODEL_RULES[model]
    allowed = rule.list_keys(is_usage=is_usage)
    _refuse_others(reader, model, allowed, TERMS, is_usage=is_usage)
    values = _read_terms(reader, model, rule, allowed, is_usage=is_usage)
    _compare(reader, model, values)
    if meter is not None and rule.needs_sum and meter.aggregation != "sum":
        text = f"Model “{model}” prices money that is summed; the meter is aggregated by “{meter.aggregation}”."
        reader.report("meter", "meter_unsuited", text)
    if "variants" in allowed and reader.has("variants"):
        _check_variants(reader, model, rule, meter)


def _refuse_others(
    reader: ObjectReader, model: str, allowed: Collection[str], known: Collection[str], *, is_usage: bool
) -> None:
    for key in reader.value:
        if key not in known or key in allowed or not reader.has(key):
            continue
        if not is_usage and key in USAGE_TERMS:
            text = f"“{key}” belongs to usage prices, which have a “meter”."
        else:
            text = f"“{key}” does not belong to model “{model}”; it does to: {', '.join(list_models_with(key))}."
        reader.report(key, "key_not_in_model", text)


def _read_terms(
    reader: ObjectReader, model: str, rule: ModelRule, allowed: Collection[str], *, is_usage: bool
) -> _Values:
    """Check the terms of the model and return those that are one number."""
    values: _Values = {}
    for key, term in TERMS.items():
        if key not in allowed:
            continue
        required = key in rule.required
        value: Decimal | None = None
        match term.kind:
            case "amount" if key == "unit_amount" and not is_usage:
                _read_fee(reader)
            case "amount" | "quantity":
                value = reader.decimal(key, required=required)
            case "size":
                value = reader.decimal(key, required=required, above_zero=True)
            case "percent":
                value = check_percent(reader, required=required)
            case "count":
                reader.integer(key, least=0, most=MAX_FREE_EVENTS)
            case "boolean":
                reader.boolean(key)
            case "tiers":
                check_tiers(reader, model, rule.tier_keys)
            case "transform":
                _check_transform(reader)
            case "variants":
                pass  # each is like a price and has the last word
        if value is not None:
            values[key] = value
    return values


def _read_fee(reader: ObjectReader) -> None:
    amount = reader.value.get("unit_amount")
    if isinstance(amount, int) and not isinstance(amount, bool) and amount < 0:
        reader.report("unit_amount", "negative", "A price cannot be negative.")
        return
    reader.integer("unit_amount", least=0, most=MAX_AMOUNT, required=True)


def _check_transform(reader: ObjectReader) -> None:
    transform = reader.member("transform_quantity")
    if transform is None:
        return
    transform.check_keys(TRANSFORM_KEYS)
    transform.decimal("divide_by", required=True, above_zero=True)
    transform.choice("round", ROUNDINGS)


def _compare(reader: ObjectReader, model: str, values: _Values) -> None:
    """Report bounds that contradict each other, or that make the price pointless."""
    least, most = values.get("minimum_amount"), values.get("maximum_amount")
    _check_order(reader, "minimum_amount", least, "maximum_amount", most)
    event_most = values.get("event_maximum")
    _check_order(reader, "event_minimum", values.get("event_minimum"), "event_maximum", event_most)
    _check_order(reader, "fixed_amount", values.get("fixed_amount"), "event_maximum", event_most)
    amount = values.get("unit_amount")
    if model == "flat" and amount is not None:
        if least is not None and amount < least:
            text = f"A flat {to_text(amount)} never reaches the minimum of {to_text(least)}."
            reader.report("minimum_amount", "below_minimum", text)
        _check_order(reader, "unit_amount", amount, "maximum_amount", most)


def _check_order(reader: ObjectReader, low: str, least: Decimal | None, high: str, most: Decimal | None) -> None:
    if least is not None and most is not None and least > most:
        text = f"“{low}” is {to_text(least)}, above “{high}” of {to_text(most)}."
        reader.report(low, "above_maximum", text)


def _check_variants(reader: ObjectReader, model: str, rule: ModelRule, meter: MeterFacts | None) -> None:
    if meter is not None and meter.aggregation not in _VARIANT_METERS:
        text = f"Usage aggregated by “{meter.aggregation}” cannot be divided among variants; a sum or a count can."
        reader.report("variants", "meter_unsuited", text)
    seen: dict[frozenset[tuple[str, str]], str] = {}
    allowed = rule.list_keys(is_usage=False)
    for variant in reader.objects("variants", most=MAX_VARIANTS):
        variant.check_keys(VARIANT_KEYS)
        _refuse_others(variant, model, allowed, VARIANT_KEYS - {"when"}, is_usage=True)
        when = _read_when(variant, meter)
        if when is not None:
            if when in seen:
                text = f"Another variant is for the same usage, at {seen[when]}."
                variant.report("when", "duplicate_when", text)
            else:
                seen[when] = variant.pointer
        values = _read_terms(variant, model, rule, allowed, is_usage=True)
        _compare(variant, model, values)


def _read_when(variant: ObjectReader, meter: MeterFacts | None) -> frozenset[tuple[str, str]] | None:
    """Check which usage a variant is for: values of dimensions that the meter declares."""
    when = variant.member("when", required=True)
    if when is None:
        return None
    if not when.value:
        variant.report("when", "when_empty", "Name at least one dimension and its value.")
        return None
    if len(when.value) > MAX_WHEN:
        variant.report("when", "too_many", f"A variant names at most {MAX_WHEN} dimensions.")
        return None
    found: list[tuple[str, str]] = []
    for key in when.value:
        if meter is not None and key not in meter.dimensions:
            declared = ", ".join(sorted(meter.dimensions)) or "none"
            text = f"The meter declares no dimension {quote(key)}; it has: {declared}."
            when.report(key, "dimension_unknown", text)
        elif not IDENTIFIER.fullmatch(key):
            when.report(key, "identifier_invalid", f"{quote(key)} is not the name of a dimension.")
        elif (value := when.text(key, required=True)) is not None:
            found.append((key, value))
    return frozenset(found) if len(found) == len(when.value) else None
