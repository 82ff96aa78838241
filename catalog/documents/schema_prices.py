"""The schemas of prices: one per model, chosen by what the price says of itself."""

from __future__ import annotations

from catalog.documents import vocabulary as words
from catalog.documents.price_models import (
    FEE_MODEL,
    FEE_MODELS,
    MODEL_RULES,
    ROUNDINGS,
    TERMS,
    TIER_TERMS,
    TRANSFORM_KEYS,
    USAGE_MODEL,
    USAGE_MODELS,
    Kind,
)
from catalog.documents.schema_parts import (
    BOOLEAN,
    DECIMAL,
    NULL,
    PERCENT,
    POSITIVE,
    Schema,
    count,
    describe,
    list_of,
    make_object,
    match_words,
    one_of,
    optional,
    text,
)


def build_price_schemas() -> dict[str, Schema]:
    """Return the definitions `price`, and for each model its terms as a fee and as a usage price."""
    definitions = {"price": _build_price(), "transform": _build_transform(), "when": _build_when()}
    for model, rule in MODEL_RULES.items():
        if rule.is_fee:
            definitions[f"{model}_fee"] = _build_terms(model, is_usage=False)
        definitions[f"{model}_usage"] = _build_terms(model, is_usage=True)
        if rule.tier_keys:
            definitions[f"{model}_tier"] = _build_tier(model)
        if rule.has_variants:
            definitions[f"{model}_variant"] = _build_variant(model)
    return definitions


def _build_price() -> Schema:
    """A price with a meter is a usage price, one without is a fee; the model chooses the terms."""
    place: dict[str, Schema] = {
        "currency": _ref("currency"),
        "interval": optional(one_of(words.INTERVALS, "How often it is charged; for usage month if absent.")),
        "interval_count": optional(count(1, words.MAX_INTERVAL_COUNT, "Every so many intervals.")),
        "billing_timing": optional(one_of(words.TIMINGS, "Fees are billed in advance if absent, usage in arrears.")),
        "lookup_key": optional(_ref("lookupKey")),
        "model": optional(one_of(USAGE_MODELS, "How it is charged; a fee is flat, and usage per_unit, if absent.")),
        "meter": optional(describe(_ref("identifier"), "Event name of the meter: makes it a usage price.")),
    }
    terms = {key: describe({}, term.meaning) for key, term in TERMS.items()}
    return {
        **make_object({**place, **terms}, known=words.PRICE_KEYS, required=["currency"]),
        "if": {"required": ["meter"], "properties": {"meter": {"type": "string"}}},
        "then": {
            "properties": {"billing_timing": optional(one_of(("arrears",)))},
            "allOf": _choose(USAGE_MODELS, USAGE_MODEL, "usage"),
        },
        "else": {
            "required": ["interval"],
            "properties": {"model": optional(one_of(FEE_MODELS)), "interval": one_of(words.INTERVALS)},
            "allOf": _choose(FEE_MODELS, FEE_MODEL, "fee"),
        },
    }


def _choose(models: tuple[str, ...], default: str, kind: str) -> list[Schema]:
    unsaid = {"not": {"required": ["model"], "properties": {"model": {"type": "string"}}}}
    chosen: list[Schema] = [{"if": unsaid, "then": _ref(f"{default}_{kind}")}]
    for model in models:
        said = {"required": ["model"], "properties": {"model": match_words([model])}}
        chosen.append({"if": said, "then": _ref(f"{model}_{kind}")})
    return chosen


def _build_terms(model: str, *, is_usage: bool) -> Schema:
    """What a price of one model charges; terms of other models may only be null."""
    rule = MODEL_RULES[model]
    allowed = rule.list_keys(is_usage=is_usage)
    properties = {
        key: _build_term(key, model, is_usage=is_usage, is_required=key in rule.required) if key in allowed else NULL
        for key in TERMS
    }
    shown: Schema = {"description": rule.meaning, "properties": properties}
    return {**shown, "required": list(rule.required)} if rule.required else shown


def _build_variant(model: str) -> Schema:
    rule = MODEL_RULES[model]
    allowed = rule.list_keys(is_usage=False)
    properties = {
        key: _build_term(key, model, is_usage=True, is_required=key in rule.required) for key in TERMS if key in allowed
    }
    properties["when"] = _ref("when")
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": ["when", *rule.required],
    }


def _build_term(key: str, model: str, *, is_usage: bool, is_required: bool) -> Schema:
    if key == "unit_amount" and not is_usage:
        schema = count(0, words.MAX_AMOUNT)
    elif key == "tiers":
        schema = {**list_of(_ref(f"{model}_tier"), words.MAX_TIERS), "minItems": 1}
    elif key == "variants":
        schema = list_of(_ref(f"{model}_variant"), words.MAX_VARIANTS)
    else:
        schema = _SIMPLE[TERMS[key].kind]
    return describe(schema if is_required else optional(schema), TERMS[key].meaning)


def _build_tier(model: str) -> Schema:
    keys = ("up_to", *MODEL_RULES[model].tier_keys)
    # A bound of 0 in the last tier means none, as null does; only the reader knows which tier is the last.
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            key: describe(optional(PERCENT if term.kind == "percent" else DECIMAL), term.meaning)
            if key in keys
            else NULL
            for key, term in TIER_TERMS.items()
        },
    }


def _build_transform() -> Schema:
    rounding = optional(one_of(ROUNDINGS, "To whole units; none if absent."))
    return make_object(
        {"divide_by": POSITIVE, "round": rounding}, known=frozenset(TRANSFORM_KEYS), required=["divide_by"]
    )


def _build_when() -> Schema:
    return {
        "type": "object",
        "description": "Dimensions and the values they must have, all of them.",
        "minProperties": 1,
        "maxProperties": words.MAX_WHEN,
        "propertyNames": _ref("identifier"),
        "additionalProperties": text(255, at_least=1),
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


_SIMPLE: dict[Kind, Schema] = {
    "amount": DECIMAL,
    "quantity": DECIMAL,
    "size": POSITIVE,
    "percent": PERCENT,
    "count": count(0, words.MAX_FREE_EVENTS),
    "boolean": BOOLEAN,
    "transform": _ref("transform"),
}
